"""The words and tones of events, as messages have them."""

from typing import Any, Final

from notifications.events import MARKS, OF_ENDING, Event
from orchestrator.sdk.states import StateType

TONES: Final[dict[Event, Any]] = {
    Event.FAILED: "bad",
    Event.CRASHED: "bad",
    Event.CANCELLED: "neutral",
    Event.COMPLETED: "good",
    Event.RECOVERED: "good",
    Event.LONG_RUNNING: "warning",
    Event.LATE: "warning",
    Event.OVERRAN: "warning",
    Event.MISSED_DEADLINE: "warning",
}
# The type of the state that a run is in when it is told of.
STATES: Final = {
    **{event: type_ for type_, event in OF_ENDING.items()},
    Event.RECOVERED: StateType.COMPLETED,
    Event.LONG_RUNNING: StateType.RUNNING,
    Event.LATE: StateType.SCHEDULED,
    Event.OVERRAN: StateType.RUNNING,
    Event.MISSED_DEADLINE: StateType.RUNNING,
}
# The most alarming first: of several events it gives the message its colour.
ALARMING: Final = (
    Event.CRASHED,
    Event.FAILED,
    Event.MISSED_DEADLINE,
    Event.OVERRAN,
    Event.LATE,
    Event.LONG_RUNNING,
    Event.CANCELLED,
    Event.RECOVERED,
    Event.COMPLETED,
)
_ONE: Final = {
    Event.FAILED: "failed",
    Event.CRASHED: "crashed",
    Event.CANCELLED: "was cancelled",
    Event.COMPLETED: "completed",
    Event.RECOVERED: "recovered",
    Event.LONG_RUNNING: "is running long",
    Event.LATE: "is late",
    Event.OVERRAN: "overran",
    Event.MISSED_DEADLINE: "missed its deadline",
}
_MANY: Final = {
    **_ONE,
    Event.CANCELLED: "were cancelled",
    Event.LONG_RUNNING: "were running long",
    Event.LATE: "were late",
    Event.MISSED_DEADLINE: "missed their deadlines",
}


# What they could say, for previews.
SAMPLE_REASONS: Final = {
    Event.LATE: "It has not begun 5 m after its time.",
    Event.OVERRAN: "It runs for longer than the 10 m expected of it.",
    Event.MISSED_DEADLINE: "It has not ended 2 h after its time.",
}


def verb(event: Event, number: int = 1) -> str:
    """Return what one run did (`was cancelled`), or several."""
    return (_ONE if number == 1 else _MANY)[event]


def title(run_name: str, flow_name: str, event: Event) -> str:
    """Return the line above a message about one event: `fuzzy-leopard of new-thing failed`."""
    return f"{run_name} of {flow_name} {verb(event)}"


def usual(run_name: str, flow_name: str, event: Event, time: str, more: str = "", reason: str = "") -> str:
    """Return the usual text about one event.

    Args:
        time: In words.
        more: Of a recovery, after what; of a run that is running long, for how long.
        reason: Of the others, where there is one.
    """
    subject = f"The {run_name} run of the {flow_name} flow"
    if event == Event.LONG_RUNNING:
        return f"{subject} {more}"
    if event == Event.RECOVERED:
        return f"{subject} completed at {time}{more}"
    if event in MARKS:
        return f"{subject} {verb(event)} (seen at {time})\n{reason}".rstrip()
    first = f"{subject} entered a {STATES[event].lower()} state at {time}"
    return f"{first}\n{reason}" if reason else first
