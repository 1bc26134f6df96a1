"""What a schedule means, for a page: in words, its next times on two clocks, what clocks do to it, its year ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils import timezone

from flows.calendars import WEEKDAYS
from flows.clock_changes import clock_changes
from flows.recurrences import wall_clock
from flows.schedules import Spec
from flows.year import MAX_A_DAY, Day, months, year_ahead
from runs.presentation import several

NEXT_TIMES = 5
_WEEKDAY_NAMES = frozenset(WEEKDAYS.values())


@dataclass(frozen=True, slots=True)
class Cell:
    """A day in a small month: its number, how it looks (`css`), what is said on hover and read aloud."""

    number: int
    css: str = ""
    count: str = ""  #: how often it runs, where that is more than once
    words: str = ""


@dataclass(frozen=True, slots=True)
class Month:
    """A small month: its weeks from Monday on, days of other months None; and the same in words."""

    first: date
    weeks: list[list[Cell | None]]
    words: str
    special: list[str]  #: days off and moved runs, a line each


@dataclass(frozen=True, slots=True)
class NextTime:
    """One of the next times: on the schedule's clock and on the reader's, which is None where both show the same."""

    instant: datetime
    wall: datetime
    zone: str
    reader: datetime | None


def shown(spec: Spec, now: datetime) -> dict[str, Any]:
    """Return what a page shows of a schedule that is found right; `wrong` instead where it is not.

    Its year costs at most `flows.year.MAX_A_DAY` times a day.
    """
    try:
        spec = spec.clean(now)
        days = year_ahead(spec, now)
        return {
            "words": spec.describe(),
            "times": next_times(spec, now),
            "zone": spec.timezone,
            "reader_zone": timezone.get_current_timezone_name(),
            "changes": clock_changes(spec, ZoneInfo(timezone.get_current_timezone_name()), now),
            "months": [_month(each) for each in months(days)],
            "summary": summary(days),
            "has_moved": any(day.moved_here for day in days),
            "has_days_off": spec.days is not None,
            "now": now,
        }
    except ValidationError as error:
        return {"wrong": error.messages}
    except (ValueError, OverflowError) as error:  # a year that cannot be counted
        return {"wrong": [str(error)]}


def next_times(spec: Spec, now: datetime) -> list[NextTime]:
    """Return the next times of a schedule on its own clock and the reader's."""
    zone, reader = ZoneInfo(spec.timezone), timezone.get_current_timezone()
    found = []
    for time in spec.next_times(now, NEXT_TIMES):
        here, there = time.astimezone(zone), time.astimezone(reader)
        same = here.utcoffset() == there.utcoffset()
        found.append(NextTime(time, wall_clock.shown(time, zone), here.tzname() or "", None if same else there))
    return found


def summary(days: Sequence[Day]) -> str:
    """Return a year in one sentence."""
    runs, on = sum(day.runs for day in days), sum(1 for day in days if day.runs)
    more = "at least " if any(day.runs >= MAX_A_DAY for day in days) else ""
    words = [f"{more}{several(runs, 'run')} on {several(on, 'day')}"]
    if moved := sum(day.moved_here for day in days):
        words.append(f"{moved:,} of them moved there from days off")
    if off := sum(1 for day in days if day.left_out):
        words.append(f"{several(off, 'day')} off without what would run then")
    return ", ".join(words) + "."


def _month(days: Sequence[Day]) -> Month:
    cells: list[Cell | None] = [None] * days[0].date.weekday()
    cells += [_cell(day) for day in days]
    cells += [None] * (-len(cells) % 7)
    runs = sum(day.runs for day in days)
    special = [f"{day.date:%a} {day.date.day}: {_words(day)}" for day in days if _is_special(day)]
    on = sum(1 for day in days if day.runs)
    words = f"{several(runs, 'run')} on {several(on, 'day')}" if runs else "no run"
    return Month(days[0].date, [cells[at : at + 7] for at in range(0, len(cells), 7)], words, special)


def _is_special(day: Day) -> bool:
    return bool(day.moved_here) or (day.day_off is not None and day.day_off not in _WEEKDAY_NAMES)


def _cell(day: Day) -> Cell:
    css = "moved" if day.moved_here else "on" if day.runs else "left" if day.left_out else "off" if day.day_off else ""
    count = "" if day.runs < 2 else f"{day.runs}" if day.runs < MAX_A_DAY else f"{MAX_A_DAY - 1}+"
    words = _words(day)
    return Cell(day.date.day, css, count, f"{day.date:%A} {day.date.day} {day.date:%B}: {words}" if words else "")


def _words(day: Day) -> str:
    words = []
    if day.runs:
        number = f"{MAX_A_DAY} or more runs" if day.runs >= MAX_A_DAY else several(day.runs, "run")
        moved = f", {day.moved_here} of them moved there" if day.moved_here and day.moved_here < day.runs else ""
        words.append(number + (moved or (", moved there" if day.moved_here else "")))
    if day.day_off is not None:
        words.append(f"day off ({day.day_off})")
    if day.left_out:
        words.append("would run otherwise")
    return ", ".join(words)
