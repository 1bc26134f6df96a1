"""API tokens: one's own, and those of a team's service accounts for its administrators."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from teams import actions, reads, sharing
from teams.models import ApiToken, Membership, Scope, Team, User
from teams.pages.forms import keep_once, take_once, wrong_of
from teams.pages.teams import team_of

LIFETIMES = {"": "Never", "7": "In 7 days", "30": "In 30 days", "90": "In 90 days", "365": "In a year"}
SCOPES = {
    "": "Everything that its user may",
    Scope.READ: "Read",
    Scope.RUN: "Read and run",
    Scope.EDIT: "Read, run and edit",
    Scope.ADMIN: "Read, run, edit and administer",
}
TOKENS = 200


@never_cache
def tokens(request: HttpRequest) -> HttpResponse:
    """One's own tokens."""
    return render(request, "teams/tokens.html", _listed(request, request.user))


@never_cache
def account(request: HttpRequest, team_id: UUID, account_id: int) -> HttpResponse:
    """A service account with its tokens."""
    team, owner = _account(request, team_id, account_id)
    role = Membership.objects.filter(team=team, user=owner).values_list("role", flat=True).first()
    return render(request, "teams/account.html", _listed(request, owner) | {"team": team, "role": role})


def switch_account(request: HttpRequest, team_id: UUID, account_id: int) -> HttpResponse:
    """Deactivate a service account, or reactivate it."""
    team, owner = _account(request, team_id, account_id)
    act = actions.deactivate_user if owner.is_active else actions.reactivate_user
    act(owner, user=request.user)
    messages.success(request, f"{owner} is {'active again' if owner.is_active else 'deactivated: its tokens stopped'}.")
    return redirect("team-account", team.pk, owner.pk)


def _account(request: HttpRequest, team_id: UUID, account_id: int) -> tuple[Team, User]:
    team = team_of(request, team_id)
    return team, get_object_or_404(User.objects.select_related("service_of"), pk=account_id, service_of=team)


def _listed(request: HttpRequest, owner: User) -> dict[str, Any]:
    found = ApiToken.objects.filter(user=owner).select_related("team", "created_by").order_by("-id")[:TOKENS]
    ids = {token.deployment for token in found if token.deployment}
    rows = sharing.model_of("deployment").objects.filter(pk__in=ids).select_related("flow") if ids else []
    names = {row.pk: row.full_name for row in rows}
    listed = [(token, SCOPES[token.scope], names.get(token.deployment, token.deployment)) for token in found]
    return {"owner": owner, "tokens": listed, "now": timezone.now(), "shown_once": take_once(request)}


@never_cache
def add(request: HttpRequest) -> HttpResponse:
    """Make oneself a token."""
    return _form(
        request, request.user, {"crumbs": [("tokens", None, None, "API tokens")], "back": ("tokens", None, None)}
    )


@never_cache
def add_of_account(request: HttpRequest, team_id: UUID, account_id: int) -> HttpResponse:
    """Make a service account a token."""
    team, owner = _account(request, team_id, account_id)
    back = ("team-account", team.pk, owner.pk)
    return _form(
        request, owner, {"crumbs": [("team", team.pk, None, team.name), (*back, owner.username)], "back": back}
    )


def _form(request: HttpRequest, owner: User, context: dict[str, Any]) -> HttpResponse:
    typed = {name: request.POST.get(name, "") for name in ("name", "scope", "deployment", "expires")}
    if request.method != "POST":
        typed |= {"expires": "90", "scope": "" if owner == request.user else Scope.RUN}
    context |= {"owner": owner, "typed": typed, "scopes": SCOPES.items(), "lifetimes": LIFETIMES.items()}
    if request.method == "POST":
        try:
            token, secret = _make(request, owner, typed)
        except ValidationError as error:
            return render(request, "teams/token_form.html", context | wrong_of(error), status=422)
        words = "It is shown now and never again. Scripts take it from ORCHESTRATOR_API_TOKEN."
        keep_once(request, f"The token {token.name}", secret, words)
        name, *args = context["back"]
        return redirect(name, *[arg for arg in args if arg is not None])
    return render(request, "teams/token_form.html", context)


def _make(request: HttpRequest, owner: User, typed: dict[str, str]) -> tuple[ApiToken, str]:
    days = typed["expires"]
    if days not in LIFETIMES:
        raise ValidationError({"expires_at": "Choose one of the list."})
    deployment = None
    if text := typed["deployment"].strip():
        found = list(sharing.model_of("deployment").objects.visible_to(request.user).named(text)[:2])
        if len(found) != 1:
            raise ValidationError({"deployment": f"“{text}” is no deployment. Write flow/deployment."})
        deployment = found[0]
    return actions.create_token(
        typed["name"],
        owner,
        user=request.user,
        team=_team(request, owner) if deployment is None else None,
        scope=typed["scope"],
        deployment=deployment,
        expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
    )


def _team(request: HttpRequest, owner: User) -> Team | None:
    """The team that the person looks at, for a token of their own."""
    chosen = request.user.chosen_team if owner == request.user else owner.service_of_id
    return Team.objects.filter(pk=chosen).first() if chosen else None


def revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    """Ask, then revoke a token."""
    token = get_object_or_404(reads.tokens_for(request.user).select_related("user__service_of", "team"), pk=token_id)
    owner = token.user
    back = ("team-account", owner.service_of_id, owner.pk) if owner.service_of_id else ("tokens",)
    if request.method == "POST":
        actions.revoke_token(token, user=request.user)
        messages.success(request, f"{token.name} is revoked.")
        return redirect(*back)
    context = {
        "crumbs": [("tokens", None, "API tokens")],
        "question": f"Revoke {token.name}?",
        "words": [f"{token.prefix}… of {owner} stops working at once. This cannot be undone."],
        "deed": "Revoke",
        "back": ("tokens", None),
    }
    return render(request, "teams/confirm.html", context)
