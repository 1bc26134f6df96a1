"""A schedule's year ahead, day by day: how often it runs, what was moved there, what is left out and why."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flows.recurrences import wall_clock
from flows.schedules import Spec

MONTHS = 12
MAX_A_DAY = 100  # counted; the rest of such a day is passed over, so that a year costs the same whatever runs in it
_DAY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a year.

    Attributes:
        date: On the schedule's own wall clock.
        runs: How often it runs, those that were moved there included; at most `MAX_A_DAY`.
        moved_here: How many of them are there because their own day is a day off.
        left_out: How many times the day would have, were it not off: they are moved away, or not run.
        day_off: What the day off is called; None on business days and without a calendar.
    """

    date: date
    runs: int = 0
    moved_here: int = 0
    left_out: int = 0
    day_off: str | None = None


def year_ahead(spec: Spec, now: datetime) -> list[Day]:
    """Return each day of this month and the eleven after it, in order. ValueError on a wrong spec.

    Times that have passed are not counted. Costs at most `MAX_A_DAY` times a day, twice with a calendar.
    """
    zone = ZoneInfo(spec.timezone)
    first = wall_clock.shown(now, zone).date().replace(day=1)
    last = first.replace(year=first.year + 1) - _DAY
    runs = _counts(spec.times, zone, now, last)
    written = _counts(replace(spec, calendar="", days=None).times, zone, now, last) if spec.days else runs
    days = (first + number * _DAY for number in range((last - first).days + 1))
    return [_day(spec, day, runs.get(day, 0), written.get(day, 0)) for day in days]


def months(days: Iterable[Day]) -> list[list[Day]]:
    """Return days by month, in order."""
    found: list[list[Day]] = []
    for day in days:
        if not found or day.date.month != found[-1][-1].date.month:
            found.append([])
        found[-1].append(day)
    return found


def _day(spec: Spec, day: date, runs: int, written: int) -> Day:
    off = spec.days.day_off(day) if spec.days else None
    if off is None:
        return Day(day, runs, max(runs - written, 0))
    return Day(day, runs, left_out=written, day_off=off)


def _counts(
    times_after: Callable[[datetime], Iterator[datetime]], zone: ZoneInfo, after: datetime, last: date
) -> dict[date, int]:
    counts: dict[date, int] = {}
    start: datetime | None = after
    while start is not None:
        times, start = times_after(start), None
        for each in times:
            day = wall_clock.shown(each, zone).date()
            if day > last:
                return counts
            counts[day] = counts.get(day, 0) + 1
            if counts[day] >= MAX_A_DAY:
                midnight = wall_clock.instant_of(datetime.combine(day + _DAY, time()), zone)
                start = max(each, midnight - _MOMENT)
                break
    return counts
