"""The schedule editor's fields, and the schedule that they say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite, nan
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.http import QueryDict

from flows.models import Catchup, Schedule, ScheduleKind

DAYS = {"MO": "Mon", "TU": "Tue", "WE": "Wed", "TH": "Thu", "FR": "Fri", "SA": "Sat", "SU": "Sun"}
UNITS = {"minutes": 60, "hours": 3600, "days": 86400, "seconds": 1}
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
    catchup: str = Catchup.LATEST.value
    errors: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def new(cls, timezone: str) -> "ScheduleForm":
        """The editor of a new schedule: every Monday at eight on the reader's clock."""
        return cls(timezone=timezone)

    @classmethod
    def of(cls, schedule: Schedule) -> "ScheduleForm":
        """The editor of a schedule that is there."""
        shown: dict[str, Any] = {"kind": schedule.kind, "timezone": schedule.timezone, "catchup": schedule.catchup}
        if schedule.kind == ScheduleKind.WEEKLY:
            days, _, time = schedule.expression.partition(" ")
            shown |= {"days": tuple(days.split(",")), "time": time}
        elif schedule.kind == ScheduleKind.INTERVAL:
            seconds = int(schedule.expression)
            unit = next(name for name in ("days", "hours", "minutes", "seconds") if seconds % UNITS[name] == 0)
            shown |= {"every": str(seconds // UNITS[unit]), "unit": unit}
        else:
            shown[schedule.kind] = schedule.expression
        if schedule.anchor:
            shown["anchor"] = schedule.anchor.astimezone(ZoneInfo(schedule.timezone)).strftime("%Y-%m-%dT%H:%M")
        return cls(**shown)

    @classmethod
    def typed(cls, data: QueryDict, errors: Mapping[str, list[str]] | None = None) -> "ScheduleForm":
        """The editor as it was filled in."""
        texts = {
            name: data.get(name, "").strip()
            for name in ("time", "every", "unit", "anchor", "cron", "rrule", "timezone")
        }
        kind = data.get("kind", "")
        return cls(
            kind=kind if kind in KINDS else ScheduleKind.WEEKLY.value,
            days=tuple(day for day in DAYS if day in data.getlist("days")),
            catchup=data.get("catchup") or Catchup.LATEST.value,
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
            "anchor": self._anchor() if anchored else None,
            "catchup": self.catchup,
        }

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

    def _anchor(self) -> datetime | None:
        if not self.anchor:
            return None
        try:
            return datetime.fromisoformat(self.anchor).replace(tzinfo=ZoneInfo(self.timezone or "UTC"))
        except (ValueError, KeyError, OSError):
            raise ValidationError({"anchor": "Write a date and time, as in 2027-01-04T08:00."}) from None
