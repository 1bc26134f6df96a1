"""What travels between a flow's process and the one that executes an attempt of a task run."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from orchestrator.sdk.callables import Kind
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.endings import error_fact
from orchestrator.sdk.exceptions import FailedRun, TransferError
from orchestrator.sdk.futures import Future
from orchestrator.sdk.runners.pickling import dumps, own_modules, portable, reason_against, travelling, unknown_modules
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.tracebacks import RemoteTraceback, summary

if TYPE_CHECKING:
    from orchestrator.sdk.events import Error


Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


class FlowPart(NamedTuple):
    """What the other side is told of the flow run, for `runtime`, log lines and what the task calls."""

    id: str
    name: str
    attempt: int
    flow: str
    version: str | None
    tags: frozenset[str]
    parameters: dict[str, Any]
    log_prints: bool
    start_us: int
    parents: tuple[str, ...]
    deployment_id: str
    deployment: str
    scheduled_for: datetime | None


class TaskPart(NamedTuple):
    """What it is told of the task run."""

    id: str
    name: str
    task: str
    key: str
    calls_before: int
    attempt: int
    tags: frozenset[str]
    kind: Kind
    timeout_seconds: float | None
    log_prints: bool
    start_us: int


class Payload(NamedTuple):
    """An attempt on its way."""

    flow: FlowPart | None
    task: TaskPart
    tags: frozenset[str]  #: those that apply to what the task calls
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


# --- there


def pack(run: TaskRun, tags: frozenset[str], by_value: bool = False, arguments: Arguments | None = None) -> bytes:
    """Return an attempt of a task run as bytes.

    Args:
        run: The task run, its upstreams put in.
        tags: Those that apply to what it calls.
        arguments: What to send in place of the run's own arguments and keywords.
        by_value: Whether the other side may lack the user's own modules: then they travel along.

    Raises:
        TransferError: Something cannot be pickled; the message names the argument.
    """
    payload = Payload(
        _flow_part(run), _task_part(run), tags, run.function, *(arguments or (run.arguments, run.keywords))
    )
    modules = own_modules(run.function) if by_value else unknown_modules(run.function)
    try:
        with travelling(modules):
            data = dumps(payload)
    except Exception as error:  # whatever a user's __reduce__ raises
        raise _transfer_error(run, payload, error) from error
    return data


def _flow_part(run: TaskRun) -> FlowPart | None:
    flow_run = run.flow_run
    if flow_run is None:
        return None
    return FlowPart(
        id=flow_run.id,
        name=flow_run.name,
        attempt=run.flow_attempt,
        flow=flow_run.flow.name,
        version=flow_run.flow.version,
        tags=flow_run.tags,
        parameters=portable(flow_run.parameters),
        log_prints=flow_run.log_prints,
        start_us=flow_run.start_us,
        parents=tuple(_parents(flow_run)),
        deployment_id=flow_run.deployment_id,
        deployment=flow_run.deployment,
        scheduled_for=flow_run.scheduled_for,
    )


def _task_part(run: TaskRun) -> TaskPart:
    return TaskPart(
        id=run.id,
        name=run.name,
        task=run.task.name,
        key=run.key,
        calls_before=run.index,
        attempt=run.attempt,
        tags=run.tags,
        kind=run.kind,
        timeout_seconds=run.timeout_seconds,
        log_prints=run.log_prints,
        start_us=run.start_us,
    )


def _parents(run: FlowRun) -> Iterator[str]:
    parent = run.parent
    while parent is not None:
        yield parent.id
        parent = parent.parent


def _transfer_error(run: TaskRun, payload: Payload, error: Exception) -> TransferError:
    """Say which part of an attempt cannot be sent."""
    for name, value in run.parameters.items():
        reason = reason_against(value)
        if reason is not None:
            return TransferError(
                f"The argument '{name}' of task '{run.task.name}' (a {_type_name(value)}) cannot be sent to where the "
                f"task executes: {summary(reason)}. Pass what it can be made from, such as a path or an "
                "address, and make it in the task; or use the runner for threads."
            )
    return TransferError(
        f"The function of task '{run.task.name}' cannot be sent to where the task executes: "
        f"{summary(error)}. It uses something around it that cannot be pickled: make that in the task."
    )


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# --- and back


def pack_outcome(outcome: Outcome, unhandled: list[Future], label: str) -> bytes:
    """Return how an attempt ended as bytes. Never raises: what cannot travel becomes a TransferError."""
    failed = [(future.run_id, future.name, _bare(future.peek())) for future in unhandled]
    if outcome.timed_out:
        return pickle.dumps((None, None, True, failed))
    if outcome.error is not None:
        return pickle.dumps((None, _pack_error(outcome.error), False, failed))
    try:
        return pickle.dumps((dumps(outcome.value), None, False, failed))
    except Exception as error:  # whatever a user's __reduce__ raises
        refused = TransferError(
            f"The result of {label} (a {_type_name(outcome.value)}) cannot be sent back from the process where it "
            f"executed: {summary(error)}. Return what can be pickled, or store it and return where."
        )
        return pickle.dumps((None, _pack_error(refused), False, failed))


def unpack_outcome(data: bytes) -> tuple[Outcome, list[Future]]:
    """Undo `pack_outcome`.

    Returns:
        The outcome, and a future of each run that failed over there without anybody having looked.
    """
    packed, error, timed_out, failed = pickle.loads(data)
    unhandled = [_ended_future(*parts) for parts in failed]
    if timed_out:
        return Outcome(timed_out=True), unhandled
    if error is not None:
        return Outcome(error=_unpack_error(*error)), unhandled
    try:
        return Outcome(pickle.loads(packed)), unhandled
    except Exception as problem:  # a class that only the other side can import
        refused = TransferError(f"The result cannot be read in the flow's process: {summary(problem)}.")
        refused.__cause__ = problem
        return Outcome(error=refused), unhandled


def _pack_error(error: BaseException) -> tuple[bytes | None, str, str, str]:
    """Return an error pickled (None where it cannot be), its type, message and traceback."""
    fact: Error | None = error_fact(State(StateType.FAILED, data=error))
    name, message, text = (
        (type(error).__qualname__, "", "") if fact is None else (fact.type, fact.message, fact.traceback)
    )
    try:
        packed = dumps(error)
        pickle.loads(packed)  # what says itself how it is pickled is often wrong
    except Exception:
        packed = None
    return packed, name, message, text


def _unpack_error(packed: bytes | None, name: str, message: str, text: str) -> BaseException:
    try:
        error: BaseException = pickle.loads(packed) if packed is not None else FailedRun(f"{name}: {message}")
    except Exception:
        error = FailedRun(f"{name}: {message}")
    error.__traceback__ = None
    error.__cause__ = RemoteTraceback(text)
    return error


def _bare(state: State) -> tuple[str, str, str]:
    return state.type.value, state.name, state.message


class _EndedRun:
    """What a future asks of its run when it is made."""

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.state = None


def _ended_future(run_id: str, name: str, state: tuple[str, str, str]) -> Future:
    future: Future[Any] = Future(_EndedRun(run_id, name))  # type: ignore[arg-type]
    future.finish(State(*state))
    return future
