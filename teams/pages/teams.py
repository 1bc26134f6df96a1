"""Teams, and one: who is in it, who is invited, its service accounts and groups."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from orchestrator.links import absolute, back
from orchestrator.paging import MAX_DIGITS
from teams import actions, mail, members
from teams.acting import choose_team
from teams.lost_updates import saving
from teams.models import GroupMapping, Invitation, Membership, Role, Team, User
from teams.pages.forms import keep_once, take_once, wrong_of
from teams.rights import Level

TEAMS = 50
MEMBERS = 200
ROLES = {
    Role.VIEWER: "sees everything of the team",
    Role.OPERATOR: "also runs, cancels, retries and answers",
    Role.EDITOR: "also changes deployments, schedules, queues and notifications",
    Role.ADMIN: "also decides on members, tokens and limits",
}


def team_of(request: HttpRequest, team_id: UUID) -> Team:
    """Return a team that this person may see. Raises Http404."""
    team: Team = get_object_or_404(Team.objects.visible_to(request.user), pk=team_id)
    return team


def teams(request: HttpRequest) -> HttpResponse:
    """The reader's teams; all of them for a site administrator. Who has one alone is led there."""
    user = request.user
    if not user.sees_everything and len(user.team_ids) == 1:
        return redirect("team", user.team_ids[0])
    begin = request.GET.get("from", "")
    first = int(begin) if begin.isdecimal() and len(begin) <= MAX_DIGITS else 0
    found = list(Team.objects.visible_to(user).order_by("name")[first : first + TEAMS + 1])
    rows = [(team, user.roles.get(team.pk)) for team in found[:TEAMS]]
    context = {"teams": rows, "next": first + TEAMS if len(found) > TEAMS else None}
    return render(request, "teams/teams.html", context)


def add(request: HttpRequest) -> HttpResponse:
    """Make a team."""
    context: dict[str, Any] = {"name": request.POST.get("name", "")}
    if request.method == "POST":
        try:
            made = members.create_team(context["name"], user=request.user)
        except ValidationError as error:
            return render(request, "teams/team_form.html", context | wrong_of(error), status=422)
        messages.success(request, f"Team {made} is made. Invite its people.")
        return redirect("team", made.pk)
    return render(request, "teams/team_form.html", context)


