"""Backfill a deployment: ask for a window, see what it makes, confirm; then follow its runs, and undo it."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from flows.models import Deployment
from flows.schedules import Spec
from orchestrator.sdk.states import FINAL, StateType
from runs import actions, backfill
from runs.models import FlowRun
from runs.presentation import several
from runs.reads import rows
from runs.views import keyset
from runs.views.deployment_forms import messages_of
from runs.views.deployment_page import deployment_of
from runs.views.live_page import LivePage, Reader
from runs.views.run_list import _uuid as uuid_of
from runs.views.run_list import with_seconds

SHOWN_TIMES = 100
_FORM = "%Y-%m-%dT%H:%M"


@login_required
def ask(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """The window as a form; with `?from=`, what it would make; a POST makes it."""
    deployment = deployment_of(request.user, deployment_id)
    if request.method != "POST":
        asked = request.GET if request.GET.get("from") else None
        return _form(request, deployment, asked)
    try:
        planned, made = actions.backfill(deployment, user=request.user, **_window(request.POST))
    except ValidationError as error:
        return _form(request, deployment, request.POST, messages_of(error), status=422)
    if not made:
        messages.success(request, "There was nothing to make: all these times have their run.")
        return redirect("deployment-backfill", deployment.id)
    more = " There is more: ask for the rest when these have begun." if planned.more_from else ""
    messages.success(request, f"{several(len(made), 'run')} made, oldest first.{more}")
    return redirect("deployment-backfilled", deployment.id, planned.tag)


@login_required
@require_POST
def undo(request: HttpRequest, deployment_id: UUID, tag: str) -> HttpResponse:
    """Leave out what has not begun."""
    deployment = deployment_of(request.user, deployment_id)
    count = actions.undo_backfill(deployment, tag, user=request.user)
    if count:
        messages.success(request, f"{several(count, 'run')} will not start. What has begun goes on.")
    else:
        messages.success(request, "None of its runs waits any more.")
    return redirect("deployment-backfilled", deployment.id, tag)


def _window(data: QueryDict) -> dict[str, Any]:
    """The window that was typed, on the reader's clock. Raises ValidationError by `start`, `end`, `schedule`."""
    chosen = data.get("schedule", "")
    schedule = uuid_of(chosen) if chosen else None
    if chosen and schedule is None:
        raise ValidationError({"schedule": "This deployment has no such schedule."})
    start = _instant(data, "from", "start")
    if start is None:
        raise ValidationError({"start": "Say since when."})
    return {"start": start, "end": _instant(data, "to", "end"), "schedule": schedule}


def _instant(data: QueryDict, name: str, field: str) -> datetime | None:
    text = data.get(name, "").strip()
    if not text:
        return None
    try:
        said = datetime.fromisoformat(text)
        return said if said.tzinfo else said.replace(tzinfo=timezone.get_current_timezone())
    except ValueError:
        raise ValidationError({field: "Write a date and time, as in 2026-11-01T08:00."}) from None


def _form(
    request: HttpRequest,
    deployment: Deployment,
    asked: QueryDict | None,
    errors: dict[str, list[str]] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The form, with the plan of what was asked for (a query for the schedules, one for each thousand times)."""
    plan, wrong = None, errors or {}
    if asked is not None and not wrong:
        try:
            plan = actions.plan_backfill(deployment, **_window(asked))
        except ValidationError as error:
            wrong = messages_of(error)
    now = timezone.localtime()
    schedules = list(deployment.schedules.select_related("calendar").order_by("created_at", "id"))
    at_fields = ("start", "end", "schedule") if len(schedules) > 1 else ("start", "end")
    context = {
        "deployment": deployment,
        "shown": {
            "from": asked.get("from", "") if asked else (now - timedelta(days=7)).strftime(_FORM),
            "to": asked.get("to", "") if asked else "",
            "schedule": asked.get("schedule", "") if asked else "",
        },
        "wrong": wrong,
        "errors": [message for name, found in wrong.items() if name not in at_fields for message in found],
        "schedules": [(str(one.pk), Spec.of(one).describe(), one.active) for one in schedules],
        "plan": plan,
        "by_schedule": _by_schedule(plan) if plan else [],
        "times": [slot.time for slot in plan.slots[:SHOWN_TIMES]] if plan else [],
        "last": plan.slots[-1].time if plan and len(plan.slots) > SHOWN_TIMES else None,
        "again_from": timezone.localtime(plan.more_from).strftime(_FORM) if plan and plan.more_from else "",
        "waiting": backfill.waiting(deployment),
        "now": timezone.now(),
    }
    return render(request, "flows/backfill.html", context, status=status)


def _by_schedule(plan: backfill.Backfill) -> list[tuple[str, int]]:
    """How many runs each schedule has to make, in words; where there are several."""
    counts = Counter(slot.schedule.pk for slot in plan.slots)
    words = {slot.schedule.pk: slot.schedule for slot in plan.slots}
    return [(Spec.of(words[pk]).describe(), count) for pk, count in counts.items()] if len(counts) > 1 else []


class BackfillPage(LivePage):
    """The runs of one backfill, as they go on."""

    template = "flows/backfilled.html"
    regions = {"head": "flows/_backfilled_head.html", "rows": "flows/_backfilled_rows.html"}

    def __init__(self, reader: Reader, deployment_id: UUID, tag: str) -> None:
        """Read the deployment (one query). Raises Http404 for what is no backfill's tag."""
        super().__init__(reader)
        self.deployment = deployment_of(reader.user, deployment_id)
        self.tag = tag
        if not tag.startswith(backfill.TAG):
            raise Http404

    def context(self) -> dict[str, Any]:
        """Three queries: the counts by state, the rows, and how many have not begun."""
        runs = backfill.made_by(self.deployment, self.tag)
        found = FlowRun.objects.filter(pk__in=runs.values("pk"))
        counts = dict(found.order_by().values_list("state_type").annotate(Count("pk")))
        page, cursor = keyset.page(rows(found), self.reader.query.get("cursor", ""), forwards=True)
        total = sum(counts.values())
        waits = runs.unclaimed().filter(attempt=0).count()
        return {
            "deployment": self.deployment,
            "tag": self.tag,
            "total": total,
            "ended": sum(counts.get(state, 0) for state in FINAL),
            "waits": waits,
            "counts": [(state, counts[state]) for state in StateType if counts.get(state)],
            "runs": with_seconds(page, self.reader.now),
            "next": cursor and self.reader.link(cursor=cursor),
        }
