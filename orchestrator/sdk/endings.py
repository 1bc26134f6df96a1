"""How a run ended, told from what its function returned or raised (SEMANTICS: results and states)."""

from __future__ import annotations

from typing import Any

from orchestrator.sdk.cancellation import CancelRequested
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.events import Error
from orchestrator.sdk.exceptions import FailedRun, RunTimeoutError
from orchestrator.sdk.futures import Future
from orchestrator.sdk.infrastructure.limits import explain_memory_error
from orchestrator.sdk.inputs import PLAIN
from orchestrator.sdk.interrupts import Deadline, describe_interrupt
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.tracebacks import RemoteTraceback, hide_engine, summary

_MAX_TRACEBACK_CHARACTERS = 64 * 1024
_NAMED = 5  # how many runs a message names


def ending_of(run: FlowRun | TaskRun, outcome: Outcome) -> State:
    """Return the final state for how a function ended."""
    error = outcome.error
    timed_out = outcome.timed_out or (isinstance(error, Deadline) and error.owner is run)
    if error is None and not timed_out:
        value = outcome.value
        return State(StateType.COMPLETED, data=value) if type(value) in PLAIN else _of_value(value)
    if timed_out:
        message = f"Took longer than {run.timeout_seconds:g} s"
        return State(StateType.FAILED, "TimedOut", message, RunTimeoutError(f"{run.label}: {message}"))
    assert error is not None
    if outcome.crashed:
        return State(StateType.CRASHED, message=str(error), data=error)
    if isinstance(error, MemoryError) and (why := explain_memory_error()):
        return State(StateType.FAILED, message=f"MemoryError: {why}", data=error)
    if isinstance(error, Exception):
        return State(StateType.FAILED, message=summary(error), data=error)
    type_, message = describe_interrupt(error, run.flow_run is run and run.parent is None)
    return State(type_, message=message, data=error)


def flow_ending(run: FlowRun, outcome: Outcome) -> State:
    """Return the final state of an attempt of a flow run: `ending_of`, and nothing that failed goes unseen."""
    state = ending_of(run, outcome)
    if state.type is not StateType.COMPLETED or isinstance(outcome.value, State):
        return state
    submitted = run.submitted
    if submitted is None or run.flow.on_unhandled_failure == "ignore":
        return state
    unhandled = submitted.unhandled()
    if not unhandled:
        return state
    states = [(future.name, future.peek()) for future in unhandled]
    count = "A failure" if len(states) == 1 else f"{len(states)} failures"
    message = f"{count} that nobody looked at: {_named(states)}"
    failure = FailedRun(f"{run.label}: {message}.")
    cause = states[0][1].result(raise_on_failure=False)
    if isinstance(cause, Exception):
        failure.__cause__ = cause
    return State(StateType.FAILED, message=message, data=failure)


def error_fact(state: State) -> Error | None:
    """Return the error that a state carries, as it is recorded; None where it carries none that says anything."""
    data = state._data
    return _as_fact(data) if isinstance(data, BaseException) and not isinstance(data, CancelRequested) else None


def _of_value(value: Any) -> State:
    if isinstance(value, State):
        return value
    if isinstance(value, Future):
        return _of_several([value], value)
    if isinstance(value, dict):
        items = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        items = list(value)
    else:
        return State(StateType.COMPLETED, data=value)
    if not items or not all(isinstance(item, Future | State) for item in items):
        return State(StateType.COMPLETED, data=value)
    return _of_several(items, value)


def _of_several(items: list[Future | State], value: Any) -> State:
    """Fold futures and states: COMPLETED if all are, else CANCELLED if any is, else PAUSED if any is, else FAILED."""
    for item in items:
        if isinstance(item, Future):
            item.wait()
    states = [
        (item.name if isinstance(item, Future) else "", item if isinstance(item, State) else item.state)
        for item in items
    ]
    others = [(name, state) for name, state in states if state.type is not StateType.COMPLETED]
    if not others:
        return State(StateType.COMPLETED, data=_results(value))
    types = {state.type for _, state in others}
    message = f"{len(others)} of {len(states)} did not complete: {_named(others)}"
    for type_ in (StateType.CANCELLED, StateType.PAUSED):
        if type_ in types:
            return State(type_, message=message)
    errors = [state.result(raise_on_failure=False) for _, state in others]
    first = next((error for error in errors if isinstance(error, Exception)), None)
    return State(StateType.FAILED, message=message, data=first)


def _results(value: Any) -> Any:
    """Return what was returned with the results in the places of futures and states."""
    if isinstance(value, Future):
        return value.result()
    if isinstance(value, State):
        return value.result()
    if isinstance(value, dict):
        return {key: item.result() for key, item in value.items()}
    items = (item.result() for item in value)
    if isinstance(value, list):
        return list(items)
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _named(states: list[tuple[str, State]]) -> str:
    names = [f"'{name}' {state!r}" if name else repr(state) for name, state in states[:_NAMED]]
    more = f" and {len(states) - _NAMED} more" if len(states) > _NAMED else ""
    return ", ".join(names) + more


def _as_fact(error: BaseException) -> Error:
    """Return an error as it is recorded, its traceback cut in the middle where it is very long."""
    import traceback as formatting  # 6 ms at import, only needed once something failed

    hide_engine(error)
    name, _, message = summary(error).partition(": ")
    try:
        if error.__traceback__ is None and isinstance(error.__cause__, RemoteTraceback):
            text = error.__cause__.text  # nothing of it happened in this process
        else:
            text = "".join(formatting.format_exception(error))
    except Exception:  # a user's __str__ or __repr__, or source that vanished
        text = ""
    if len(text) > _MAX_TRACEBACK_CHARACTERS:
        half = _MAX_TRACEBACK_CHARACTERS // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return Error(type=name, message=message, traceback=text)
