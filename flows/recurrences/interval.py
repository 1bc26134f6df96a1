"""Intervals: every so many seconds of real time, counted from an anchor."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from flows.recurrences import spoken, wall_clock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_SECONDS = 10 * 366 * 24 * 3600
_UNITS = {"week": 7 * 24 * 3600, "day": 24 * 3600, "hour": 3600, "minute": 60, "second": 1}


@dataclass(frozen=True, slots=True)
class Interval:
    """A number of seconds, from an anchor in both directions; without one, from midnight UTC of 1 January 1970."""

    seconds: int
    anchor: datetime | None
    zone: ZoneInfo

    @property
    def expression(self) -> str:
        """As it is written, in normal form."""
        return str(self.seconds)

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one, as long as there is a calendar."""
        anchor, step = (self.anchor or EPOCH).astimezone(UTC), timedelta(seconds=self.seconds)
        time = anchor + ((after - anchor) // step + 1) * step
        while time.year < 9000:
            yield time
            time += step

    def describe(self) -> str:
        """For example: every 15 minutes."""
        parts, rest = [], self.seconds
        for unit, size in _UNITS.items():
            count, rest = divmod(rest, size)
            if count:
                parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
        words = f"every {spoken(parts)}" if parts != [f"1 {parts[0].split()[1]}"] else f"every {parts[0].split()[1]}"
        if self.anchor is None:
            return words
        return f"{words}, counted from {wall_clock.shown(self.anchor, self.zone):%Y-%m-%d %H:%M:%S}, {self.zone.key}"


def parse(expression: str, zone: ZoneInfo, anchor: datetime | None = None) -> Interval:
    """Return the recurrence; ValueError says what to write instead."""
    text = expression.strip().removesuffix(".0")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= MAX_SECONDS:
        raise ValueError(
            f"“{expression.strip()}” is no interval. Write whole seconds, 1 or more: 900 for a quarter of an hour,"
            " 86400 for a day."
        )
    return Interval(int(text), anchor, zone)
