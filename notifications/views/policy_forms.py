"""The editor of a policy: what happens, to which runs, where it is told, in which words; with a live preview."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from flows.models import Deployment, Flow
from notifications import actions, composing, templating
from notifications.events import Event
from notifications.forms import (
    UNITS,
    Choices,
    DestinationForm,
    Errors,
    PolicyForm,
    general,
    messages_of,
)
from notifications.models import MAX_LOG_LINES, Destination, Policy
from notifications.presentation import watched
from notifications.views import shown_once
from notifications.views.access import policy_of
from notifications.views.deliveries import uuid_of
from notifications.views.destination_forms import kinds
from notifications.views.examples import examples
from runs.zones import common_zones
from teams.acting import acting_team
from teams.lost_updates import saving
from teams.models import Team

MAX_CHOICES = 200
NEW = "new_"  # before the names of the fields of a destination that is made along
_sensitive = sensitive_post_parameters(f"{NEW}address", f"{NEW}secret")


@login_required
@never_cache
@_sensitive
def add(request: HttpRequest) -> HttpResponse:
    """Make a policy, and where wanted a destination along with it."""
    policy = Policy(team=acting_team(request))
    if request.method != "POST":
        wanted = [value for value in request.GET.getlist("destination") if uuid_of(value)]
        form = PolicyForm(destinations=tuple(wanted), deployments=tuple(request.GET.getlist("deployment")))
        return _editor(request, policy, form)
    return _saved(request, policy)


@login_required
@never_cache
@_sensitive
def change(request: HttpRequest, policy_id: UUID) -> HttpResponse:
    """Look at a policy, and change it."""
    policy = policy_of(request.user, policy_id)
    return _saved(request, policy) if request.method == "POST" else _editor(request, policy, PolicyForm.of(policy))


@login_required
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What the policy that stands in the editor says of a past run; or what is wrong with it."""
    policy = Policy(team=acting_team(request))
    if id := uuid_of(request.POST.get("policy", "")):
        policy = policy_of(request.user, id)
    context = _preview(request, policy, PolicyForm.typed(request.POST))
    return render(request, "notifications/_policy_preview.html", context)


@login_required
def delete(request: HttpRequest, policy_id: UUID) -> HttpResponse:
    """Ask, then delete it."""
    policy = policy_of(request.user, policy_id)
    if request.method != "POST":
        waiting = policy.deliveries.filter(due_at__isnull=False).count()
        return render(request, "notifications/policy_delete.html", {"policy": policy, "waiting": waiting})
    name = policy.name
    actions.delete_policy(policy, user=request.user)
    messages.success(request, f"{name} is deleted.")
    return redirect("notifications")


def _saved(request: HttpRequest, policy: Policy) -> HttpResponse:
    """Save what was typed, or show it again with what is wrong; with `do=preview` only show it."""
    form = PolicyForm.typed(request.POST)
    if request.POST.get("do") == "preview":
        return _editor(request, policy, form, DestinationForm.typed(request.POST, prefix=NEW))
    is_new = policy._state.adding
    try:
        with transaction.atomic() if is_new else saving(request, policy):
            made = _destination_made_along(request, policy.team)
            values = form.changes() | {"destinations": [*_chosen(form, policy.team), *(made[:1] if made else ())]}
            if is_new:
                policy = actions.create_policy(policy.team, user=request.user, **values)
            else:
                policy = actions.update_policy(policy, user=request.user, **values)
    except ValidationError as error:
        errors = messages_of(error)
        typed = DestinationForm.typed(request.POST, errors, NEW)
        policy = Policy(team=policy.team) if is_new else policy_of(request.user, policy.id)
        return _editor(request, policy, PolicyForm.typed(request.POST, errors), typed, status=422)
    if made:
        shown_once.keep(request, *made)
    messages.success(request, "Saved. Send a test to see that it arrives." if is_new else "Saved.")
    return redirect("notification-policy", policy.id)


