"""Options that say when a deployment runs, as one schedule."""

import functools
from collections.abc import Callable
from datetime import datetime, time
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.options import read_schedule, schedule_options, seconds_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Verb = TypeVar("Verb", bound=Callable[..., Any])

_WEEKLY = click.option(
    "--weekly", metavar='"DAYS HH:MM"', default=None, help='Days of the week at a time, e.g. "MON,WED 08:00".'
)
_MORE = [
    click.option("--start", metavar="TIME", help="No time before this: 2027-01-04, or 2027-01-04T08:00."),
    click.option("--end", metavar="TIME", help="No time after this."),
    click.option("--calendar", metavar="NAME", help='Whose days off count; see `orchestrator calendar`. "" for none.'),
    click.option(
        "--holidays", metavar="COUNTRY", help="Whose holidays are days off: FR, US-CA; instead of --calendar."
    ),
    click.option("--skip-weekends", is_flag=True, default=None, help="Weekends are days off; instead of --calendar."),
    click.option(
        "--on-day-off",
        type=click.Choice(["skip", "next", "previous"]),
        help="Leave times on days off out, or run on the next or previous business day.  [skip]",
    ),
    click.option(
        "--catchup",
        type=click.Choice(["latest", "all", "none"]),
        help="What becomes of times that were missed.  [latest]",
    ),
    click.option(
        "--not-older-than", metavar="TIME", help='Run no time that was missed longer ago: 2h, 3d. "" for any.'
    ),
]
_NAMES = (
    "weekly", "cron", "interval", "rrule", "timezone", "start", "end", "calendar", "holidays",
    "skip_weekends", "on_day_off", "catchup", "not_older_than",
)  # fmt: skip


def spec_options(verb: Verb) -> Verb:
    """Add --weekly, --cron and all else that says when; the verb gets the fields that were given, as `spec`."""

    @functools.wraps(verb)
    def gathered(*args: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _NAMES}
        return verb(*args, **options, spec=_fields(**given))

    for option in reversed(_MORE):
        gathered = option(gathered)
    return _WEEKLY(schedule_options(gathered))  # type: ignore[no-any-return]


def _fields(
    weekly: str | None,
    cron: str | None,
    interval: int | None,
    rrule: str | None,
    timezone: str | None,
    start: str | None,
    end: str | None,
    calendar: str | None,
    holidays: str | None,
    skip_weekends: bool | None,
    on_day_off: str | None,
    catchup: str | None,
    not_older_than: str | None,
) -> dict[str, Any]:
    """Return the fields that were given. `start` and `end` stay as they were typed: see `complete`."""
    fields: dict[str, Any] = {}
    if any(kind is not None for kind in (weekly, cron, interval, rrule)):
        said = read_schedule(cron, interval, rrule, timezone, weekly) or {}
        fields |= {"kind": said["kind"], "expression": said["expression"]}
    more: dict[str, Any] = {
        "timezone": timezone,
        "starts_at": start,
        "ends_at": end,
        "calendar": calendar,
        "catchup": catchup,
    }
    more |= {"holidays": holidays, "skip_weekends": skip_weekends, "on_day_off": on_day_off}
    if calendar is not None and (holidays or skip_weekends):
        raise click.UsageError("Give --calendar, or --holidays and --skip-weekends; not both.")
    fields |= {name: value for name, value in more.items() if value is not None}
    if not_older_than is not None:
        fields["catchup_seconds"] = seconds_of(not_older_than, "--not-older-than") if not_older_than else None
    return fields


def complete(spec: dict[str, Any], zone: str | None = None) -> dict[str, Any]:
    """Return the fields with their start and end as instants, on the wall clock of the schedule's zone.

    Args:
        spec: As a verb of `spec_options` gets it.
        zone: That of the schedule which is changed; else the one that was given, else UTC.

    Raises:
        click.UsageError: A time cannot be read.
    """
    said = dict(spec)
    if not {"starts_at", "ends_at"} & said.keys():
        return said
    clock = _zone(spec.get("timezone") or zone or "UTC")
    for name, option in (("starts_at", "--start"), ("ends_at", "--end")):
        if name in said:
            said[name] = moment(said[name], option, clock, ends=name == "ends_at").isoformat() if said[name] else None
    return said


def moment(text: str, option: str, zone: "ZoneInfo | None", *, ends: bool = False) -> datetime:
    """Return the instant that was typed: a date, or a date and time, with an offset or on this clock.

    Args:
        text: As it was typed.
        option: What to call it in a complaint.
        zone: Whose clock it is; None: this machine's.
        ends: A date alone is its last second instead of its first.

    Raises:
        click.UsageError: It cannot be read.
    """
    try:
        said = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.UsageError(f"{option} {text!r}: write a time as in 2027-01-04 or 2027-01-04T08:00.") from None
    if ends and len(text.strip()) <= len("2027-01-04"):
        said = datetime.combine(said, time(23, 59, 59))
    if said.tzinfo is not None:
        return said
    return said.replace(tzinfo=zone) if zone else said.astimezone()


def _zone(name: str) -> "ZoneInfo | None":
    """The zone, or None: the server says what is wrong with it, and better."""
    from zoneinfo import ZoneInfo  # 8 ms, which verbs without a start or an end do not pay

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
