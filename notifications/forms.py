"""What stands in the forms of notifications, and what it says to the verbs. What was typed is never lost."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, isfinite
from typing import Any

from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone

from flows.models import slug_of
from notifications.events import DEFAULT_EVENTS, Event
from notifications.models import BURST_LIMIT, LOG_LINES, Policy
from notifications.transports import TRANSPORTS
from orchestrator.paging import MAX_DIGITS

Errors = Mapping[str, Sequence[str]]
UNITS = {"minutes": 60, "hours": 3600, "seconds": 1}
MAX_TYPED = 20_000  # characters of a field that are looked at and shown again
PATTERNS = ("flows", "deployments", "tags")
FEW = 12  #: names that are seen without scrolling; of more, the chosen ones come first
MUTES = {"1h": "1 hour", "4h": "4 hours", "morning": "Until tomorrow morning", "7d": "7 days", "until": "Until…"}
_FOR = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "7d": timedelta(days=7)}
MORNING_HOUR = 8


def messages_of(error: ValidationError, prefix: str = "") -> dict[str, list[str]]:
    """The messages by field, each with this prefix before its name; those of no field under the empty name."""
    if not hasattr(error, "error_dict"):
        return {prefix.rstrip("."): list(error.messages)}
    return {f"{prefix}{name}" if name != "__all__" else "": found for name, found in error.message_dict.items()}


def general(errors: Errors, fields: Collection[str]) -> list[str]:
    """What cannot be said beside a field."""
    return [message for name, found in errors.items() if name not in fields for message in found]


@dataclass(frozen=True, slots=True)
class DestinationForm:
    """A destination as it was typed. Its address and secret are shown to nobody but who typed them just now."""

    kind: str = "slack"
    address: str = ""
    name: str = ""
    secret: str = ""
    errors: Errors = field(default_factory=dict)

    FIELDS = ("kind", "address", "name", "secret")

    @classmethod
    def typed(cls, data: QueryDict, errors: Errors | None = None, prefix: str = "") -> "DestinationForm":
        """The form as it was filled in; with a prefix, as a part of another one."""
        texts = {name: data.get(prefix + name, "").strip()[:MAX_TYPED] for name in ("address", "name", "secret")}
        kind = data.get(f"{prefix}kind", "")
        found = {name.removeprefix(prefix): said for name, said in (errors or {}).items() if name.startswith(prefix)}
        return cls(kind=kind if kind in TRANSPORTS else "slack", errors=found, **texts)

    def made_of(self) -> dict[str, str]:
        """What `actions.create_destination` takes."""
        return {"kind": self.kind, "address": self.address, "name": self.name, "secret": self.secret}

    def changes(self) -> dict[str, str | None]:
        """What `actions.change_destination` takes: an address or a secret that was left empty stays as it is."""
        return {"name": self.name, "address": self.address or None, "secret": self.secret or None}


@dataclass(frozen=True, slots=True)
class PolicyForm:
    """A policy as it was typed. Names and patterns of a field: chosen ones, and the rest as text parted by commas."""

    name: str = ""
    events: tuple[str, ...] = tuple(DEFAULT_EVENTS)
    flows: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    message: str = ""
    log_lines: str = str(LOG_LINES)
    timezone: str = ""
    burst_limit: str = str(BURST_LIMIT)
    long_running: str = ""
    unit: str = "minutes"
    errors: Errors = field(default_factory=dict)

    FIELDS = (
        "name", "events", "flows", "deployments", "tags", "destinations", "message", "log_lines", "timezone",
        "burst_limit", "long_running_seconds",
    )  # fmt: skip

    @classmethod
    def of(cls, policy: Policy) -> "PolicyForm":
        """The form of a policy that is there (reads its destinations)."""
        seconds = policy.long_running_seconds
        unit = next((unit for unit in ("hours", "minutes") if seconds and seconds % UNITS[unit] == 0), "seconds")
        return cls(
            name=policy.name,
            events=tuple(policy.events),
            **{field: tuple(getattr(policy, field)) for field in PATTERNS},
            destinations=tuple(str(destination.id) for destination in policy.destinations.all()),
            message=policy.message,
            log_lines=str(policy.log_lines),
            timezone=policy.timezone,
            burst_limit=str(policy.burst_limit),
            long_running=str(seconds // UNITS[unit]) if seconds else "",
            unit=unit if seconds else "minutes",
        )

    @classmethod
    def typed(cls, data: QueryDict, errors: Errors | None = None) -> "PolicyForm":
        """The form as it was filled in."""
        names = ("name", "log_lines", "timezone", "burst_limit", "long_running")
        texts = {name: data.get(name, "").strip()[:MAX_TYPED] for name in names}
        return cls(
            events=tuple(event for event in Event.values if event in data.getlist("events")),
            **{field: _listed(data, field) for field in PATTERNS},
            destinations=tuple(data.getlist("destinations")[:MAX_TYPED]),
            message=data.get("message", "").replace("\r\n", "\n").strip()[:MAX_TYPED],
            unit=data.get("unit") if data.get("unit") in UNITS else "minutes",
            errors=errors or {},
            **texts,
        )

    def changes(self) -> dict[str, Any]:
        """What the verbs take, but for destinations. Raises ValidationError by field for what is no number."""
        numbers, wrong = {}, {}
        for name, read in (("log_lines", self._log_lines), ("burst_limit", self._burst_limit)):
            try:
                numbers[name] = read()
            except ValueError:
                wrong[name] = "Write a whole number, as in 5."
        try:
            numbers["long_running_seconds"] = self._long_running_seconds()
        except ValueError:
            wrong["long_running_seconds"] = "Write how long, as in 15; or leave it empty."
        if wrong:
            raise ValidationError(wrong)
        texts = {"name": self.name, "message": self.message, "timezone": self.timezone}
        return {"events": list(self.events)} | {name: list(getattr(self, name)) for name in PATTERNS} | texts | numbers

    def draft(self, policy: Policy) -> Policy:
        """Return the policy with what was typed, unsaved. Raises ValidationError as `changes` does."""
        for name, value in self.changes().items():
            setattr(policy, name, value)
        return policy

    def _log_lines(self) -> int:
        return _whole(self.log_lines, LOG_LINES)

    def _burst_limit(self) -> int:
        return _whole(self.burst_limit, BURST_LIMIT)

    def _long_running_seconds(self) -> int | None:
        if not self.long_running:
            return None
        seconds = float(self.long_running.replace(",", ".")) * UNITS[self.unit]
        if not isfinite(seconds) or not 0 < seconds < 10**MAX_DIGITS:
            raise ValueError
        return ceil(seconds)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a field of names offers: those that exist, whether each is chosen, and what else was typed."""

    field: str
    offered: Sequence[tuple[str, bool]]
    rest: str

    @classmethod
    def of(cls, field: str, existing: Iterable[str], chosen: Sequence[str]) -> "Choices":
        """Part what was chosen into what is offered and the rest. `_` and `-` are alike, but in tags."""
        alike = slug_of if field != "tags" else str
        names, wanted = list(dict.fromkeys(existing)), {alike(name) for name in chosen}
        known = {alike(name) for name in names}
        rest = [name for name in chosen if alike(name) not in known]
        offered = [(name, alike(name) in wanted) for name in names]
        if len(offered) > FEW:
            offered.sort(key=lambda choice: not choice[1])
        return cls(field, offered, ", ".join(rest))