def _destination_made_along(request: HttpRequest, team: Team) -> tuple[Destination, str] | None:
    """Make the destination that was typed, if one was. Raises ValidationError by the editor's own field names."""
    typed = DestinationForm.typed(request.POST, prefix=NEW)
    if not typed.address:
        return None
    try:
        made: tuple[Destination, str] = actions.create_destination(team, user=request.user, **typed.made_of())
    except ValidationError as error:
        raise ValidationError(messages_of(error, NEW)) from None
    return made


def _chosen(form: PolicyForm, team: Team) -> list[Destination]:
    ids = [id for id in map(uuid_of, form.destinations) if id]
    return list(Destination.objects.filter(team=team, id__in=ids)) if ids else []


def _editor(
    request: HttpRequest,
    policy: Policy,
    form: PolicyForm,
    made_along: DestinationForm | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "policy": None if policy._state.adding else policy,
        "words": "" if policy._state.adding else watched(policy),
        "form": form,
        "wrong": _by_field(form.errors),
        "errors": general(form.errors, [*PolicyForm.FIELDS, *(NEW + name for name in DestinationForm.FIELDS)]),
        "made_along": made_along or DestinationForm(),
        "kinds": kinds(),
        "events": [(event, event.value in form.events) for event in Event],
        "choices": _choices(policy.team, form),
        "destinations": _destinations(policy.team, form),
        "usual": composing.DEFAULT_MESSAGE,
        "names": [(name, [f"{name}.{part}" for part in parts or ()]) for name, parts in templating.NAMES.items()],
        "units": UNITS,
        "zones": common_zones(),
        "max_log_lines": MAX_LOG_LINES,
        "shown_once": shown_once.take(request) if status == 200 and request.method == "GET" else None,
        "now": timezone.now(),
        **_preview(request, policy, form),
    }
    return render(request, "notifications/policy.html", context, status=status)


def _by_field(errors: Errors) -> dict[str, list[str]]:
    return {name: list(errors.get(name, ())) for name in PolicyForm.FIELDS}


def _choices(team: Team, form: PolicyForm) -> list[Choices]:
    """What exists of flows, deployments and tags (two queries)."""
    flows = Flow.objects.filter(team=team).order_by("slug").values_list("slug", flat=True)[:MAX_CHOICES]
    rows = Deployment.objects.filter(team=team).order_by("flow__slug", "slug")
    found = list(rows.values_list("flow__slug", "slug", "tags")[:MAX_CHOICES])
    tags = sorted({str(tag) for *_, row in found if isinstance(row, list) for tag in row})
    return [
        Choices.of("flows", flows, form.flows),
        Choices.of("deployments", [f"{flow}/{name}" for flow, name, _ in found], form.deployments),
        Choices.of("tags", tags, form.tags),
    ]


def _destinations(team: Team, form: PolicyForm) -> list[tuple[Destination, bool]]:
    """The team's destinations and whether each is chosen, the chosen first (one query)."""
    chosen = Q(id__in=[id for id in map(uuid_of, form.destinations) if id])
    rows = (
        Destination.objects.filter(team=team).annotate(is_chosen=chosen).defer("config").order_by("-is_chosen", "name")
    )
    return [(destination, destination.is_chosen) for destination in rows[:MAX_CHOICES]]


def _preview(request: HttpRequest, policy: Policy, form: PolicyForm) -> dict[str, Any]:
    """The message about a past run, or what is wrong with the words."""
    try:
        draft = form.draft(policy)
        found = examples(draft, request.POST)
    except ValidationError as error:
        return {"preview_wrong": [said for messages in messages_of(error).values() for said in messages]}
    shown = {"examples": found, "now": timezone.now()}
    try:
        return shown | {"content": composing.preview(draft, found.chosen)}
    except ValidationError as error:
        return shown | {"preview_wrong": [said for messages in messages_of(error).values() for said in messages]}
