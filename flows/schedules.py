"""When a deployment runs: a schedule as a value, its times, its description, its validation."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError
from django.utils import timezone as clock
from django.utils.dateparse import parse_datetime

from flows.models import Catchup, ScheduleKind
from flows.recurrences import Recurrence, cron, interval, rrule, weekly

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


@lru_cache(4096)
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
        catchup: What becomes of times missed while no scheduler ran: latest, all or none.
        parameters: Added to the deployment's own for the runs of this schedule.
        active: Whether it makes runs.
    """

    kind: str
    expression: str
    timezone: str = "UTC"
    anchor: datetime | None = None
    catchup: str = Catchup.LATEST.value
    parameters: Mapping[str, Any] = field(default_factory=dict)
    active: bool = True

    @classmethod
    def of(cls, schedule: "Schedule") -> "Spec":
        """The value of a stored schedule."""
        return cls(**{name: getattr(schedule, name) for name in cls.__slots__})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Spec":
        """The value that `as_json` wrote; ValidationError names a field that is missing or unknown."""
        if unknown := sorted(set(value) - set(cls.__slots__)):
            raise ValidationError({unknown[0]: f"A schedule has no “{unknown[0]}”. It has {', '.join(cls.__slots__)}."})
        if missing := [name for name in ("kind", "expression") if name not in value]:
            raise ValidationError({missing[0]: "This is needed."})
        anchor = value.get("anchor")
        if isinstance(anchor, str):
            anchor = _aware(anchor)
        return cls(**{**value, "expression": str(value["expression"]), "anchor": anchor})

    def as_json(self) -> dict[str, Any]:
        """All fields, as JSON holds them."""
        return {**asdict(self), "anchor": self.anchor.isoformat() if self.anchor else None}

    def fields(self) -> dict[str, Any]:
        """All fields, as the model holds them."""
        return {**asdict(self), "parameters": dict(self.parameters)}

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one (aware UTC, strictly increasing), maybe without end; ValueError on a wrong spec."""
        return _recurrence(self.kind, self.expression, self.timezone, self.anchor).times(after.astimezone(UTC))

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
            return _recurrence(self.kind, self.expression, self.timezone, self.anchor).describe()
        except (ValueError, KeyError, OSError):
            return f"{self.kind} {self.expression}, {self.timezone}"

    def clean(self, now: datetime | None = None) -> "Spec":
        """Return this schedule in its normal form.

        Raises:
            ValidationError: By field: what is wrong and what to write instead. A schedule without a time to come is
                wrong too.
        """
        _check_choices(self)
        try:
            recurrence = _recurrence(self.kind, self.expression, self.timezone, self.anchor)
            comes = next(recurrence.times((now or clock.now()).astimezone(UTC)), None)
        except ValueError as error:
            raise ValidationError({"expression": str(error)}) from None
        if comes is None:
            raise ValidationError({"expression": "This schedule has no time to come. Change it so that it has one."})
        return replace(self, expression=getattr(recurrence, "expression", " ".join(self.expression.split())))


def _check_choices(spec: Spec) -> None:
    """Raise ValidationError, by field, for a kind, zone, catch-up or anchor that there is not."""
    if spec.kind not in PARSERS:
        raise ValidationError({"kind": f"“{spec.kind}” is no kind of schedule. Write one of {', '.join(PARSERS)}."})
    if spec.catchup not in Catchup.values:
        raise ValidationError({"catchup": f"“{spec.catchup}” is not known. Write one of {', '.join(Catchup.values)}."})
    if not isinstance(spec.parameters, Mapping):
        raise ValidationError({"parameters": "Write an object of names and values."})
    if spec.anchor is not None and clock.is_naive(spec.anchor):
        raise ValidationError({"anchor": "Write a time with its offset, as in 2027-01-04T08:00:00+01:00."})
    try:
        ZoneInfo(spec.timezone)
    except (KeyError, ValueError, OSError):
        raise ValidationError({"timezone": _unknown_zone(spec.timezone)}) from None


def _unknown_zone(name: str) -> str:
    """What to say about a zone that there is not; with the nearest one that there is (reads tzdata's list)."""
    last_parts = {zone.rpartition("/")[2].lower(): zone for zone in sorted(available_timezones())}
    near = get_close_matches(name.rpartition("/")[2].lower().replace(" ", "_"), last_parts, n=1)
    return f"“{name}” is no time zone. Write an IANA name such as {last_parts[near[0]] if near else 'Europe/Paris'}."


def _aware(text: str) -> datetime:
    try:
        time = parse_datetime(text)
    except ValueError:
        time = None
    if time is None or clock.is_naive(time):
        raise ValidationError({"anchor": f"“{text}” cannot be read. Write a time as in 2027-01-04T08:00:00+01:00."})
    return time
