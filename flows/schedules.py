"""When a deployment runs: a schedule as a value, its times, its description, its validation."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError
from django.utils import timezone as clock
from django.utils.dateparse import parse_datetime

from flows.calendars import BusinessCalendar
from flows.models import Catchup, OnDayOff, ScheduleKind
from flows.recurrences import Recurrence, business_days, cron, interval, rrule, wall_clock, weekly

if TYPE_CHECKING:
    from flows.models import Schedule

PARSERS = {
    ScheduleKind.WEEKLY.value: weekly.parse,
    ScheduleKind.INTERVAL.value: interval.parse,
    ScheduleKind.CRON.value: cron.parse,
    ScheduleKind.RRULE.value: rrule.parse,
}
# How far to look back for the last time before an instant: a window is read to its end, so the short ones come first.
_WINDOWS = [timedelta(seconds=10), timedelta(minutes=10), timedelta(hours=6), timedelta(days=7), timedelta(days=366)]
_TIMES = ("anchor", "starts_at", "ends_at")
MAX_CATCHUP_SECONDS = 10 * 366 * 24 * 3600
_MOMENT = timedelta(microseconds=1)


@lru_cache(16_384)
def _recurrence(kind: str, expression: str, zone: str, anchor: datetime | None) -> Recurrence:
    """The parsed schedule; ValueError when it is wrong. Cached: parsing costs more than counting."""
    return PARSERS[kind](expression, ZoneInfo(zone), anchor)


@dataclass(frozen=True, slots=True)
class Spec:
    """A schedule as a value.

    Attributes:
        kind: weekly, interval, cron or rrule.
        expression: `MO,WE 08:00`; whole seconds; five fields of cron or `@daily`; an RFC 5545 rule.
        timezone: IANA name of the zone whose wall clock counts.
        anchor: From where an interval is counted, and where a rule without DTSTART starts (aware).
        starts_at: No time before this (aware).
        ends_at: No time after this (aware).
        calendar: The name of the team's calendar with the days off; empty for none.
        on_day_off: What becomes of a time on a day off: skip, next or previous.
        catchup: What becomes of times missed while no scheduler ran: latest, all or none.
        catchup_seconds: Times missed longer ago than this are not run, whatever `catchup` says; None for no limit.
        parameters: Added to the deployment's own for the runs of this schedule.
        active: Whether it makes runs.
        days: The calendar of that name, once it is found (`flows.actions.with_calendar`); no part of what is written.
    """

    kind: str
    expression: str
    timezone: str = "UTC"
    anchor: datetime | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    calendar: str = ""
    on_day_off: str = OnDayOff.SKIP.value
    catchup: str = Catchup.LATEST.value
    catchup_seconds: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    active: bool = True
    days: BusinessCalendar | None = field(default=None, compare=False)

    @classmethod
    def of(cls, schedule: "Schedule") -> "Spec":
        """The value of a stored schedule (reads its calendar, where it has one)."""
        stored = {name: getattr(schedule, name) for name in WRITTEN if name != "calendar"}
        days = schedule.calendar.value if schedule.calendar_id else None
        return cls(**stored, calendar=days.name if days else "", days=days)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Spec":
        """The value that `as_json` wrote; ValidationError names a field that is missing or unknown."""
        if unknown := sorted(set(value) - set(WRITTEN)):
            raise ValidationError({unknown[0]: f"A schedule has no “{unknown[0]}”. It has {', '.join(WRITTEN)}."})
        if missing := [name for name in ("kind", "expression") if name not in value]:
            raise ValidationError({missing[0]: "This is needed."})
        times = {name: _aware(name, value[name]) for name in _TIMES if isinstance(value.get(name), str)}
        return cls(
            **{**value, "expression": str(value["expression"]), "calendar": value.get("calendar") or "", **times}
        )

    def as_json(self) -> dict[str, Any]:
        """All fields, as JSON holds them; the calendar by its name."""
        written = {name: getattr(self, name) for name in WRITTEN}
        times = {name: time.isoformat() for name in _TIMES if (time := written[name])}
        return {**written, **times, "parameters": dict(self.parameters)}

    def fields(self) -> dict[str, Any]:
        """All fields, as the model holds them; the calendar has to be found."""
        written = {name: getattr(self, name) for name in WRITTEN if name != "calendar"}
        return {**written, "parameters": dict(self.parameters), "calendar_id": self.days.id if self.days else None}

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one (aware UTC, strictly increasing), maybe without end; ValueError on a wrong spec."""
        begin = after.astimezone(UTC)
        if self.starts_at is not None:
            begin = max(begin, self.starts_at.astimezone(UTC) - _MOMENT)
        times = self._on_its_days().times(begin)
        return times if self.ends_at is None else takewhile(lambda time: time <= self.ends_at, times)

    def written(self) -> Recurrence:
        """The recurrence as it is written, whatever the calendar, the start and the end; ValueError on a wrong spec."""
        return _recurrence(self.kind, self.expression, self.timezone, self.anchor)

    def _on_its_days(self) -> Recurrence:
        if not self.calendar:
            return self.written()
        if self.days is None:
            raise ValueError(f"The calendar “{self.calendar}” was not looked for.")
        return business_days.OnBusinessDays(self.written(), self.days, ZoneInfo(self.timezone), self.on_day_off)

    def next_times(self, after: datetime, count: int) -> list[datetime]:
        """The next times after this one: aware UTC, strictly after it, in order, at most `count`."""
        return list(islice(self.times(after), count))

    def last_time(self, since: datetime, until: datetime) -> datetime | None:
        """The last time in (since, until]; None without one."""
        for window in [*_WINDOWS, until - since]:
            start = max(since, until - window)
            last = deque(takewhile(lambda time: time <= until, self.times(start)), maxlen=1)
            if last or start == since:
                return last.pop() if last else None
        return None

    def describe(self) -> str:
        """The schedule in plain words; as it is written where it is wrong."""
        try:
            words = self._on_its_days().describe()
            zone = ZoneInfo(self.timezone)
        except (ValueError, KeyError, OSError):
            return f"{self.kind} {self.expression}, {self.timezone}"
        if self.starts_at is not None:
            words += f", from {wall_clock.shown(self.starts_at, zone):%Y-%m-%d %H:%M}"
        if self.ends_at is not None:
            words += f", until {wall_clock.shown(self.ends_at, zone):%Y-%m-%d %H:%M}"
        return words

    def clean(self, now: datetime | None = None) -> "Spec":
        """Return this schedule in its normal form.

        Raises:
            ValidationError: By field: what is wrong and what to write instead. An active schedule without a time to
                come is wrong too.
        """
        _check_choices(self)
        now = (now or clock.now()).astimezone(UTC)
        try:
            recurrence = self.written()
            comes = next(recurrence.times(now), None)
        except ValueError as error:
            raise ValidationError({"expression": str(error)}) from None
        if self.active and comes is None:
            raise ValidationError({"expression": "This schedule has no time to come. Change it so that it has one."})
        _check_days(self, recurrence, now)
        return replace(self, expression=getattr(recurrence, "expression", " ".join(self.expression.split())))


