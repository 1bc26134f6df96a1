"""What a policy's fields may hold: each check returns the value in its normal form, or says by field what to write."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError

from flows.actions import checked_tags
from flows.models import Deployment, Flow, slug_of
from notifications import templating
from notifications.destinations import checked_name
from notifications.events import Event
from notifications.models import MAX_LOG_LINES, Destination
from teams.models import Team

MAX_PATTERNS: Final = 100
MAX_DESTINATIONS: Final = 20
MAX_BURST: Final = 1_000
MAX_LONG_RUNNING: Final = 30 * 24 * 3600
_MAX_PATTERN: Final = 401
_WILD: Final = frozenset("*?[")
_COMPARED: Final = 2_000  # names among which a close one is looked for


def checked(field: str, value: Any, team: Team, kept: Any = ()) -> Any:
    """Return a field's value in its normal form.

    Args:
        kept: What the field holds so far: a name that is among it may be of a flow that is gone.

    Raises:
        ValidationError: By the field.
    """
    if field in {"flows", "deployments"}:
        return _checked_patterns(field, value, team, kept)
    return _CHECKS[field](value)


def checked_destinations(team: Team, destinations: Any) -> list[Destination]:
    """Return destinations of this team, each once; rows, ids and names are taken.

    Raises:
        ValidationError: By `destinations`.
    """
    if isinstance(destinations, str | UUID | Destination):
        destinations = [destinations]
    if not isinstance(destinations, Iterable):
        raise ValidationError({"destinations": "Write a list of destinations."})
    found = {row.pk: row for row in (_destination(team, one) for one in destinations)}
    if not found:
        raise ValidationError({"destinations": "Choose at least one destination."})
    if len(found) > MAX_DESTINATIONS:
        raise ValidationError({"destinations": f"At most {MAX_DESTINATIONS} destinations are taken."})
    return list(found.values())


def _destination(team: Team, one: Any) -> Destination:
    if isinstance(one, Destination):
        if one.team_id == team.pk:
            return one
    elif id := _uuid(one):
        if found := Destination.objects.filter(team=team, pk=id).first():
            return found
    elif found := Destination.objects.filter(team=team, name=str(one)).first():
        return found
    names = Destination.objects.filter(team=team).values_list("name", flat=True)[:_COMPARED]
    raise ValidationError({"destinations": _no("destination", str(one), get_close_matches(str(one), names, n=1))})


def _uuid(value: Any) -> UUID | None:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _checked_events(events: Any) -> list[str]:
    texts = _texts("events", events)
    known = {event.value: event for event in Event}
    found = set()
    for text in texts:
        name = text.strip().upper().replace("-", "_").replace(" ", "_")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            listed = ", ".join(known)
            raise ValidationError({"events": f"{_no('event', text, near)} Write one or more of {listed}."})
        found.add(name)
    if not found:
        raise ValidationError({"events": f"Choose at least one of {', '.join(known)}."})
    return [name for name in known if name in found]


def _checked_patterns(field: str, patterns: Any, team: Team, kept: Sequence[str]) -> list[str]:
    texts = [slug_of(text.strip()) for text in _texts(field, patterns)]
    unique = list(dict.fromkeys(text for text in texts if text))
    if len(unique) > MAX_PATTERNS:
        raise ValidationError({field: f"At most {MAX_PATTERNS} names are taken."})
    for pattern in unique:
        if len(pattern) > _MAX_PATTERN or not pattern.isprintable():
            raise ValidationError({field: f"“{pattern[:100]}” cannot be a name."})
        if field == "deployments" and pattern.count("/") != 1 and not (_WILD & set(pattern)):
            raise ValidationError({field: f"“{pattern}” is no deployment: write flow-name/deployment-name."})
    plain = [pattern for pattern in unique if not _WILD & set(pattern) and pattern not in kept]
    if plain:
        _refuse_missing(field, plain, team)
    return unique


def _refuse_missing(field: str, slugs: list[str], team: Team) -> None:
    """Raise ValidationError for a name without a wildcard that there is not (one query)."""
    if field == "flows":
        found, what = list(Flow.objects.filter(team=team).values_list("slug", flat=True)[:_COMPARED]), "flow"
        missing = (
            set(slugs) - set(found) - set(Flow.objects.filter(team=team, slug__in=slugs).values_list("slug", flat=True))
        )
    else:
        pairs = Deployment.objects.filter(team=team).values_list("flow__slug", "slug")
        found, what = ["/".join(pair) for pair in pairs[:_COMPARED]], "deployment"
        parts = [slug.partition("/") for slug in slugs]
        there = pairs.filter(flow__slug__in=[part[0] for part in parts], slug__in=[part[2] for part in parts])
        missing = set(slugs) - {"/".join(pair) for pair in there}
    if missing:
        raise ValidationError(
            {field: [_no(what, slug, get_close_matches(slug, found, n=1)) for slug in slugs if slug in missing]}
        )


def _checked_message(message: Any) -> str:
    if not isinstance(message, str):
        raise ValidationError({"message": "Write a text."})
    message = message.replace("\r\n", "\n").strip()
    if message:
        templating.check(message)
    return message


def _checked_timezone(name: Any) -> str:
    if name in {"", None}:
        return ""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        last_parts = {zone.rpartition("/")[2].lower(): zone for zone in sorted(available_timezones())}
        near = get_close_matches(str(name).rpartition("/")[2].lower().replace(" ", "_"), last_parts, n=1)
        example = last_parts[near[0]] if near else "Europe/Paris"
        raise ValidationError(
            {"timezone": f"“{str(name)[:100]}” is no time zone. Write an IANA name such as {example}."}
        ) from None
    return str(name)


def _whole(field: str, lowest: int, highest: int, unit: str = "") -> Callable[[Any], int]:
    def check(value: Any) -> int:
        number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
            raise ValidationError({field: f"Write a whole number{unit} from {lowest:,} to {highest:,}."})
        return number

    return check


def _texts(field: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValidationError({field: "Write a list of texts."})
    texts = list(value)
    if not all(isinstance(text, str) for text in texts):
        raise ValidationError({field: "Write a list of texts."})
    return texts


def _no(what: str, name: str, near: Sequence[str]) -> str:
    return f"There is no {what} “{name[:100]}”" + (f"; did you mean “{near[0]}”?" if near else ".")


_long_running: Final = _whole("long_running_seconds", 1, MAX_LONG_RUNNING, " of seconds")
_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "name": checked_name,
    "events": _checked_events,
    "tags": checked_tags,
    "message": _checked_message,
    "timezone": _checked_timezone,
    "log_lines": _whole("log_lines", 0, MAX_LOG_LINES),
    "burst_limit": _whole("burst_limit", 1, MAX_BURST),
    "long_running_seconds": lambda value: None if value is None else _long_running(value),
}
