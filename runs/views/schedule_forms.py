"""The schedule editor: plain choices first, always with the next five times."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from flows.models import Catchup, Deployment, Schedule
from flows.schedules import Spec
from runs import actions
from runs.schedule_form import DAYS, KINDS, UNITS, ScheduleForm
from runs.views.addresses import back
from runs.views.deployment_forms import messages_of
from runs.views.deployment_page import NEXT_TIMES, deployment_of
from runs.zones import common_zones


@login_required
def add(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Give a deployment one more schedule."""
    deployment = deployment_of(request.user, deployment_id)
    if request.method != "POST":
        return _editor(request, deployment, ScheduleForm.new(timezone.get_current_timezone_name()))
    try:
        schedule = actions.add_schedule(
            deployment, Spec(**ScheduleForm.typed(request.POST).fields()), user=request.user
        )
    except ValidationError as error:
        return _editor(request, deployment, ScheduleForm.typed(request.POST, messages_of(error)), status=422)
    messages.success(request, f"It runs {Spec.of(schedule).describe()}.")
    return redirect("deployment", deployment.id)


@login_required
def change(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Change a schedule."""
    schedule = _schedule(request, schedule_id)
    if request.method != "POST":
        return _editor(request, schedule.deployment, ScheduleForm.of(schedule), schedule)
    try:
        changed = actions.change_schedule(schedule, user=request.user, **ScheduleForm.typed(request.POST).fields())
    except ValidationError as error:
        form = ScheduleForm.typed(request.POST, messages_of(error))
        return _editor(request, schedule.deployment, form, schedule, status=422)
    messages.success(request, f"It runs {Spec.of(changed).describe()}.")
    return redirect("deployment", schedule.deployment_id)


@login_required
@require_POST
def switch(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Turn one schedule off, or on again."""
    schedule = _schedule(request, schedule_id)
    try:
        actions.change_schedule(schedule, user=request.user, active=not schedule.active)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return back(request, reverse("deployment", args=[schedule.deployment_id]))


@login_required
@require_POST
def delete(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Delete a schedule and its upcoming runs."""
    schedule = _schedule(request, schedule_id)
    words = Spec.of(schedule).describe()
    actions.delete_schedule(schedule, user=request.user)
    messages.success(request, f"The schedule “{words}” is deleted.")
    return redirect("deployment", schedule.deployment_id)


@login_required
def preview(request: HttpRequest) -> HttpResponse:
    """What stands in the editor, in plain words with its next times; or what is wrong with it."""
    return render(request, "flows/_schedule_preview.html", _preview(ScheduleForm.typed(request.GET)))


def _preview(form: ScheduleForm) -> dict[str, Any]:
    try:
        now = timezone.now()
        spec = Spec(**form.fields()).clean(now)
        return {"words": spec.describe(), "times": spec.next_times(now, NEXT_TIMES), "zone": spec.timezone, "now": now}
    except ValidationError as error:
        return {"wrong": error.messages}


def _schedule(request: HttpRequest, schedule_id: UUID) -> Schedule:
    visible = Deployment.objects.visible_to(request.user)
    wanted = Schedule.objects.select_related("deployment__flow", "deployment__team")
    return get_object_or_404(wanted, id=schedule_id, deployment__in=visible)


def _editor(
    request: HttpRequest,
    deployment: Deployment,
    form: ScheduleForm,
    schedule: Schedule | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "deployment": deployment,
        "schedule": schedule,
        "form": form,
        "kinds": KINDS,
        "days": DAYS,
        "units": UNITS,
        "catchups": Catchup.choices,
        "zones": common_zones(),
        **_preview(form),
    }
    return render(request, "flows/schedule_editor.html", context, status=status)
