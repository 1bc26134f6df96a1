"""How policies, deliveries and destinations are put into words. Pure functions; no queries."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from notifications.events import Event
from notifications.models import Delivery, Destination, Message, Policy
from runs.presentation import Look, clock, upcoming_clock

_ALIKE = {
    Event.FAILED: "failed",
    Event.CRASHED: "crashed",
    Event.CANCELLED: "cancelled",
    Event.COMPLETED: "completed",
    Event.RECOVERED: "completed",
    Event.LONG_RUNNING: "running",
    Event.LATE: "paused",
    Event.OVERRAN: "paused",
    Event.MISSED_DEADLINE: "paused",
}
_OF_STATUS = {
    Delivery.Status.WAITING: "scheduled",
    Delivery.Status.HELD: "paused",
    Delivery.Status.SENT: "completed",
    Delivery.Status.FAILED: "failed",
    Delivery.Status.MUTED: "cancelled",
}
SHOWN_NAMES = 4
NAME_CHARACTERS = 40
UNSENT_AFTER = timedelta(minutes=1)  #: what was due for longer waits for want of a sender


def event_look(event: str) -> Look:
    """Return the shape, word and colour of an event: those of the state that it is about."""
    known = Event(event)
    css = _ALIKE[known]
    return Look(css, known.label, f"state-{css}")


def status_look(status: Delivery.Status) -> Look:
    """Return the shape, word and colour of a delivery's status."""
    css = _OF_STATUS[status]
    return Look(css, status.label, f"state-{css}")


def watched(policy: Policy) -> str:
    """Return what a policy watches: `Failed or crashed runs of new-thing, tagged etl`."""
    known = [Event(value).label for value in policy.events if value in Event.values]
    what = _either([known[0], *(label.lower() for label in known[1:])]) if known else "No"
    names = [*policy.flows, *policy.deployments]
    of = f" of {_either(_few(names))}" if names else ""
    tags = f"{',' if names else ''} tagged {_either(_few(policy.tags))}" if policy.tags else ""
    return f"{what} runs{of}{tags}"


def why(delivery: Delivery, now: datetime) -> str:
    """Return what there is to say about a delivery's status: until when, how often, in which company.

    Args:
        delivery: With its message, destination, policy, and run with its deployment's mute.
        now: What times are told against.
    """
    message = delivery.message
    if delivery.muted:
        return _muted(delivery, now)
    if message is None:
        is_held = delivery.held_for and delivery.due_at and delivery.due_at > now
        return _held(delivery, now) if is_held else _waiting(delivery.destination, delivery.due_at, now)
    company = f"in a message of {message.count:,}" if message.count > 1 else ""
    if message.state == Message.State.SENT:
        at = f"at {clock(message.sent_at, now)}" if message.sent_at else ""
        return ", ".join(filter(None, (at, company)))
    tries = f"tried {message.tries:,} time{'s' if message.tries != 1 else ''}" if message.tries else ""
    later = _waiting(message.destination, message.created_at, now) if message.state == Message.State.WAITING else ""
    return ", ".join(filter(None, (tries, company, later)))


def last_answer(message: Message | None) -> str:
    """Return what the service said last, in its own words; empty before it said anything."""
    said: Mapping[str, Any] = message.answers[-1] if message is not None and message.answers else {}
    return str(said.get("text", ""))


def _few(names: Sequence[Any]) -> list[str]:
    """The first names, long ones cut, and how many more there are."""
    shown = [cut(str(name)) for name in names]
    return shown if len(shown) <= SHOWN_NAMES + 1 else [*shown[:SHOWN_NAMES], f"{len(shown) - SHOWN_NAMES} more"]


def cut(name: str) -> str:
    """Return a name as it stands among others."""
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"


def _either(words: Iterable[str]) -> str:
    named = list(words)
    return f"{', '.join(named[:-1])} or {named[-1]}" if len(named) > 1 else named[0]


def _muted(delivery: Delivery, now: datetime) -> str:
    mute = getattr(delivery.flow_run.deployment, "mute", None)
    if mute is None or mute.created_at > delivery.created_at:
        return "its deployment was muted"
    by = f"by {mute.created_by} " if mute.created_by else ""
    return f"{by}until {upcoming_clock(mute.until, now) if mute.until > now else clock(mute.until, now)}"


def _held(delivery: Delivery, now: datetime) -> str:
    until = f"until {upcoming_clock(delivery.due_at, now)}: "
    if (destination := delivery.destination) is not None and destination.paused_at:
        return _waiting(destination, delivery.due_at, now)
    if delivery.held_for == Delivery.Held.BURST:
        limit = delivery.policy.burst_limit if delivery.policy else "its limit"
        return f"{until}more than {limit} in a minute"
    return f"{until}its runs keep failing, told once an hour"


def _waiting(destination: Destination | None, since: datetime | None, now: datetime) -> str:
    if destination is None:
        return "its destination is no more"
    if destination.paused_at:
        return f"until {destination} is resumed"
    if destination.retry_at and destination.retry_at > now:
        return f"again at {upcoming_clock(destination.retry_at, now)}"
    return "no worker has sent it yet" if since and since < now - UNSENT_AFTER else ""
