"""What a report about an attempt changes: the rules as values, without a database.

An attempt learns of its state from three sources. Its own word weighs most, then its supervisor's (the process is
gone), then the lease's (nobody extended it). An ending is left only on the word of a source that weighs more; before
an ending, facts count in the order of their numbers. Clocks decide nothing.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.states import FINAL, StateType, default_name

FINAL_VALUES: Final = frozenset(type_.value for type_ in FINAL)
AWAITING_RETRY: Final = "AwaitingRetry"
SUSPENDED: Final = "Suspended"  #: a pause that outlives its process


class Source(StrEnum):
    """Who says so, in the words of `ended_by`."""

    RUN = "run"
    EXIT = "exit"
    LAPSE = "lapse"


_WEIGHT: Final = {Source.RUN: 2, Source.EXIT: 1, Source.LAPSE: 0}
_CRASHED: Final = "Crashed: "
_CAUSES: Final = frozenset(cause.value for cause in Cause)
CLOSED: Final = "close"  #: `TaskRun.ended_by` where only the flow run's end closed it


@dataclass(frozen=True, slots=True)
class Report:
    """A state that somebody says an attempt is in.

    Attributes:
        type: One of `StateType`'s values.
        name: What people read.
        time: Microseconds since the Unix epoch.
        error: `{type, message, traceback}` or None.
        cause: Why it crashed, one of `causes.Cause`; empty otherwise.
    """

    type: str
    name: str
    time: int
    source: Source = Source.RUN
    message: str = ""
    error: dict[str, Any] | None = None
    cause: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the attempt has ended with it."""
        return self.type in FINAL_VALUES


def accepts(state_type: str, ended_by: str, report: Report) -> bool:
    """Whether an attempt takes a report on.

    Args:
        state_type: What the attempt is in now.
        ended_by: Whose word its ending was; empty for one that the server decided, which stands.
    """
    if state_type not in FINAL_VALUES:
        return True
    return _WEIGHT.get(ended_by, 2) < _WEIGHT[report.source]


def as_cancelled(report: Report) -> Report:
    """What a report means for a run that is being cancelled: a crash is the cancellation, having worked."""
    if report.type != StateType.CRASHED:
        return report
    return replace(
        report,
        type=StateType.CANCELLED.value,
        name=default_name(StateType.CANCELLED),
        message=f"Cancelled: {report.message.removeprefix(_CRASHED)}" if report.message else "Cancelled",
        error=None,
        cause="",
    )


def is_cancelling(state_type: str, ended_by: str) -> bool:
    """Whether a run is being cancelled, or was taken for cancelled on a word that its own still outweighs."""
    if state_type == StateType.CANCELLING:
        return True
    return state_type == StateType.CANCELLED and ended_by in (Source.EXIT, Source.LAPSE)


def crash(time: int, message: str, source: Source, cause: str = Cause.EXIT) -> Report:
    """The report that an attempt crashed, with the reason in words and in a word."""
    name = default_name(StateType.CRASHED)
    return Report(StateType.CRASHED.value, name, time, source, _CRASHED + message, cause=cause)


def known_cause(word: str) -> str:
    """Return a cause as a fact names it; empty where this version does not know the word."""
    return word if word in _CAUSES else ""


def cause_of(report: Report) -> str:
    """Return why an attempt ended so, where that is known: of a failure it is when user code could get no memory."""
    if not report.is_final:
        return ""
    return Cause.OUT_OF_MEMORY if (report.error or {}).get("type") == "MemoryError" else report.cause


def child_ending(parent_type: str) -> tuple[str, str]:
    """The state type and name that what had not ended takes when its flow run ended in `parent_type`."""
    ending = StateType.CRASHED if parent_type == StateType.CRASHED else StateType.CANCELLED
    return ending.value, default_name(ending)