def rename(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Call a team otherwise."""
    team = team_of(request, team_id)
    context: dict[str, Any] = {"team": team, "called": team.name, "name": request.POST.get("name", team.name)}
    if request.method == "POST":
        try:
            with saving(request, team):
                members.rename_team(team, context["name"], user=request.user)
        except ValidationError as error:
            return render(request, "teams/team_form.html", context | wrong_of(error), status=422)
        return redirect("team", team.pk)
    return render(request, "teams/team_form.html", context)


@never_cache
def team(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Who is in a team and in which role; for its administrators also what leads into it (at most seven queries)."""
    return _team_page(request, team_of(request, team_id))


def _team_page(request: HttpRequest, shown: Team, status: int = 200, **more: Any) -> HttpResponse:
    is_admin = request.user.level_on(shown) >= Level.ADMIN
    people = list(
        Membership.objects.filter(team=shown).select_related("user").order_by("user__username")[: MEMBERS + 1]
    )
    context: dict[str, Any] = {
        "team": shown,
        "is_admin": is_admin,
        "role": request.user.roles.get(shown.pk),
        "people": [one for one in people[:MEMBERS] if one.user.service_of_id is None],
        "has_more": len(people) > MEMBERS,
        "accounts": [one for one in people[:MEMBERS] if one.user.service_of_id is not None],
        "roles": ROLES.items(),
        "now": timezone.now(),
        "shown_once": take_once(request) if status == 200 else None,
    }
    if is_admin:
        still_open = Invitation.objects.filter(team=shown, accepted_at=None, expires_at__gt=timezone.now())
        context["invitations"] = list(still_open.select_related("created_by").order_by("-id"))
        context["mappings"] = list(GroupMapping.objects.filter(team=shown).order_by("group"))
    return render(request, "teams/team.html", context | more, status=status)


@never_cache
def invite(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Make an invitation; its link is shown once, and sent where the site sends mail."""
    team = team_of(request, team_id)
    typed = {"email": request.POST.get("email", ""), "role": request.POST.get("role", Role.VIEWER)}
    context: dict[str, Any] = {"team": team, "typed": typed, "roles": ROLES.items()}
    if request.method != "POST":
        return render(request, "teams/invite.html", context)
    try:
        invitation, code = members.invite(team, typed["role"], email=typed["email"], user=request.user)
    except ValidationError as error:
        return render(request, "teams/invite.html", context | wrong_of(error), status=422)
    link = absolute(request, f"/invitations/{code}/")
    if mail.send_invitation(invitation, link):
        messages.success(request, f"The invitation was sent to {invitation.email}.")
    elif invitation.email:
        messages.error(request, f"No mail was sent to {invitation.email}. Pass the link on by hand.")
    words = "Whoever opens it first joins. It works once, for seven days, and is shown now and never again."
    keep_once(request, f"The link of the invitation to {team}", link, words)
    return redirect("team", team.pk)


def withdraw(request: HttpRequest, team_id: UUID, invitation_id: UUID) -> HttpResponse:
    """Make an invitation's link useless."""
    team = team_of(request, team_id)
    invitation = get_object_or_404(Invitation.objects.select_related("team"), pk=invitation_id, team=team)
    members.revoke_invitation(invitation, user=request.user)
    messages.success(request, "The invitation is withdrawn.")
    return redirect("team", team.pk)


def map_group(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Give a group of the single sign-on a role."""
    team = team_of(request, team_id)
    typed = {"group": request.POST.get("group", ""), "role": request.POST.get("role", Role.VIEWER)}
    try:
        members.map_group(team, **typed, user=request.user)
    except ValidationError as error:
        return _team_page(request, team, status=422, typed_group=typed, **wrong_of(error))
    return redirect("team", team.pk)


def unmap_group(request: HttpRequest, team_id: UUID, mapping_id: UUID) -> HttpResponse:
    """Take a group's role away."""
    team = team_of(request, team_id)
    mapping = get_object_or_404(GroupMapping.objects.select_related("team"), pk=mapping_id, team=team)
    members.unmap_group(mapping, user=request.user)
    return redirect("team", team.pk)


def _member(request: HttpRequest, team_id: UUID, member_id: int) -> tuple[Team, Membership]:
    team = team_of(request, team_id)
    return team, get_object_or_404(Membership.objects.select_related("user"), team=team, user=member_id)


def member(request: HttpRequest, team_id: UUID, member_id: int) -> HttpResponse:
    """Give a member another role."""
    team, membership = _member(request, team_id, member_id)
    role = request.POST.get("role", membership.role)
    context = {
        "team": team,
        "member": membership.user,
        "membership": membership,
        "role": role,
        "roles": ROLES.items(),
    }
    if request.method == "POST":
        try:
            with saving(request, membership, about=team):
                members.set_role(team, membership.user, role, user=request.user)
        except ValidationError as error:
            return render(request, "teams/member.html", context | wrong_of(error), status=422)
        messages.success(request, f"{membership.user} is {role} in {team}.")
        return redirect("team", team.pk)
    return render(request, "teams/member.html", context)


def remove(request: HttpRequest, team_id: UUID, member_id: int) -> HttpResponse:
    """Ask, then take somebody out of a team."""
    team, membership = _member(request, team_id, member_id)
    return _go(request, team, membership.user)


def leave(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Ask, then take oneself out of a team."""
    team = team_of(request, team_id)
    membership = get_object_or_404(Membership.objects.select_related("user"), team=team, user=request.user)
    return _go(request, team, membership.user)


def _go(request: HttpRequest, team: Team, person: User) -> HttpResponse:
    mine = person.pk == request.user.pk
    context: dict[str, Any] = {
        "crumbs": [("teams", None, "Teams"), ("team", team.pk, team.name)],
        "question": f"Leave {team}?" if mine else f"Remove {person} from {team}?",
        "words": [
            f"{'You lose' if mine else 'They lose'} access at once: pages, tokens, and what of the team’s was shared.",
            "What was made stays. An invitation lets one in again.",
        ],
        "deed": "Leave" if mine else "Remove",
        "back": ("team", team.pk),
    }
    if request.method == "POST":
        try:
            members.remove_member(team, person, user=request.user)
        except ValidationError as error:
            return render(request, "teams/confirm.html", context | wrong_of(error), status=422)
        messages.success(request, f"You left {team}." if mine else f"{person} is no longer in {team}.")
        return redirect("home") if mine else redirect("team", team.pk)
    return render(request, "teams/confirm.html", context)


def choose(request: HttpRequest) -> HttpResponse:
    """Look at one of one's teams, and act for it; or at all of them."""
    text = request.POST.get("team", "")
    try:
        choose_team(request.session, team_of(request, UUID(text)) if text else None)
    except ValueError:
        messages.error(request, "There is no such team.")
    return back(request, "/")


def add_account(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Make a service account."""
    team = team_of(request, team_id)
    typed = {"name": request.POST.get("name", ""), "role": request.POST.get("role", Role.OPERATOR)}
    context: dict[str, Any] = {"team": team, "typed": typed, "roles": ROLES.items()}
    if request.method == "POST":
        try:
            made = actions.create_service_account(team, **typed, user=request.user)
        except ValidationError as error:
            return render(request, "teams/account_form.html", context | wrong_of(error), status=422)
        messages.success(request, f"{made} is made. Make it a token.")
        return redirect("team-account", team.pk, made.pk)
    return render(request, "teams/account_form.html", context)
