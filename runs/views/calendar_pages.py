"""Business calendars: the list, and the page of one with what is off this year and next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from flows import calendar_actions
from flows.calendars import WEEKDAYS, BusinessCalendar, countries, subdivisions, usual_weekend
from flows.models import Calendar, Deployment
from runs import actions
from runs.calendar_form import CalendarForm
from runs.views.deployment_forms import messages_of
from teams.acting import acting_team
from teams.lost_updates import saving

MAX_CALENDARS = 500
MAX_USED_BY = 50


@dataclass(frozen=True, slots=True)
class Year:
    """A year of a calendar: its days off but for plain weekends, and how many business days are left."""

    number: int
    days: Sequence[tuple[date, str]]
    business_days: int


@login_required
def index(request: HttpRequest) -> HttpResponse:
    """All calendars of the reader's teams, with how many schedules have each (one query)."""
    found = Calendar.objects.listed_for(request.user).select_related("team").annotate(users=Count("schedules"))
    calendars = list(found.order_by("name", "id")[:MAX_CALENDARS])
    context = {"calendars": calendars, "has_teams": len({calendar.team_id for calendar in calendars}) > 1}
    return render(request, "flows/calendars.html", context)


@login_required
def add(request: HttpRequest) -> HttpResponse:
    """Make a calendar."""
    if request.method != "POST":
        return _page(request, CalendarForm(), None)
    form = CalendarForm.typed(request.POST)
    team = acting_team(request)
    try:
        made = calendar_actions.create_calendar(team, user=request.user, **form.values())
    except ValidationError as error:
        return _page(request, CalendarForm.typed(request.POST, messages_of(error)), None, status=422)
    messages.success(request, f"{made.name} is made. Choose it where a deployment’s schedule is set.")
    return redirect("calendar", made.id)


@login_required
def change(request: HttpRequest, calendar_id: UUID) -> HttpResponse:
    """Show a calendar, and change it; upcoming runs follow."""
    calendar = _calendar(request, calendar_id)
    if request.method != "POST":
        return _page(request, CalendarForm.of(calendar), calendar)
    try:
        with saving(request, calendar):
            actions.change_calendar(calendar, user=request.user, **CalendarForm.typed(request.POST).values())
    except ValidationError as error:
        return _page(request, CalendarForm.typed(request.POST, messages_of(error)), calendar, status=422)
    messages.success(request, "Saved. Upcoming runs follow the calendar from now on.")
    return redirect("calendar", calendar.id)


@login_required
def delete(request: HttpRequest, calendar_id: UUID) -> HttpResponse:
    """Ask, then delete a calendar that no schedule has."""
    calendar = _calendar(request, calendar_id)
    if request.method == "POST":
        try:
            calendar_actions.delete_calendar(calendar, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect("calendar", calendar.id)
        messages.success(request, f"The calendar {calendar.name} is deleted.")
        return redirect("calendars")
    return render(request, "flows/calendar_delete.html", {"calendar": calendar, "used_by": _used_by(request, calendar)})


@login_required
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What stands in the form means, or what is wrong with it; with the parts of the country that was chosen."""
    form = CalendarForm.typed(request.POST)
    context = {**_preview(form), **_parts(form), "form": form, "is_update": True}
    return render(request, "flows/_calendar_preview.html", context)


def _page(request: HttpRequest, form: CalendarForm, calendar: Calendar | None, status: int = 200) -> HttpResponse:
    context = {
        "calendar": calendar,
        "form": form,
        "errors": form.errors.get("", []),
        "weekdays": WEEKDAYS,
        "countries": countries(),
        "used_by": _used_by(request, calendar) if calendar else [],
        **_parts(form),
        **_preview(form),
    }
    return render(request, "flows/calendar.html", context, status=status)


def _parts(form: CalendarForm) -> dict[str, Any]:
    """What depends on the country that was chosen."""
    known = form.country if form.country in countries() else ""
    usual = usual_weekend(known) if known else []
    differs = bool(known) and tuple(usual) != form.weekend
    return {
        "subdivisions": subdivisions(known),
        "usual_weekend": " and ".join(WEEKDAYS[day] for day in usual) if differs else "",
    }


def _preview(form: CalendarForm) -> dict[str, Any]:
    """This year and the next of what stands in the form; `wrong` where it cannot be (no query)."""
    values = {name: value for name, value in form.values().items() if name != "name"}
    if values["subdivision"] not in _parts(form)["subdivisions"]:
        values["subdivision"] = ""  # of the country that was chosen before: the list has followed by now
    try:
        calendar = calendar_actions.tried_calendar(**values)
    except ValidationError as error:
        return {"wrong": [message for found in messages_of(error).values() for message in found]}
    this_year = timezone.localdate().year
    return {"words": calendar.describe(), "years": [_year(calendar, number) for number in (this_year, this_year + 1)]}


def _year(calendar: BusinessCalendar, number: int) -> Year:
    first, last = date(number, 1, 1), date(number, 12, 31)
    days = [date.fromordinal(ordinal) for ordinal in range(first.toordinal(), last.toordinal() + 1)]
    special = list(calendar.special_days(first, last).items())
    return Year(number, special, sum(1 for day in days if calendar.day_off(day) is None))


def _calendar(request: HttpRequest, calendar_id: UUID) -> Calendar:
    found: Calendar = get_object_or_404(Calendar.objects.visible_to(request.user), id=calendar_id)
    return found


def _used_by(request: HttpRequest, calendar: Calendar) -> list[Deployment]:
    """The deployments whose schedules have a calendar (one query)."""
    used = Deployment.objects.visible_to(request.user).filter(schedules__calendar=calendar).select_related("flow")
    return list(used.distinct().order_by("flow__slug", "slug")[:MAX_USED_BY])
