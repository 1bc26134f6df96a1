"""Verbs on business calendars.

They know nothing of runs: changing one is `runs.actions.change_calendar`, which brings upcoming runs into line.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows.actions import checked_name
from flows.calendars import (
    BusinessCalendar,
    WantedDaysOff,
    checked_country,
    checked_days_off,
    checked_weekend,
    checked_working_days,
    usual_weekend,
)
from flows.models import Calendar, Deployment, slug_of
from teams.models import Team, User
from teams.rights import Level
from teams.verbs import verb

_FIELDS = ("name", "country", "subdivision", "weekend", "days_off", "working_days")


@verb("calendar.create", Level.EDIT)
def create_calendar(team: Team, *, name: str, user: User | None = None, **values: Any) -> Calendar:
    """Make a calendar: `country`, `subdivision`, `weekend`, `days_off` and `working_days` as in `change_calendar`.

    Without `weekend` it has the usual one of its country.

    Raises:
        ValidationError: By field; for a name that is taken, too.
    """
    return _save_calendar(Calendar(team=team, name=name), {"country": "", "subdivision": "", **values})


def calendar_with(team: Team, wanted: WantedDaysOff, *, user: User | None = None) -> Calendar:
    """Return the team's calendar for these days off; made where there is none (one query where it is there).

    Raises:
        ValidationError: The calendar of that name is about something else (`holidays`).
    """
    named = Calendar.objects.filter(team=team, slug=slug_of(wanted.name))
    found = named.first()
    if found is None:
        try:
            with transaction.atomic():  # a savepoint: two people may ask for it at once
                return create_calendar(
                    team, name=wanted.name, user=user, country=wanted.country, subdivision=wanted.subdivision,
                    weekend=wanted.weekend,
                )  # fmt: skip
        except (IntegrityError, ValidationError):
            found = named.first()
            if found is None:
                raise
    if (found.country, found.subdivision, bool(found.weekend)) != (wanted.country, wanted.subdivision, wanted.weekends):
        raise ValidationError(
            {"holidays": f"The calendar “{found.name}” has other days off by now. Name the calendar that you want."}
        )
    return found


def change_calendar(calendar: Calendar, *, user: User | None = None, **changes: Any) -> Calendar:
    """Change a calendar. Whoever has upcoming runs calls the verb of this name in `runs.actions`.

    Args:
        changes: `name`; `country` and `subdivision` by their codes, or the country by its name; `weekend` as MO … SU;
            `days_off`, a list of dates or of `{"date", "name"}`; `working_days`, a list of dates.

    Raises:
        ValidationError: By field.

    Locks the calendar's row.
    """
    with transaction.atomic():
        return _save_calendar(Calendar.objects.select_for_update().get(pk=calendar.pk), changes)


@verb("calendar.delete", Level.EDIT)
def delete_calendar(calendar: Calendar, *, user: User | None = None) -> None:
    """Delete a calendar. Raises ValidationError while a schedule has it."""
    with transaction.atomic():
        calendar = Calendar.objects.select_for_update().get(pk=calendar.pk)
        used = Deployment.objects.filter(schedules__calendar=calendar).select_related("flow").distinct()[:4]
        if names := [deployment.full_name for deployment in used]:
            more = " and others" if len(names) > 3 else ""
            raise ValidationError(
                f"“{calendar}” is used by the schedules of {', '.join(names[:3])}{more}. Give them another first."
            )
        calendar.delete()


def tried_calendar(**values: Any) -> BusinessCalendar:
    """Return what a calendar with these values would be (those of `change_calendar`); keeps nothing.

    Raises:
        ValidationError: By field.
    """
    return BusinessCalendar.of(_lay_over(Calendar(name="calendar"), {"country": "", "subdivision": "", **values}))


def _save_calendar(calendar: Calendar, changes: dict[str, Any]) -> Calendar:
    """Lay checked changes over a calendar and save it. Raises ValidationError by field."""
    _lay_over(calendar, changes)
    taken = Calendar.objects.filter(team=calendar.team_id, slug=slug_of(calendar.name)).exclude(pk=calendar.pk)
    if taken.exists():
        raise ValidationError({"name": f"There is a calendar called “{calendar.name}” already. Choose another name."})
    calendar.__dict__.pop("value", None)  # its cached value is that of before
    calendar.save()
    return calendar


def _lay_over(calendar: Calendar, changes: dict[str, Any]) -> Calendar:
    """Set checked changes on a calendar. Raises ValidationError by field."""
    if unknown := sorted(set(changes) - set(_FIELDS)):
        has = ", ".join(_FIELDS)
        raise ValidationError({unknown[0]: f"A calendar has no “{unknown[0]}” to change. It has {has}."})
    calendar.name = checked_name("name", changes.get("name", calendar.name))[:100]
    if {"country", "subdivision"} & changes.keys():
        country = changes.get("country", calendar.country)
        # Another country has other parts.
        subdivision = changes.get("subdivision", calendar.subdivision if "country" not in changes else "")
        calendar.country, calendar.subdivision = checked_country(country, subdivision)
    if "weekend" in changes:
        calendar.weekend = checked_weekend(changes["weekend"])
    elif calendar._state.adding:
        calendar.weekend = usual_weekend(calendar.country)
    if "days_off" in changes:
        calendar.days_off = checked_days_off(changes["days_off"])
    if "working_days" in changes:
        calendar.working_days = checked_working_days(changes["working_days"])
    _check_calendar(BusinessCalendar.of(calendar))
    return calendar


def _check_calendar(value: BusinessCalendar) -> None:
    """Raise ValidationError where no business day comes within a year of today."""
    today = timezone.localdate()
    try:
        value.next_business_day(today)
        value.previous_business_day(today)
    except ValueError as error:
        raise ValidationError({"days_off": str(error)}) from None
