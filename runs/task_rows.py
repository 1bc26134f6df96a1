"""A task run in memory, while the facts of a batch are folded into it: values that `runs.bulk` reads and writes."""

from dataclasses import dataclass
from typing import Final

from orchestrator.sdk.events import TaskRunCreated, TaskRunState
from orchestrator.sdk.states import StateType
from runs import bounds
from runs.transitions import AWAITING_RETRY, CLOSED, FINAL_VALUES

_RUNNING: Final = StateType.RUNNING.value
_FAILED: Final = StateType.FAILED.value
_TYPES: Final = frozenset(type_.value for type_ in StateType)


@dataclass(slots=True)
class TaskRow:
    """One row of `TaskRun`, attributes named as its columns; ids are 32 hexadecimal digits, times microseconds.

    Not frozen: a batch may hold many facts about one task run, and copying it at each would cost as much as the rest.
    """

    id: str
    flow_run_id: str
    flow_attempt: int
    state_type: str
    state_name: str
    state_message: str = ""
    error: str | None = None  #: JSON text
    attempt: int = 1
    start_time: int | None = None
    attempt_start_time: int | None = None
    end_time: int | None = None
    next_attempt_at: int | None = None
    ended_by: str = ""
    # What a row has from its creation on; empty for rows that were loaded, since it never changes.
    task: str = ""
    key: str = ""
    index: int = 0
    name: str = ""
    tags: str = "[]"
    inputs: str = "{}"
    max_retries: int = 0
    created_at: int = 0
    subflow_run: str | None = None


@dataclass(frozen=True, slots=True)
class EarlierAttempt:
    """One row of `TaskRunAttempt`."""

    task_run_id: str
    number: int
    state_type: str
    state_name: str
    state_message: str
    error: str | None
    start_time: int | None
    end_time: int | None


def created(fact: TaskRunCreated, row_id: str, flow_run: str) -> TaskRow | None:
    """Return the row that a fact makes; None when it names no state that exists."""
    if fact.type not in _TYPES:
        return None
    time = bounds.microseconds(fact.t)
    row = TaskRow(
        id=row_id,
        flow_run_id=flow_run,
        flow_attempt=fact.attempt,
        state_type=fact.type,
        state_name=bounds.text(fact.state, 32),
        task=bounds.text(fact.task, 200),
        key=bounds.text(fact.key, 500),
        index=bounds.integer(fact.index),
        name=bounds.text(fact.name or f"{fact.task}-{fact.index}", 200),
        max_retries=bounds.integer(fact.max_retries),
        created_at=time,
    )
    if fact.tags:
        row.tags = bounds.encode(bounds.tags(fact.tags)).decode()
    if fact.inputs:
        row.inputs = bounds.encode(bounds.json_value(fact.inputs, "Inputs")).decode()
    if fact.subflow:
        row.subflow_run = bounds.uuid_hex(fact.subflow) or None
    if fact.type == _RUNNING:
        row.start_time = row.attempt_start_time = time
    elif fact.type in FINAL_VALUES:
        row.end_time = time
    return row


def follow(row: TaskRow, fact: TaskRunState) -> tuple[bool, EarlierAttempt | None]:
    """Bring a row into the state that a fact reports.

    Returns:
        Whether the fact counted (it is passed over when it comes late), and the attempt that it leaves behind.
    """
    if fact.type not in _TYPES:
        return False, None
    left_behind = None
    if fact.task_attempt != row.attempt:
        if fact.task_attempt < row.attempt:
            return False, None
        if not _is_kept(row):
            left_behind = _earlier(row, row.error, fact)
        row.attempt = bounds.integer(fact.task_attempt)
        row.attempt_start_time = None
    elif _is_left_by_none(row, fact):
        return False, None
    error = None if fact.error is None else bounds.encode(bounds.error_value(fact.error)).decode()
    if fact.name == AWAITING_RETRY:
        error = error or row.error
        left_behind = _earlier(row, error, fact)
    if fact.run_name:
        row.name = bounds.text(fact.run_name, 200)
    time = bounds.microseconds(fact.t)
    row.state_type = fact.type
    row.state_name = bounds.text(fact.name, 32)
    row.state_message = bounds.text(fact.message, bounds.MAX_MESSAGE) if fact.message else ""
    row.error = error
    row.ended_by = ""
    row.end_time = time if fact.type in FINAL_VALUES else None
    row.next_attempt_at = bounds.microseconds(fact.until) if fact.until else None
    if fact.type == _RUNNING and row.attempt_start_time is None:
        row.attempt_start_time = time
        if row.start_time is None:
            row.start_time = time
    return True, left_behind


def _is_left_by_none(row: TaskRow, fact: TaskRunState) -> bool:
    if row.state_type not in FINAL_VALUES or row.ended_by == CLOSED:
        return False
    return not (row.state_type == _FAILED and fact.name == AWAITING_RETRY)


def _is_kept(row: TaskRow) -> bool:
    """Whether the attempt was kept when it began to wait for the next one, even if it was closed since."""
    return row.state_name == AWAITING_RETRY or (row.ended_by == CLOSED and row.error is not None)


def _earlier(row: TaskRow, error: str | None, next_fact: TaskRunState) -> EarlierAttempt:
    """The attempt that a row leaves behind: as it ended, or Failed at the fact that moves on without a word on that."""
    ended_itself = row.state_type in FINAL_VALUES and row.ended_by != CLOSED
    message = next_fact.message if next_fact.name == AWAITING_RETRY else ""
    return EarlierAttempt(
        task_run_id=row.id,
        number=row.attempt,
        state_type=row.state_type if ended_itself else _FAILED,
        state_name=row.state_name if ended_itself else "Failed",
        state_message=row.state_message if ended_itself else bounds.text(message, bounds.MAX_MESSAGE),
        error=error,
        start_time=row.attempt_start_time,
        end_time=row.end_time if ended_itself else bounds.microseconds(next_fact.t),
    )
