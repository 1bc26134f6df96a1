"""Recurrence rules of RFC 5545, on the wall clock of a zone, counted by dateutil.

dateutil counts from the rule's start whatever is asked for, and looks for a time that never comes (30 February) until
the year 9999, for seconds. So the start is moved forward by whole periods, which changes no time of the rule, and it is
all counted in the last 400 years before 9999: the Gregorian calendar repeats every 400 years, days of the week too.
Times more than ten years ahead are not looked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from flows.recurrences import spoken, wall_clock

SEARCH = timedelta(days=10 * 366)
MAX_COUNT = 10_000
# Rules without a start count from here: a Monday, at midnight, so that a rule's own hours and minutes are all there is.
DEFAULT_START = datetime(2000, 1, 3)  # noqa: DTZ001 - a wall time
_PARTS = {"FREQ", "UNTIL", "COUNT", "INTERVAL", "WKST", "BYSETPOS"} | {
    f"BY{unit}" for unit in ("SECOND", "MINUTE", "HOUR", "DAY", "MONTHDAY", "YEARDAY", "WEEKNO", "MONTH")
}
_PERIODS = {
    "SECONDLY": timedelta(seconds=1),
    "MINUTELY": timedelta(minutes=1),
    "HOURLY": timedelta(hours=1),
    "DAILY": timedelta(days=1),
    "WEEKLY": timedelta(weeks=1),
}
_UNITS = {
    "SECONDLY": "second",
    "MINUTELY": "minute",
    "HOURLY": "hour",
    "DAILY": "day",
    "WEEKLY": "week",
    "MONTHLY": "month",
    "YEARLY": "year",
}
_DAYS = {
    "MO": "Monday",
    "TU": "Tuesday",
    "WE": "Wednesday",
    "TH": "Thursday",
    "FR": "Friday",
    "SA": "Saturday",
    "SU": "Sunday",
}
_LAST_YEAR = 9999 - 11
_EXAMPLE = "Write one like “FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=8;BYMINUTE=0”."


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was found right: its parts (without UNTIL and COUNT), where it starts and ends (wall times)."""

    parts: tuple[tuple[str, str], ...]
    start: datetime
    until: datetime | None
    count: int | None
    excluded: frozenset[datetime]
    zone: ZoneInfo

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one, those of the next ten years at most."""
        named = dict(self.parts)
        if named["FREQ"] in {"HOURLY", "MINUTELY", "SECONDLY"} and "BYHOUR" not in named:
            return wall_clock.every_instant(self._walls_after, self.zone, after)
        # A day back, because a wall time in a gap stands for an instant after it.
        walls = self._walls_after(wall_clock.shown(after, self.zone) - timedelta(days=1))
        return wall_clock.once_each(walls, self.zone, after)

    def _walls_after(self, wall: datetime) -> Iterator[datetime]:
        wall = max(wall, self.start - timedelta(seconds=1))  # nothing comes before the start, however long before
        end = wall + SEARCH if self.until is None else min(wall + SEARCH, self.until)
        start = self.start if self.count is not None else self._start_near(wall)
        years = (_LAST_YEAR - wall.year) // 400 * 400
        rule = rrulestr(";".join(f"{name}={value}" for name, value in self.parts), dtstart=_moved(start, years))
        assert isinstance(rule, rrule)
        for late in islice(rule.replace(until=_moved(end, years)), self.count):
            each = _moved(late, -years)
            if each > wall and each not in self.excluded:
                yield each

    def _start_near(self, wall: datetime) -> datetime:
        """The start moved forward by whole periods to shortly before `wall`; months and years by fours of years."""
        named = dict(self.parts)
        interval = int(named.get("INTERVAL", "1"))
        if named["FREQ"] in _PERIODS:
            period = _PERIODS[named["FREQ"]] * interval
            return self.start + max((wall - self.start) // period - 1, 0) * period
        years = max((wall.year - self.start.year) // (4 * interval) - 1, 0) * 4 * interval
        try:
            return self.start.replace(year=self.start.year + years)
        except ValueError:  # 29 February, into 2100
            return self.start

    def describe(self) -> str:
        """The rule in plain words, with the zone."""
        named = dict(self.parts)
        unit, interval = _UNITS[named["FREQ"]], int(named.get("INTERVAL", "1"))
        words = " ".join([f"every {unit}" if interval == 1 else f"every {interval} {unit}s", *self._when(named)])
        if self.count is not None:
            words += f", {self.count} times from {self.start:%Y-%m-%d}"
        if self.until is not None:
            words += f", until {self.until:%Y-%m-%d}"
        return f"{words}, {self.zone.key}"

    def _when(self, named: dict[str, str]) -> Iterator[str]:
        """Words for the parts that say when within the period; those without words of their own as they are written."""
        if days := named.get("BYDAY"):
            yield f"on {spoken([_day_word(day) for day in days.split(',')])}"
        if days := named.get("BYMONTHDAY"):
            yield f"on {spoken([_day_of_month(day) for day in days.split(',')])} of the month"
        if months := named.get("BYMONTH"):
            yield "in " + spoken([f"{datetime(2000, int(month), 1):%B}" for month in months.split(",")])  # noqa: DTZ001
        rest = [f"{name}={named[name]}" for name in ("BYYEARDAY", "BYWEEKNO", "BYSETPOS") if name in named]
        if named.get("BYSECOND", "0") != "0":
            rest.append(f"BYSECOND={named['BYSECOND']}")
        if rest:
            yield f"({';'.join(rest)})"
        if named["FREQ"] not in {"HOURLY", "MINUTELY", "SECONDLY"}:
            hours = named.get("BYHOUR", str(self.start.hour)).split(",")
            minutes = named.get("BYMINUTE", str(self.start.minute)).split(",")
            yield "at " + spoken([f"{int(hour):02}:{int(minute):02}" for hour in hours for minute in minutes])


def _moved(wall: datetime, years: int) -> datetime:
    return wall.replace(year=wall.year + years)


def _day_of_month(day: str) -> str:
    """`15` is day 15, `-1` the last day, `-3` day 3 from the end."""
    if int(day) > 0:
        return f"day {int(day)}"
    return "the last day" if int(day) == -1 else f"day {-int(day)} from the end"


def _day_word(day: str) -> str:
    """`MO` is Monday, `2MO` the second Monday, `-1FR` the last Friday."""
    name, ordinal = _DAYS[day[-2:]], day[:-2]
    if not ordinal:
        return name
    known = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth", "-1": "last"}
    return f"the {known.get(ordinal.lstrip('+'), f'{int(ordinal)}th')} {name}"


def parse(expression: str, zone: ZoneInfo, anchor: datetime | None = None) -> Rule:
    """Return the recurrence; ValueError says what to write instead.

    Args:
        expression: `FREQ=…;…`, or lines of iCalendar: one RRULE, at most one DTSTART, any number of EXDATE.
        zone: Whose wall clock the rule is about.
        anchor: Where the rule starts, when it has no DTSTART.
    """
    start, parts, excluded = wall_clock.shown(anchor, zone) if anchor else None, {}, set()
    for line in expression.replace("\\n", "\n").split():
        name, value = _property(line)
        if name == "DTSTART":
            start = _wall(value, line, zone)
        elif name == "EXDATE":
            excluded.update(_wall(each, line, zone) for each in value.split(","))
        elif name == "RRULE" and not parts:
            parts = _rule_parts(value)
        else:
            raise ValueError(f"“{line}” cannot be used here: one RRULE, one DTSTART and EXDATE lines can. {_EXAMPLE}")
    if not parts:
        raise ValueError(f"There is no rule. {_EXAMPLE}")
    until = _wall(parts.pop("UNTIL"), "", zone) if "UNTIL" in parts else None
    count = _count(parts.pop("COUNT"), start) if "COUNT" in parts else None
    rule = Rule(tuple(parts.items()), start or DEFAULT_START, until, count, frozenset(excluded), zone)
    _try(rule)
    return rule


def _property(line: str) -> tuple[str, str]:
    """The name and the value of a line of iCalendar; a bare rule is an RRULE."""
    head, colon, value = line.partition(":")
    if not colon:
        return "RRULE", line.upper()
    return head.partition(";")[0].upper(), value.upper()


def _rule_parts(text: str) -> dict[str, str]:
    parts = dict(part.partition("=")[::2] for part in text.rstrip(";").split(";"))
    if unknown := sorted(set(parts) - _PARTS):
        raise ValueError(f"“{unknown[0]}” is not a part of a recurrence rule. {_EXAMPLE}")
    if parts.get("FREQ") not in _UNITS:
        raise ValueError(f"FREQ has to be one of {', '.join(_UNITS)}. {_EXAMPLE}")
    if not parts.get("INTERVAL", "1").isdigit() or not 1 <= int(parts.get("INTERVAL", "1")) <= 10_000_000:
        raise ValueError(f"INTERVAL has to be a number from 1 on, not “{parts['INTERVAL']}”.")
    if {"UNTIL", "COUNT"} <= set(parts):
        raise ValueError("A rule has UNTIL or COUNT, not both. Leave one out.")
    return parts


def _count(text: str, start: datetime | None) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_COUNT:
        raise ValueError(f"COUNT has to be a number from 1 to {MAX_COUNT}. For more, write UNTIL.")
    if start is None:
        raise ValueError(
            "COUNT needs a start to count from. Add a line such as “DTSTART:20270104T080000”, or write UNTIL."
        )
    return int(text)


def _wall(text: str, line: str, zone: ZoneInfo) -> datetime:
    """A wall time of this zone, from a date or a date and time, which may be UTC (`Z`) or name a zone of its own."""
    head = line.partition(":")[0]
    own = next((part.partition("=")[2] for part in head.split(";") if part.upper().startswith("TZID=")), "")
    try:
        form = "%Y%m%dT%H%M%S" if "T" in text else "%Y%m%d"
        wall = datetime.strptime(text.removesuffix("Z"), form)  # noqa: DTZ007 - the zone is added below
        if text.endswith("Z"):
            return wall_clock.shown(wall.replace(tzinfo=UTC), zone)
        return wall_clock.shown(wall.replace(tzinfo=ZoneInfo(own)), zone) if own else wall
    except (ValueError, KeyError, OSError):
        raise ValueError(f"“{text}” is no time. Write it like 20270104T080000, or 20270104T070000Z for UTC.") from None


def _try(rule: Rule) -> None:
    """Have dateutil read the rule and count to its first time, and describe it, so that its complaints come now."""
    try:
        next(rule._walls_after(rule.start - timedelta(seconds=1)), None)
        rule.describe()
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"The rule cannot be read ({error}). {_EXAMPLE}") from None
