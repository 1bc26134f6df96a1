"""From what a clock on the wall shows to instants, over every change of a zone's offset.

A zone's clock leaves times out when it is put forward and shows times twice when it is put back. Jobs at a fixed time
of day want each wall time once (`once_each`), jobs that run all day long want every instant at which the clock shows
such a time (`every_instant`): the distinction that Debian's cron makes.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)
# No zone of today changes its offset twice within a week (Morocco's two changes for Ramadan lie a month apart).
_STEP = timedelta(days=7)


def shown(instant: datetime, zone: ZoneInfo) -> datetime:
    """What a clock on the wall of this zone shows at an instant (naive)."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def first_change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """The first instant in (start, end] at which the zone's offset is another than at `start`; None without one."""
    before = _offset(start, zone)
    low = start
    while low < end:
        high = min(low + _STEP, end)
        if _offset(high, zone) != before:
            return _bisect(zone, before, low.replace(microsecond=0), high)
        low = high
    return None


def _bisect(zone: ZoneInfo, before: timedelta, low: datetime, high: datetime) -> datetime:
    """The instant in (low, high], a whole second, at which the offset stops to be `before`."""
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2 or 1)
        low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
    return high.replace(microsecond=0)


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a wall time: its first where it is shown twice, the end of the gap where it is left out."""
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if shown(instant, zone) == wall:
        return instant
    earlier = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)  # PEP 495: in a gap, fold=1 is the earlier one
    return first_change(zone, earlier, instant) or instant


def once_each(walls: Iterable[datetime], zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The instants after `after` of increasing wall times, each wall time once."""
    last = after
    for wall in walls:
        instant = instant_of(wall, zone)
        if instant > last:
            last = instant
            yield instant


def every_instant(
    walls_after: Callable[[datetime], Iterable[datetime]], zone: ZoneInfo, after: datetime
) -> Iterator[datetime]:
    """Every instant after `after` at which the clock shows one of these wall times.

    Goes from one change of the offset to the next; between two, the wall clock is a clock like any other.
    """
    start, wall = after.astimezone(UTC), shown(after, zone)
    change: datetime | None = start
    while change is not None:
        offset, change = _offset(start, zone), None
        for candidate in walls_after(wall):
            instant = (candidate - offset).replace(tzinfo=UTC)
            change = first_change(zone, start, instant)
            if change is not None:
                start, wall = change, shown(change, zone) - _SECOND
                break
            start = instant
            yield instant
