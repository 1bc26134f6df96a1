"""How messages tell times: in the zone of their policy, with its abbreviation at that instant."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from django.conf import settings


def zone(name: str) -> ZoneInfo:
    """Return a policy's zone; the server's where it names none, or one that this machine does not know any more."""
    try:
        return ZoneInfo(name or settings.TIME_ZONE)
    except (KeyError, ValueError, OSError):
        return ZoneInfo(settings.TIME_ZONE)


def clock(moment: datetime, zone: tzinfo) -> str:
    """Return a time with its date and zone: `2022-06-27 16:21:37 EDT`."""
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {_abbreviation(local)}"


def span(first: datetime, last: datetime, zone: tzinfo) -> str:
    """Return a span of time to the minute, the date said where there are two: `between 14:02 and 14:03 UTC`."""
    begin, end = first.astimezone(zone), last.astimezone(zone)
    form = "%H:%M" if begin.date() == end.date() else "%Y-%m-%d %H:%M"
    if (words := begin.strftime(form)) == end.strftime(form):
        return f"at {words} {_abbreviation(end)}"
    other = "" if _abbreviation(begin) == _abbreviation(end) else f" {_abbreviation(begin)}"
    return f"between {words}{other} and {end.strftime(form)} {_abbreviation(end)}"


def iso(moment: datetime) -> str:
    """Return a time for programs: ISO 8601 in UTC, `2022-06-27T20:21:37.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _abbreviation(local: datetime) -> str:
    """`EDT`; a zone that has only numbers (`-03`) is told as `UTC-03`."""
    name = local.tzname() or ""
    return f"UTC{name}" if name[:1] in {"+", "-"} else name
