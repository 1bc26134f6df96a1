"""A recurrence on business days: times on a calendar's days off are left out, or moved to a business day near by.

A moved time keeps what its wall clock shows. Times that so fall on the same instant become one. Days off in a row and
the business day that takes their times form a group; groups follow each other as days do, so the times of one are
sorted when its last has come, and nothing else has to be kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flows.calendars import BusinessCalendar
from flows.recurrences import Recurrence, wall_clock

SKIP, NEXT, PREVIOUS = "skip", "next", "previous"
# Where all times for so long are days off, there is none.
SEARCH = timedelta(days=10 * 366)
# Moving is for what runs a few times a day; each minute of a holiday would be laid over a day that has its own.
MAX_MOVED_A_DAY = 24
_MOMENT = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OnBusinessDays:
    """Times kept off the days off of a calendar."""

    recurrence: Recurrence
    calendar: BusinessCalendar
    zone: ZoneInfo
    rule: str  #: skip, next or previous

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one. ValueError where the calendar has no business day for a year."""
        return self._kept(after) if self.rule == SKIP else self._moved(after)

    def describe(self) -> str:
        """The recurrence in plain words, with what happens on days off."""
        words = {
            SKIP: "not on days off",
            NEXT: "on a day off on the next business day",
            PREVIOUS: "on a day off on the previous business day",
        }
        return f"{self.recurrence.describe()}, {words[self.rule]} ({self.calendar.name})"

    def _kept(self, after: datetime) -> Iterator[datetime]:
        """Goes over days off in one step, however many times they have."""
        start, give_up = after, after + SEARCH
        while start is not None:
            times, start = self.recurrence.times(start), None
            for each in times:
                if each > give_up:
                    return
                day = wall_clock.shown(each, self.zone).date()
                if self.calendar.day_off(day) is not None:
                    start = max(each, self._midnight(self.calendar.next_business_day(day)) - _MOMENT)
                    break
                give_up = each + SEARCH
                yield each

    def _moved(self, after: datetime) -> Iterator[datetime]:
        last, target, day, group = after, None, None, set[datetime]()
        for each in self.recurrence.times(self._midnight(self._first_day(after)) - _MOMENT):
            wall = wall_clock.shown(each, self.zone)
            if wall.date() != day:
                day = wall.date()
                to = self._business_day(day)
                if to != target:
                    yield from sorted(moved for moved in group if moved > last)
                    last, target, group = max([last, *group]), to, set()
            group.add(each if to == day else wall_clock.instant_of(datetime.combine(to, wall.time()), self.zone))
        yield from sorted(moved for moved in group if moved > last)

    def _business_day(self, day: date) -> date:
        calendar = self.calendar
        return calendar.next_business_day(day) if self.rule == NEXT else calendar.previous_business_day(day)

    def _first_day(self, after: datetime) -> date:
        """The first day whose times may be moved behind `after`."""
        today = wall_clock.shown(after, self.zone).date()
        return self.calendar.previous_business_day(today - _DAY) + _DAY if self.rule == NEXT else today

    def _midnight(self, day: date) -> datetime:
        return wall_clock.instant_of(datetime.combine(day, time()), self.zone)


def is_too_dense(recurrence: Recurrence, zone: ZoneInfo, after: datetime) -> bool:
    """Whether a recurrence has more times on one of its next days than can be moved to another (reads 100 of them)."""
    day, shown = None, set[time]()
    for _, each in zip(range(2 * MAX_MOVED_A_DAY + 4), recurrence.times(after), strict=False):
        wall = wall_clock.shown(each, zone)
        if wall.date() != day:
            day, shown = wall.date(), set()
        shown.add(wall.time())
        if len(shown) > MAX_MOVED_A_DAY:
            return True
    return False
