"""Days of the week at a time of day, `MO,WE 08:00`: the plain choices of a page, counted as cron."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from flows.recurrences import cron

DAYS = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"]  # as RFC 5545 writes them, in cron's order
_FORM = re.compile(r"(?P<days>[A-Z]{2}(?:,[A-Z]{2})*) (?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Weekly:
    """Some days of the week (0 is Sunday) at a time of day."""

    days: tuple[int, ...]
    hour: int
    minute: int
    zone: ZoneInfo

    @property
    def expression(self) -> str:
        """As it is written, in normal form: days from Monday on, hours of two digits."""
        days = sorted(self.days, key=lambda day: (day - 1) % 7)
        return f"{','.join(DAYS[day] for day in days)} {self.hour:02}:{self.minute:02}"

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one, without end."""
        return cron.Cron(f"{self.minute} {self.hour} * * {','.join(map(str, self.days))}", self.zone).times(after)

    def describe(self) -> str:
        """For example: every week on Monday at 08:00, Europe/Paris."""
        return f"{cron.on_days(list(self.days), f'{self.hour:02}:{self.minute:02}')}, {self.zone.key}"


def parse(expression: str, zone: ZoneInfo, anchor: datetime | None = None) -> Weekly:
    """Return the recurrence; ValueError says what to write instead. The anchor is not used."""
    form = _FORM.fullmatch(re.sub(r"\s*,\s*", ",", " ".join(expression.upper().split())))
    if not form or not set(form["days"].split(",")) <= set(DAYS):
        raise ValueError(
            f"“{expression.strip()}” cannot be read. Write days and a time, as in “MO,WE 08:00”;"
            " the days are MO, TU, WE, TH, FR, SA and SU."
        )
    hour, minute = int(form["hour"]), int(form["minute"])
    if hour > 23 or minute > 59:
        raise ValueError(f"“{form['hour']}:{form['minute']}” is no time of day. Write 00:00 to 23:59.")
    return Weekly(tuple(sorted({DAYS.index(day) for day in form["days"].split(",")})), hour, minute, zone)
