"""What the changes of clocks in the coming year do to a schedule, in plain words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from flows.models import ScheduleKind
from flows.recurrences import spoken, wall_clock
from flows.schedules import Spec

_YEAR = timedelta(days=366)
_MOMENT = timedelta(microseconds=1)
_NEAR = timedelta(days=8)  # a weekly schedule has a time on both sides of a change
_SHOWN = 3  # times that are named; the rest are "…"


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A change of the offset of a zone, and what it does.

    Attributes:
        at: The instant (UTC).
        zone: Whose clock changes: its IANA name.
        before: What the clock would show then without the change (naive).
        after: What it shows.
        words: What becomes of the schedule, a sentence.
        for_reader: What becomes of it on the reader's own clock, a sentence; empty where nothing does.
    """

    at: datetime
    zone: str
    before: datetime
    after: datetime
    words: str
    for_reader: str = ""

    @property
    def is_forward(self) -> bool:
        """Whether the clock is put forward."""
        return self.after > self.before


def clock_changes(spec: Spec, reader: ZoneInfo, now: datetime) -> list[ClockChange]:
    """Return the changes of the schedule's clock in the coming year, and those of the reader's that shift it for them.

    Reads the schedule around each change only. ValueError on a wrong spec.
    """
    zone = ZoneInfo(spec.timezone)
    own = list(_changes(zone, now))
    found = [_change(spec, zone, reader, at, _effect(spec, zone, at)) for at in own]
    others = [_change(spec, reader, reader, at, "") for at in _changes(reader, now) if at not in own]
    return sorted([*found, *(one for one in others if one.for_reader)], key=lambda change: change.at)


def _changes(zone: ZoneInfo, now: datetime) -> Iterator[datetime]:
    start, end = now.astimezone(UTC), now.astimezone(UTC) + _YEAR
    while (change := wall_clock.first_change(zone, start, end)) is not None:
        yield change
        start = change


def _change(spec: Spec, zone: ZoneInfo, reader: ZoneInfo, at: datetime, words: str) -> ClockChange:
    before, after = _walls(zone, at)
    return ClockChange(at, zone.key, before, after, words, _for_reader(spec, reader, at))


def _walls(zone: ZoneInfo, at: datetime) -> tuple[datetime, datetime]:
    """What the clock would show at a change, had it not changed, and what it shows (naive)."""
    return wall_clock.shown(at - timedelta(seconds=1), zone) + timedelta(seconds=1), wall_clock.shown(at, zone)


def _effect(spec: Spec, zone: ZoneInfo, at: datetime) -> str:
    before, after = _walls(zone, at)
    if spec.kind == ScheduleKind.INTERVAL:
        shift = abs(after - before).total_seconds()
        if shift % int(spec.expression) == 0:
            return "It counts elapsed time and goes on as before."
        return "It counts elapsed time, so its times on the clock shift from then on."
    if spec.days and spec.days.day_off(after.date()) is not None:
        return "That day is a day off."
    if after > before:
        return _left_out(spec, zone, at, before, after)
    return _repeated(spec, at, before, after)


def _left_out(spec: Spec, zone: ZoneInfo, at: datetime, before: datetime, after: datetime) -> str:
    """About a clock that is put forward: its times from `before` to `after` do not come that day."""
    lost = [wall for wall in _written(spec, at, before, _MOMENT) if wall < after]
    if not lost:
        return "It has no time in what is left out."
    runs_then = at in _between(spec, at - _MOMENT, at + _MOMENT)
    is_its_own = after in list(islice(_written(spec, at, after, _MOMENT), 1))
    comes = "does not come" if len(lost) == 1 else "do not come"
    if runs_then and not is_its_own:
        return f"{_clocks(lost)} {comes} that day: it runs at {after:%H:%M} instead."
    return f"{_clocks(lost)} {comes} that day."


def _repeated(spec: Spec, at: datetime, before: datetime, after: datetime) -> str:
    """About a clock that is put back: its times from `after` to `before` come twice that day."""
    width = before - after
    first, second = _between(spec, at - width - _MOMENT, at - _MOMENT), _between(spec, at - _MOMENT, at + width)
    second = [time for time in second if time < at + width]
    if not first and not second:
        return "It has no time in what comes twice."
    shown = [after + (time - (at - width)) for time in first] or [after + (time - at) for time in second]
    comes = "comes" if len(shown) == 1 else "come"
    return f"{_clocks(shown)} {comes} twice that day: it runs {'both times' if first and second else 'once'}."


def _written(spec: Spec, at: datetime, wall: datetime, early: timedelta) -> Iterator[datetime]:
    """Wall times from `wall` on, as a clock would show them that shows `wall` at `at` and never changes."""
    written: Any = spec.written()
    fixed = timezone(wall - at.replace(tzinfo=None))
    for time in replace(written, zone=fixed).times(at - early):
        yield time.astimezone(fixed).replace(tzinfo=None)
        if time - at > timedelta(days=1):
            return


def _between(spec: Spec, start: datetime, end: datetime) -> list[datetime]:
    """The schedule's times in (start, end]."""
    return list(takewhile(lambda time: time <= end, spec.times(start)))


def _clocks(walls: Iterable[datetime]) -> str:
    texts = list(dict.fromkeys(f"{wall:%H:%M}" for wall in walls))
    return ", ".join([*texts[:_SHOWN], "…"]) if len(texts) > _SHOWN + 1 else spoken(texts)


def _for_reader(spec: Spec, reader: ZoneInfo, at: datetime) -> str:
    """How the change shifts the schedule on another clock, where its own shows the same before and after."""
    if reader.key == spec.timezone:
        return ""
    zone = ZoneInfo(spec.timezone)
    last, following = spec.last_time(at - _NEAR, at - _MOMENT), next(spec.times(at), None)
    if last is None or following is None or following - at > _NEAR:
        return ""
    earlier, later = (wall_clock.shown(time, zone) for time in (last, following))
    for_them, then = (wall_clock.shown(time, reader) for time in (last, following))
    if earlier.time() != later.time() or for_them.time() == then.time():
        return ""
    return f"For you ({reader.key}) it runs at {then:%H:%M} from then on, no longer at {for_them:%H:%M}."