@dataclass(frozen=True, slots=True)
class MuteForm:
    """For how long a deployment is muted, and why."""

    length: str = "1h"
    until: str = ""
    reason: str = ""
    errors: Errors = field(default_factory=dict)

    FIELDS = ("until", "reason")

    @classmethod
    def typed(cls, data: QueryDict, errors: Errors | None = None) -> "MuteForm":
        """The form as it was filled in."""
        length = data.get("length", "")
        texts = {name: data.get(name, "").strip()[:MAX_TYPED] for name in cls.FIELDS}
        return cls(length=length if length in MUTES else "until", errors=errors or {}, **texts)

    def ends_at(self, now: datetime) -> datetime:
        """Return when the mute ends, on the reader's clock. Raises ValidationError for what is no time."""
        if self.length in _FOR:
            return now + _FOR[self.length]
        zone = timezone.get_current_timezone()
        if self.length == "morning":
            tomorrow = timezone.localtime(now).date() + timedelta(days=1)
            return datetime(tomorrow.year, tomorrow.month, tomorrow.day, MORNING_HOUR, tzinfo=zone)
        try:
            return datetime.fromisoformat(self.until).replace(tzinfo=zone)
        except ValueError:
            raise ValidationError({"until": "Write a date and time, as in 2027-01-04T08:00."}) from None


def _listed(data: QueryDict, field: str) -> tuple[str, ...]:
    """The names that were chosen, then those that were typed, each once."""
    typed = data.get(f"{field}_more", "")[:MAX_TYPED].replace("\n", ",").split(",")
    return tuple(dict.fromkeys(name.strip() for name in [*data.getlist(field), *typed] if name.strip()))


def _whole(text: str, otherwise: int) -> int:
    if not text:
        return otherwise
    if not text.isdecimal() or len(text) > MAX_DIGITS:
        raise ValueError(text)
    return int(text)
