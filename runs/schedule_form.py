"""The schedule editor's fields, and the schedule that they say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite, nan
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.http import QueryDict

from flows.calendars import WantedDaysOff
from flows.models import Catchup, OnDayOff, Schedule, ScheduleKind

DAYS = {"MO": "Mon", "TU": "Tue", "WE": "Wed", "TH": "Thu", "FR": "Fri", "SA": "Sat", "SU": "Sun"}
UNITS = {"minutes": 60, "hours": 3600, "days": 86400, "seconds": 1}
LONG_UNITS = {"hours": 3600, "days": 86400, "minutes": 60}
COUNTRY = "country/"  # before the code of a country, where days off are chosen; no calendar's name has a slash
KINDS = {
    ScheduleKind.WEEKLY.value: "Days of the week",
    ScheduleKind.INTERVAL.value: "Interval",
    ScheduleKind.CRON.value: "Cron",
    ScheduleKind.RRULE.value: "Recurrence rule",
}


@dataclass(frozen=True, slots=True)
class ScheduleForm:
    """What stands in the editor."""

    kind: str = ScheduleKind.WEEKLY.value
    days: tuple[str, ...] = ("MO",)
    time: str = "08:00"
    every: str = "1"
    unit: str = "hours"
    anchor: str = ""
    cron: str = ""
    rrule: str = ""
    timezone: str = "UTC"
    starts_at: str = ""
    ends_at: str = ""
    calendar: str = ""  #: the name of a calendar, or `country/FR`
    skip_weekends: bool = True  #: beside the holidays of a country
    on_day_off: str = OnDayOff.SKIP.value
    catchup: str = Catchup.LATEST.value
    oldest: str = ""
    oldest_unit: str = "hours"
    active: bool = True
    errors: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def new(cls, timezone: str) -> "ScheduleForm":
        """The editor of a new schedule: every Monday at eight on the reader's clock."""
        return cls(timezone=timezone)

    @classmethod
    def of(cls, schedule: Schedule) -> "ScheduleForm":
        """The editor of a schedule that is there."""
        same = ("kind", "timezone", "catchup", "on_day_off", "active")
        shown: dict[str, Any] = {name: getattr(schedule, name) for name in same}
        shown["calendar"] = schedule.calendar.name if schedule.calendar_id else ""
        if schedule.kind == ScheduleKind.WEEKLY:
            days, _, time = schedule.expression.partition(" ")
            shown |= {"days": tuple(days.split(",")), "time": time}
        elif schedule.kind == ScheduleKind.INTERVAL:
            seconds = int(schedule.expression)
            unit = next(name for name in ("days", "hours", "minutes", "seconds") if seconds % UNITS[name] == 0)
            shown |= {"every": str(seconds // UNITS[unit]), "unit": unit}
        else:
            shown[schedule.kind] = schedule.expression
        for name in ("anchor", "starts_at", "ends_at"):
            if time := getattr(schedule, name):
                shown[name] = _shown_time(time, schedule.timezone)
        if seconds := schedule.catchup_seconds:
            unit = next((name for name in ("days", "hours") if seconds % LONG_UNITS[name] == 0), "minutes")
            shown |= {"oldest": f"{seconds / LONG_UNITS[unit]:.10g}", "oldest_unit": unit}
        return cls(**shown)

    @classmethod
    def typed(cls, data: QueryDict, errors: Mapping[str, list[str]] | None = None) -> "ScheduleForm":
        """The editor as it was filled in."""
        texts = {
            name: data.get(name, "").strip()
            for name in (
                "time", "every", "unit", "anchor", "cron", "rrule", "timezone", "starts_at", "ends_at", "calendar",
                "oldest", "oldest_unit",
            )
        }  # fmt: skip
        kind = data.get("kind", "")
        return cls(
            kind=kind if kind in KINDS else ScheduleKind.WEEKLY.value,
            days=tuple(day for day in DAYS if day in data.getlist("days")),
            skip_weekends="skip_weekends" in data,
            on_day_off=data.get("on_day_off") or OnDayOff.SKIP.value,
            catchup=data.get("catchup") or Catchup.LATEST.value,
            active=data.get("active") != "off",
            errors=errors or {},
            **texts,
        )

    def fields(self) -> dict[str, Any]:
        """The fields of `Spec` that the editor sets. Raises ValidationError by the editor's own fields."""
        kind = self.kind
        anchored = kind in {ScheduleKind.INTERVAL, ScheduleKind.RRULE}
        return {
            "kind": kind,
            "expression": getattr(self, f"_{kind}")(),
            "timezone": self.timezone or "UTC",
            "anchor": self._time("anchor") if anchored else None,
            "starts_at": self._time("starts_at"),
            "ends_at": self._time("ends_at"),
            "calendar": "" if self.calendar.startswith(COUNTRY) else self.calendar,
            "on_day_off": self.on_day_off,
            "catchup": self.catchup,
            "catchup_seconds": self._oldest(),
            "active": self.active,
        }

    def wanted(self) -> WantedDaysOff | None:
        """The days off of a country, where these were chosen instead of a calendar. Raises ValidationError."""
        if not self.calendar.startswith(COUNTRY):
            return None
        return WantedDaysOff.read(self.calendar.removeprefix(COUNTRY), self.skip_weekends)

    def _weekly(self) -> str:
        if not self.days:
            raise ValidationError({"expression": "Choose one day at least."})
        if not self.time:
            raise ValidationError({"expression": "Write a time of day, as in 08:00."})
        return f"{','.join(self.days)} {self.time[:5]}"

    def _interval(self) -> str:
        try:
            seconds = float(self.every) * UNITS.get(self.unit, 3600)
        except ValueError:
            seconds = nan
        if not isfinite(seconds):
            raise ValidationError({"expression": "Write how many, as in 15."})
        if seconds != int(seconds):
            raise ValidationError({"expression": "Write whole seconds."})
        return str(int(seconds))

    def _cron(self) -> str:
        if not self.cron:
            raise ValidationError(
                {"expression": "Write five fields, as in 0 8 * * 1: minute, hour, day, month, weekday."}
            )
        return self.cron

    def _rrule(self) -> str:
        if not self.rrule:
            raise ValidationError(
                {"expression": "Write a rule, as in FREQ=MONTHLY;BYDAY=1MO;BYHOUR=8;BYMINUTE=0;BYSECOND=0."}
            )
        return self.rrule.replace("\r\n", "\n")

    def _time(self, name: str) -> datetime | None:
        """A time on the schedule's own clock; None where none was typed."""
        text = getattr(self, name)
        if not text:
            return None
        try:
            return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(self.timezone or "UTC"))
        except (ValueError, KeyError, OSError):
            raise ValidationError({name: "Write a date and time, as in 2027-01-04T08:00."}) from None

    def _oldest(self) -> int | None:
        if not self.oldest:
            return None
        try:
            seconds = float(self.oldest) * LONG_UNITS.get(self.oldest_unit, 3600)
        except ValueError:
            seconds = nan
        if not isfinite(seconds) or seconds < 1:
            raise ValidationError({"catchup_seconds": "Write how many, as in 12; or nothing for any age."})
        return int(seconds)


def _shown_time(time: datetime, zone: str) -> str:
    """As an input of the browser takes it; with seconds where there are some."""
    local = time.astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%dT%H:%M:%S" if local.second else "%Y-%m-%dT%H:%M")