WRITTEN = tuple(one.name for one in fields(Spec) if one.name != "days")


def _check_days(spec: Spec, recurrence: Recurrence, now: datetime) -> None:
    """Raise ValidationError, by field, where the calendar, the start or the end leave no time to come."""
    zone = ZoneInfo(spec.timezone)
    if spec.calendar and spec.on_day_off != OnDayOff.SKIP and business_days.is_too_dense(recurrence, zone, now):
        most = business_days.MAX_MOVED_A_DAY
        raise ValidationError(
            {"on_day_off": f"It runs more than {most} times a day: too often to be moved. Leave days off out instead."}
        )
    if not spec.active:
        return
    try:
        if next(spec.times(now), None) is not None:
            return
        if spec.calendar and next(replace(spec, calendar="").times(now), None) is not None:
            raise ValueError(f"All its times in the next ten years are days off of the calendar “{spec.calendar}”.")
    except ValueError as error:
        raise ValidationError({"calendar": str(error)}) from None
    raise ValidationError({"ends_at": "It ends before its first time, so that it would never run. Write a later end."})


def _check_choices(spec: Spec) -> None:
    """Raise ValidationError, by field, for what cannot be chosen."""
    if spec.kind not in PARSERS:
        raise ValidationError({"kind": f"“{spec.kind}” is no kind of schedule. Write one of {', '.join(PARSERS)}."})
    if spec.catchup not in Catchup.values:
        raise ValidationError({"catchup": f"“{spec.catchup}” is not known. Write one of {', '.join(Catchup.values)}."})
    if not isinstance(spec.parameters, Mapping):
        raise ValidationError({"parameters": "Write an object of names and values."})
    if spec.on_day_off not in OnDayOff.values:
        choices = ", ".join(OnDayOff.values)
        raise ValidationError({"on_day_off": f"“{spec.on_day_off}” is not known. Write one of {choices}."})
    if spec.calendar and spec.days is None:
        raise ValidationError({"calendar": f"There is no calendar “{spec.calendar}”."})
    seconds = spec.catchup_seconds
    if seconds is not None and (type(seconds) is not int or not 1 <= seconds <= MAX_CATCHUP_SECONDS):
        raise ValidationError({"catchup_seconds": f"Write whole seconds, 1 to {MAX_CATCHUP_SECONDS:,}, as in 7200."})
    for name in _TIMES:
        time = getattr(spec, name)
        if time is not None and clock.is_naive(time):
            raise ValidationError({name: "Write a time with its offset, as in 2027-01-04T08:00:00+01:00."})
    if spec.starts_at and spec.ends_at and spec.ends_at <= spec.starts_at:
        raise ValidationError({"ends_at": "It ends before it starts. Write a later end."})
    try:
        ZoneInfo(spec.timezone)
    except (KeyError, ValueError, OSError):
        raise ValidationError({"timezone": _unknown_zone(spec.timezone)}) from None


def _unknown_zone(name: str) -> str:
    """What to say about a zone that there is not; with the nearest one that there is (reads tzdata's list)."""
    last_parts = {zone.rpartition("/")[2].lower(): zone for zone in sorted(available_timezones())}
    near = get_close_matches(name.rpartition("/")[2].lower().replace(" ", "_"), last_parts, n=1)
    return f"“{name}” is no time zone. Write an IANA name such as {last_parts[near[0]] if near else 'Europe/Paris'}."


def _aware(name: str, text: str) -> datetime:
    try:
        time = parse_datetime(text)
    except ValueError:
        time = None
    if time is None or clock.is_naive(time):
        raise ValidationError({name: f"“{text}” cannot be read. Write a time as in 2027-01-04T08:00:00+01:00."})
    return time
