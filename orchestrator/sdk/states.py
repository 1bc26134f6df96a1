"""The vocabulary of states: types, names, and which state may follow which."""

from enum import StrEnum


class StateType(StrEnum):
    """What a run is doing, in nine words. Rules look at the type; people read the name."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether an attempt in this state has ended."""
        return self in FINAL


FINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})
WAITING = frozenset({StateType.SCHEDULED, StateType.PENDING, StateType.PAUSED})
ACTIVE = frozenset({StateType.RUNNING, StateType.CANCELLING})

# The names that a state of each type may carry; the first is the default (DESIGN section 2).
NAMES: dict[StateType, tuple[str, ...]] = {
    StateType.SCHEDULED: ("Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Resuming"),
    StateType.PENDING: ("Pending", "NotReady"),
    StateType.RUNNING: ("Running", "Retrying"),
    StateType.PAUSED: ("Paused", "Suspended"),
    StateType.COMPLETED: ("Completed", "Cached", "RolledBack"),
    StateType.FAILED: ("Failed", "TimedOut"),
    StateType.CRASHED: ("Crashed",),
    StateType.CANCELLING: ("Cancelling",),
    StateType.CANCELLED: ("Cancelled", "Skipped"),
}


def default_name(type_: StateType) -> str:
    """Return the name that a state of this type carries when nothing more is to be said."""
    return NAMES[type_][0]
