"""The schedule editor: plain choices, with what they mean beside them: the next times and the year ahead."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from flows.actions import with_calendar
from flows.calendar_actions import calendar_with
from flows.calendars import countries
from flows.models import Calendar, Catchup, Deployment, OnDayOff, Schedule
from flows.schedules import Spec
from runs import actions, schedule_preview
from runs.parameter_form import Filled, fields_of, read
from runs.schedule_form import COUNTRY, DAYS, KINDS, LONG_UNITS, UNITS, ScheduleForm
from runs.views.addresses import back
from runs.views.deployment_forms import messages_of
from runs.views.deployment_page import deployment_of
from runs.views.run_list import _uuid as uuid_of
from runs.zones import common_zones
from teams.lost_updates import saving

MAX_CALENDARS = 200  # in the list of the editor
Errors = Mapping[str, list[str]]


@login_required
def add(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Give a deployment one more schedule."""
    deployment = deployment_of(request.user, deployment_id)
    if request.method != "POST":
        form = ScheduleForm.new(timezone.get_current_timezone_name())
        return _editor(request, deployment, form)
    return _saved(request, deployment, None)


@login_required
def change(request: HttpRequest, schedule_id: UUID) -> HttpResponse:
    """Change a schedule."""
    schedule = _schedule(request, schedule_id)
    if request.method != "POST":
        return _editor(request, schedule.deployment, ScheduleForm.of(schedule), schedule)
    return _saved(request, schedule.deployment, schedule)


def _saved(request: HttpRequest, deployment: Deployment, schedule: Schedule | None) -> HttpResponse:
    """Keep what was typed and go to the deployment; or the editor again, with what is wrong."""
    filled = read(_schema(deployment), request.POST, partial=True)
    form = ScheduleForm.typed(request.POST)
    try:
        if filled.errors:
            raise ValidationError(filled.errors)
        with saving(request, schedule) if schedule else transaction.atomic():
            fields: dict[str, Any] = {**form.fields(), "parameters": filled.values}
            if wanted := form.wanted():
                fields["calendar"] = calendar_with(deployment.team, wanted, user=request.user).name
            if schedule is None:
                kept = actions.add_schedule(deployment, Spec(**fields), user=request.user)
            else:
                kept = actions.change_schedule(schedule, user=request.user, **fields)
    except ValidationError as error:
        form = ScheduleForm.typed(request.POST, messages_of(error))
        return _editor(request, deployment, form, schedule, filled)
    spec = Spec.of(kept)
    messages.success(
        request, f"It runs {spec.describe()}." if spec.active else f"Saved, switched off: {spec.describe()}."
    )
    return redirect("deployment", deployment.id)


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
    """What stands in the editor, in plain words with its next times and its year; or what is wrong with it.

    Calendars are those of `?deployment=`'s team, else of the reader's teams.
    """
    id = uuid_of(request.GET.get("deployment", ""))
    deployment = Deployment.objects.visible_to(request.user).filter(id=id).first() if id else None
    teams = [deployment.team_id] if deployment else list(request.user.team_ids)
    form = ScheduleForm.typed(request.GET)
    return render(request, "flows/_schedule_preview.html", {**_preview(form, teams), "is_update": True})


def _preview(form: ScheduleForm, teams: list[Any]) -> dict[str, Any]:
    """What the form says means (a query where it names a calendar)."""
    try:
        spec, wanted = Spec(**form.fields()), form.wanted()
        spec = with_calendar(spec, teams) if wanted is None else replace(spec, calendar=wanted.name, days=wanted.value)
    except ValidationError as error:
        return {"wrong": error.messages}
    return schedule_preview.shown(spec, timezone.now())


def _schedule(request: HttpRequest, schedule_id: UUID) -> Schedule:
    visible = Deployment.objects.visible_to(request.user)
    wanted = Schedule.objects.select_related("deployment__flow", "deployment__team", "calendar")
    return get_object_or_404(wanted, id=schedule_id, deployment__in=visible)


def _schema(deployment: Deployment) -> dict[str, Any]:
    """The parameters' schema, with the deployment's own values as what stands where a schedule says nothing."""
    schema = deployment.parameter_schema
    properties = {
        name: {**shape, "default": deployment.parameters[name]} if name in deployment.parameters else shape
        for name, shape in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else dict(schema)


def _editor(
    request: HttpRequest,
    deployment: Deployment,
    form: ScheduleForm,
    schedule: Schedule | None = None,
    filled: Filled | None = None,
) -> HttpResponse:
    """The editor; as it was filled in, and 422, with `filled` (a query for the calendars)."""
    schema, values = _schema(deployment), schedule.parameters if schedule else {}
    wrong = {name: found for name, found in form.errors.items() if name.startswith("parameters.")}
    if filled is None:
        fields = fields_of(schema, values, partial=True)
    else:
        fields = fields_of(schema, {}, request.POST, wrong or filled.errors, partial=True)
    context = {
        "deployment": deployment,
        "schedule": schedule,
        "form": form,
        "fields": fields,
        "has_parameters": any(field.text or field.errors for field in fields),
        "errors": form.errors.get("", []),
        "kinds": KINDS,
        "days": DAYS,
        "units": UNITS,
        "long_units": LONG_UNITS,
        "calendars": Calendar.objects.filter(team=deployment.team_id).order_by("name")[:MAX_CALENDARS],
        "countries": [(COUNTRY + code, name) for code, name in countries().items()],
        "day_off_choices": OnDayOff.choices,
        "catchups": Catchup.choices,
        "zones": common_zones(),
        **_preview(form, [deployment.team_id]),
    }
    return render(request, "flows/schedule_editor.html", context, status=200 if filled is None else 422)
