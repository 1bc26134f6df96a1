"""The form of a business calendar: its fields, and the values that they say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from flows.calendars import WEEKDAYS
from flows.models import Calendar

_TEXTS = ("name", "country", "subdivision", "days_off", "working_days")


@dataclass(frozen=True, slots=True)
class CalendarForm:
    """What stands in the form; dates are lines, `2027-12-24 Christmas Eve`."""

    name: str = ""
    weekend: tuple[str, ...] = ("SA", "SU")
    country: str = ""
    subdivision: str = ""
    days_off: str = ""
    working_days: str = ""
    errors: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, calendar: Calendar) -> "CalendarForm":
        """The form of a calendar that is there."""
        return cls(
            name=calendar.name,
            weekend=tuple(calendar.weekend),
            country=calendar.country,
            subdivision=calendar.subdivision,
            days_off="\n".join(f"{one['date']} {one['name']}" for one in calendar.days_off),
            working_days="\n".join(calendar.working_days),
        )

    @classmethod
    def typed(cls, data: QueryDict, errors: Mapping[str, list[str]] | None = None) -> "CalendarForm":
        """The form as it was filled in."""
        texts = {name: data.get(name, "").replace("\0", "").strip() for name in _TEXTS}
        weekend = tuple(day for day in WEEKDAYS if day in data.getlist("weekend"))
        return cls(weekend=weekend, errors=errors or {}, **texts)

    def values(self) -> dict[str, Any]:
        """What the verbs on calendars take."""
        return {
            "name": self.name,
            "weekend": list(self.weekend),
            "country": self.country,
            "subdivision": self.subdivision,
            "days_off": [_day_off(line) for line in _lines(self.days_off)],
            "working_days": [line.split()[0] for line in _lines(self.working_days)],
        }


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _day_off(line: str) -> dict[str, str]:
    """`2027-12-24 Christmas Eve`; the command line's `2027-12-24=Christmas Eve` is understood, too."""
    day, _, name = line.replace("=", " ", 1).partition(" ")
    return {"date": day, "name": name.strip()}
