"""What a policy can watch: the events of a run that people want to hear of."""

from django.db import models

from orchestrator.sdk.states import StateType


class Event(models.TextChoices):
    """Something that happens to a flow run, at most once in each of its attempts."""

    FAILED = "FAILED", "Failed"
    CRASHED = "CRASHED", "Crashed"
    CANCELLED = "CANCELLED", "Cancelled"
    COMPLETED = "COMPLETED", "Completed"
    RECOVERED = "RECOVERED", "Recovered"
    LONG_RUNNING = "LONG_RUNNING", "Long-running"
    LATE = "LATE", "Late"
    OVERRAN = "OVERRAN", "Overran"
    MISSED_DEADLINE = "MISSED_DEADLINE", "Missed deadline"

    @property
    def meaning(self) -> str:
        """In words, for forms and help."""
        return _MEANINGS[self]


_MEANINGS = {
    Event.FAILED: "The code raised, or timed out, and no retry is left.",
    Event.CRASHED: "The process or its machine died.",
    Event.CANCELLED: "Somebody cancelled it.",
    Event.COMPLETED: "It completed.",
    Event.RECOVERED: "It completed after the run before it had failed or crashed.",
    Event.LONG_RUNNING: "It runs for longer than a set time, or than three times the usual.",
    Event.LATE: "It has not begun a set time after it was due.",
    Event.OVERRAN: "It runs for longer than its deployment expects.",
    Event.MISSED_DEADLINE: "It has not ended by its deployment's deadline.",
}

# What the end of a run is an event of by itself; the others take a look at more than its state.
OF_ENDING = {
    StateType.FAILED: Event.FAILED,
    StateType.CRASHED: Event.CRASHED,
    StateType.CANCELLED: Event.CANCELLED,
    StateType.COMPLETED: Event.COMPLETED,
}
# What the tick marks (`runs.overdue`); their reason is a sentence.
MARKS = (Event.LATE, Event.OVERRAN, Event.MISSED_DEADLINE)
BROKEN = (Event.FAILED, Event.CRASHED)
DEFAULT_EVENTS = BROKEN
