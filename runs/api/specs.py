"""From the body of a request to a schedule: days off may be asked for by `holidays` and `skip_weekends`, too."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import ValidationError

from flows.actions import with_calendar
from flows.calendar_actions import calendar_with
from flows.calendars import WantedDaysOff
from flows.schedules import Spec
from teams.models import Team, User


def stored_fields(said: Mapping[str, Any], team: Team, user: User | None) -> dict[str, Any]:
    """Return the fields of `Spec` that were said; the calendar of days off that were asked for is made if need be.

    To be called in the transaction that stores them. Raises ValidationError by field.
    """
    fields, wanted = _parted(said)
    return fields if wanted is None else {**fields, "calendar": calendar_with(team, wanted, user=user).name}


def tried(said: Mapping[str, Any], team: Team) -> Spec:
    """Return the schedule that was said, with its days off; makes no calendar. Raises ValidationError by field."""
    fields, wanted = _parted(said)
    spec = with_calendar(Spec(**fields), team)
    return spec if wanted is None else replace(spec, calendar=wanted.name, days=wanted.value)


def _parted(said: Mapping[str, Any]) -> tuple[dict[str, Any], WantedDaysOff | None]:
    fields = dict(said)
    wanted = WantedDaysOff.read(fields.pop("holidays", ""), fields.pop("skip_weekends", False))
    if wanted is not None and fields.get("calendar"):
        raise ValidationError({"calendar": "Name a calendar, or ask for holidays and weekends; not both."})
    return fields, wanted
