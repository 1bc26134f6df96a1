"""The vocabulary of states: types, names, and which state may follow which."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from orchestrator.sdk.exceptions import CancelledRun, CrashedRun, FailedRun, UnsuccessfulRun, UpstreamError
from orchestrator.sdk.tracebacks import user_frames

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import TypeVar

    R = TypeVar("R", default=Any)  # so that State alone means State[Any]; Python's own has defaults from 3.13 on
else:
    from typing import TypeVar

    R = TypeVar("R")


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


class State(Generic[R]):
    """A state that a run is in, or that a flow or task returns to say how it ended.

    Attributes:
        type: What the run is doing, as rules see it.
        name: The same for people; the type's default name unless given.
        message: Why, in a sentence; may be empty.
        timestamp_us: When, in microseconds since the Unix epoch.
        run_id: Of the run whose state it is; empty for one that user code made.
    """

    __slots__ = ("_data", "message", "name", "run_id", "timestamp_us", "type")

    def __init__(self, type: StateType | str, name: str = "", message: str = "", data: Any = None) -> None:
        self.type = type if type.__class__ is StateType else StateType(type)
        self.name = name or default_name(self.type)
        self.message = message
        self.timestamp_us = time.time_ns() // 1000
        self.run_id = ""
        self._data = data

    @property
    def timestamp(self) -> datetime:
        """When the state was made, in UTC."""
        from datetime import UTC, datetime  # 3 ms at import, and few scripts ask

        return datetime.fromtimestamp(self.timestamp_us / 1_000_000, UTC)

    @overload
    def result(self, raise_on_failure: Literal[True] = ...) -> R: ...
    @overload
    def result(self, raise_on_failure: bool) -> Any: ...
    def result(self, raise_on_failure: bool = True) -> Any:
        """Return the value that the run returned.

        Args:
            raise_on_failure: Whether to raise the run's exception; otherwise it is returned.

        Raises:
            Exception: What the user's code raised, or an UnsuccessfulRun where it raised nothing.
        """
        if self.type is StateType.COMPLETED:
            return self._data
        error = self._data if isinstance(self._data, BaseException) else self._error()
        if not raise_on_failure:
            return error
        try:
            raise error
        except BaseException:
            error.__traceback__ = user_frames(error.__traceback__)
            raise

    def _error(self) -> UnsuccessfulRun:
        what = self.message or f"the run is {self.name}"
        if self.name == "NotReady":
            return UpstreamError(what)
        match self.type:
            case StateType.CANCELLED | StateType.CANCELLING:
                return CancelledRun(what)
            case StateType.CRASHED:
                return CrashedRun(what)
            case StateType.FAILED:
                return FailedRun(what)
        return UnsuccessfulRun(what)

    def is_scheduled(self) -> bool:
        """Whether the run waits for its time."""
        return self.type is StateType.SCHEDULED

    def is_pending(self) -> bool:
        """Whether the run was not started yet."""
        return self.type is StateType.PENDING

    def is_running(self) -> bool:
        """Whether the run is going on."""
        return self.type is StateType.RUNNING

    def is_paused(self) -> bool:
        """Whether the run waits for a person."""
        return self.type is StateType.PAUSED

    def is_completed(self) -> bool:
        """Whether the run succeeded."""
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        """Whether the user's code failed."""
        return self.type is StateType.FAILED

    def is_crashed(self) -> bool:
        """Whether the run was ended from outside."""
        return self.type is StateType.CRASHED

    def is_cancelling(self) -> bool:
        """Whether the run is being cancelled."""
        return self.type is StateType.CANCELLING

    def is_cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self.type is StateType.CANCELLED

    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.type in FINAL

    def __repr__(self) -> str:
        return f"{self.name}({self.message!r})" if self.message else f"{self.name}()"


def Completed(name: str = "", message: str = "", data: Any = None) -> State:
    """Make a state for a run that succeeded; `data` is its result."""
    return State(StateType.COMPLETED, name, message, data)


def Failed(name: str = "", message: str = "", data: Any = None) -> State:
    """Make a state for a run whose code failed; `data` may be the exception."""
    return State(StateType.FAILED, name, message, data)


def Crashed(name: str = "", message: str = "", data: Any = None) -> State:
    """Make a state for a run that was ended from outside."""
    return State(StateType.CRASHED, name, message, data)


def Cancelled(name: str = "", message: str = "", data: Any = None) -> State:
    """Make a state for a run that was cancelled."""
    return State(StateType.CANCELLED, name, message, data)


def Pending(name: str = "", message: str = "", data: Any = None) -> State:
    """Make a state for a run that was not started yet."""
    return State(StateType.PENDING, name, message, data)


def Running(name: str = "", message: str = "", data: Any = None) -> State:
    """Make a state for a run that is going on."""
    return State(StateType.RUNNING, name, message, data)
