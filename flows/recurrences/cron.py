"""Cron: five fields, on the wall clock of a zone.

cronsim reads the expression and counts on a naive clock; `wall_clock` turns that into instants. A job at fixed hours
runs once a day whatever the clock does (at the end of the gap where its time is left out); a job whose minutes or hours
begin with `*`, or that runs in all 24 hours, runs at every instant at which the clock shows such a time. (cronsim's own
aware arithmetic agrees, except that it passes over times where an offset changes by half an hour, as on Lord Howe.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from cronsim.cronsim import SYMBOLIC_DAYS

from flows.recurrences import spoken, wall_clock

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
# What each field may hold, in the order of the fields; the names are cronsim's.
_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L for the last day or LW for the last weekday",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), MON to SUN, 5L for the last Friday or MON#2 for the second Monday",
}
_YEARS = 50  # as cronsim: a day that did not come for so long never will
_DAY = timedelta(days=1)
_START = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time; the arithmetic here is on naive clocks


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression of five fields that was found right."""

    expression: str
    zone: ZoneInfo

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one; ends where there is none in fifty years."""
        if self._is_all_day:
            return wall_clock.every_instant(lambda wall: walls_after(self.expression, wall), self.zone, after)
        return wall_clock.once_each(walls_after(self.expression, wall_clock.shown(after, self.zone)), self.zone, after)

    @property
    def _is_all_day(self) -> bool:
        return _read(self.expression).all_day

    def describe(self) -> str:
        """The expression in plain words, with the zone where it matters."""
        minute, hour, *day = self.expression.split()
        words = _often(minute, hour) if day == ["*", "*", "*"] else None
        if words:
            return words
        return f"{_at_times(minute, hour, *day) or self._explained()}, {self.zone.key}"

    def _explained(self) -> str:
        text = CronSim(self.expression, _START).explain()
        return text[0].lower() + text[1:]


@dataclass(frozen=True, slots=True)
class _Read:
    """What cronsim read in an expression."""

    cronsim: CronSim
    hours: tuple[int, ...]
    minutes: tuple[int, ...]

    @property
    def all_day(self) -> bool:
        minute, hour = self.cronsim.parts[1:3]
        return minute.startswith("*") or hour.startswith("*") or len(self.hours) == 24


@lru_cache(4096)  # reading an expression costs 20 µs, as much as counting to its next time
def _read(expression: str) -> _Read:
    cronsim = CronSim(expression, _START)
    return _Read(cronsim, tuple(sorted(cronsim.hours)), tuple(sorted(cronsim.minutes)))


def walls_after(expression: str, wall: datetime) -> Iterator[datetime]:
    """The wall times after this one, a day at a time; none where no day comes for fifty years.

    cronsim reads the expression and says which days match. Its own iterator goes from hour to hour, and the ticks of
    thousands of schedules would spend most of their time there.
    """
    read = _read(expression)
    months, match_day = read.cronsim.months, read.cronsim.match_day
    day, give_up = wall.date(), wall.year + _YEARS
    while day.year <= give_up and day.year < MAXYEAR:
        if day.month not in months:
            day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            continue
        if match_day(day):
            for hour in read.hours:
                for minute in read.minutes:
                    found = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 - a wall time
                    if found > wall:
                        give_up = day.year + _YEARS
                        yield found
        day += _DAY


def _often(minute: str, hour: str) -> str | None:
    """Words for what runs all day long, every so many minutes or hours; None for anything else."""
    if hour == "*" and minute in {"*", "*/1"}:
        return "every minute"
    if hour == "*" and minute.startswith("*/") and minute[2:].isdigit() and 60 % int(minute[2:]) == 0:
        return f"every {int(minute[2:])} minutes"
    if hour == "*" and minute.isdigit():
        return "every hour" if int(minute) == 0 else f"every hour at {int(minute)} past"
    return None


def _at_times(minute: str, hour: str, day: str, month: str, week_day: str) -> str | None:
    """Words for what runs at a few times of day, every day or on some days of the week; None for anything else."""
    hours = hour.split(",")
    if not minute.isdigit() or not all(each.isdigit() for each in hours) or (day, month) != ("*", "*"):
        return None
    at = spoken([f"{int(each):02}:{int(minute):02}" for each in sorted(hours, key=int)])
    if week_day == "*":
        return f"every day at {at}"
    days = sorted({number for each in week_day.upper().split(",") if (number := _day_number(each)) is not None})
    if len(days) != len(set(week_day.split(","))):
        return f"every weekday (Monday to Friday) at {at}" if week_day.upper() in {"1-5", "MON-FRI"} else None
    return on_days(days, at)


def on_days(days: list[int], at: str) -> str:
    """Words for some days of the week (0 is Sunday) at a time."""
    if len(set(days)) == 7:
        return f"every day at {at}"
    if days == [1, 2, 3, 4, 5]:
        return f"every weekday (Monday to Friday) at {at}"
    monday_first = sorted(days, key=lambda number: (number - 1) % 7)
    return f"every week on {spoken([DAYS[number] for number in monday_first])} at {at}"


def _day_number(text: str) -> int | None:
    if text in SYMBOLIC_DAYS:
        return SYMBOLIC_DAYS.index(text)
    return int(text) % 7 if text.isdigit() else None


def parse(expression: str, zone: ZoneInfo, anchor: datetime | None = None) -> Cron:
    """Return the recurrence; ValueError says which field is wrong and what it may hold. The anchor is not used."""
    fields = expression.split()
    if expression.strip().startswith("@"):
        fields = NICKNAMES.get(expression.strip().lower(), "").split()
        if not fields:
            raise ValueError(
                f"“{expression.strip()}” is not known. Write one of {', '.join(NICKNAMES)}, or five fields."
            )
    if len(fields) != 5:
        raise ValueError(
            f"“{expression.strip()}” has {len(fields)} field{'' if len(fields) == 1 else 's'}. Cron has five: minute,"
            " hour, day of month, month, day of week, as in “0 2 * * *”. For seconds, write an interval."
        )
    cron = Cron(" ".join(fields), zone)
    try:
        next(CronSim(cron.expression, _START))
    except CronSimError as error:
        raise ValueError(_complaint(str(error), fields)) from None
    except StopIteration:
        raise ValueError(f"“{cron.expression}” names a day that never comes. Change its day or its month.") from None
    return cron


def _complaint(error: str, fields: list[str]) -> str:
    name = error.removeprefix("Bad ")
    if name not in _FIELDS:
        return f"“{' '.join(fields)}” is not a cron expression: {error}. Write five fields, as in “0 2 * * *”."
    text = fields[list(_FIELDS).index(name)]
    if name == "day-of-month" and text.replace(",", "").isdigit():
        return (
            f"The day of month “{text}” never comes in the months given. Write {_FIELDS[name]}, in a month that has it."
        )
    return (
        f"The {name.replace('-', ' ')} “{text}” cannot be read. Write {_FIELDS[name]}; * for every one, */15 for every"
        " fifteenth, 1-5 for a range, 1,3 for a list."
    )
