"""The other side: one attempt of a task run, executed in a process that is not the flow's.

It is a function of what was sent. It records nothing by itself: each fact goes back at once over the channel that the
runner gives, so that log lines are on the run's page while the task executes. What the task calls or submits executes
here too, in threads.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from contextvars import ContextVar, copy_context
from typing import Any

from orchestrator.sdk import capture, journal
from orchestrator.sdk.cancellation import Cancellation, CancelRequested
from orchestrator.sdk.context import current_tags
from orchestrator.sdk.effects import CALL, Join, Outcome
from orchestrator.sdk.endings import ending_of
from orchestrator.sdk.events import Fact, FlowRunCreated
from orchestrator.sdk.exceptions import TransferError
from orchestrator.sdk.flows import Flow, flow
from orchestrator.sdk.futures import Future
from orchestrator.sdk.inputs import PLAIN
from orchestrator.sdk.jobs import close_runner
from orchestrator.sdk.performing import call, join
from orchestrator.sdk.runners.base import here
from orchestrator.sdk.runners.calls import Message
from orchestrator.sdk.runners.transfer import FlowPart, Payload, TaskPart, pack_outcome
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.session import watched
from orchestrator.sdk.states import StateType
from orchestrator.sdk.tasks import Task, task
from orchestrator.sdk.tracebacks import summary


class Channel:
    """The way back to the flow's process.

    Attributes:
        has_terminal: Whether this process writes to the same terminal; else what is printed is sent there.
        journal_id: Of the flow's process, where it is known.
    """

    has_terminal: bool = True
    journal_id: str = ""

    def send(self, kind: int, body: bytes) -> None:
        """Send a message of a kind of `Message`. Never raises: where nobody listens any more, nobody needs it."""
        raise NotImplementedError

    def sequence(self) -> int:
        """Return the number of the last fact in the flow's journal, all that was sent included; 0 if unknown."""
        return 0


def execute(
    data: bytes, channel: Channel, cancellation: Cancellation | None = None, values: tuple[Any, ...] = ()
) -> bytes:
    """Execute an attempt in this thread.

    Args:
        data: As `transfer.pack` made it.
        channel: Where its messages go.
        cancellation: By which it may be asked to end.
        values: What stands in for the `Stand` objects among its arguments.

    Returns:
        How it ended, for `transfer.unpack_outcome`. Whatever happens, it does not raise.
    """
    try:
        payload: Payload = pickle.loads(data)
        if values:
            payload = payload._replace(
                arguments=put_back(payload.arguments, values), keywords=put_back(payload.keywords, values)
            )
        run = _task_run(payload)
    except Exception as error:  # a module that is not here, or whatever a user's __setstate__ raises
        refused = TransferError(
            f"What was sent cannot be read in process {os.getpid()}, where the task was to execute: {summary(error)}. "
            "The modules that it uses must be installed there."
        )
        return pack_outcome(Outcome(error=refused), [], "")
    return copy_context().run(_execute, run, payload.tags, channel, cancellation)


def _execute(run: TaskRun, tags: frozenset[str], channel: Channel, cancellation: Cancellation | None) -> bytes:
    _remote_journal().begin(channel, run)
    current_tags.set(tags)
    if not channel.has_terminal:
        capture.passed_on.set(lambda name, text: channel.send(_STREAMS[name], text.encode("utf-8", "replace")))
    outer, here.cancellation = here.cancellation, cancellation
    unhandled: list[Future] = []
    try:
        with watched(run):
            channel.send(Message.BEGUN, b"")
            outcome = _folded(run, call(CALL, run))
            unhandled = _joined(run, outcome)
            capture.flush(run)
    except BaseException as error:  # what interrupted the engine itself
        outcome = Outcome(error=error)
    finally:
        here.cancellation = outer
        if run.flow_run is not None:
            close_runner(run.flow_run)
        _remote_journal().end(run)
    return pack_outcome(outcome, unhandled, run.label)


_STREAMS = {"stdout": Message.OUT, "stderr": Message.ERR}


def _folded(run: TaskRun, outcome: Outcome) -> Outcome:
    """Replace futures and states that were returned by what came of them: they mean nothing elsewhere."""
    if outcome.error is not None or outcome.timed_out or type(outcome.value) in PLAIN:
        return outcome
    state = ending_of(run, outcome)
    if state.type is StateType.COMPLETED and state._data is outcome.value:
        return outcome
    return Outcome(state)


def _joined(run: TaskRun, outcome: Outcome) -> list[Future]:
    """Wait for what the task submitted, and return what of it failed while nobody looked."""
    flow_run = run.flow_run
    if flow_run is None or flow_run.submitted is None:
        return []
    stopped = outcome.timed_out or isinstance(outcome.error, CancelRequested)
    join(Join(cancel=stopped, wait=not stopped, running=stopped), flow_run)
    return flow_run.submitted.unhandled()


# --- the runs as they are seen from here


def _task_run(payload: Payload) -> TaskRun:
    part = payload.task
    made: Task[..., Any] = _task(payload, part)
    run = TaskRun(
        made,
        payload.arguments,
        payload.keywords,
        id=part.id,
        tags=part.tags,
        flow_run=None if payload.flow is None else _flow_run(payload.flow),
    )
    run.index = part.calls_before
    run.name = part.name
    run.attempt = part.attempt
    run.kind = part.kind
    run.start_us = part.start_us
    run.log_prints = part.log_prints
    return run


def _task(payload: Payload, part: TaskPart) -> Task[..., Any]:
    made: Task[..., Any] = task(name=part.task, timeout_seconds=part.timeout_seconds)(payload.function)
    made.key = part.key
    return made


def _flow_run(part: FlowPart) -> FlowRun:
    parent: FlowRun | None = None
    for id_ in reversed(part.parents):
        parent = FlowRun(_stand_in, (), {}, id=id_, name="", tags=frozenset(), parent=parent)
    made: Flow[..., Any] = flow(name=part.flow, version=part.version, task_runner="threads")(_nothing)
    run = FlowRun(made, (), {}, id=part.id, name=part.name, tags=part.tags, parent=parent)
    run.call_parameters = part.parameters
    run.attempt = part.attempt
    run.log_prints = part.log_prints
    run.start_us = part.start_us
    run.deployment_id = part.deployment_id
    run.deployment = part.deployment
    run.scheduled_for = part.scheduled_for
    return run


def _nothing() -> None:
    """The function of a flow that executes elsewhere."""


_stand_in: Flow[..., Any] = flow(name="elsewhere")(_nothing)


# --- where facts go

_channel: ContextVar[Channel | None] = ContextVar("orchestrator_channel", default=None)


class RemoteJournal(journal.Journal):
    """In the place of a process's journal: hands each fact to the channel of the attempt that it belongs to.

    Threads that do not carry the context are told by the run that the fact is about. What belongs to no attempt goes to
    the journal that was there before.
    """

    __slots__ = ("_below", "_by_run", "_guard")

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._by_run: dict[str, Channel] = {}  #: flow run → the channel of the attempt that made it or belongs to it
        self._below: journal.Journal = journal.divert(self)

    def begin(self, channel: Channel, run: TaskRun) -> None:
        """Have what this context records go to a channel."""
        _channel.set(channel)
        self.id = channel.journal_id or self.id
        if run.flow_run is not None:
            with self._guard:
                self._by_run[run.flow_run.id] = channel

    def end(self, run: TaskRun) -> None:
        """Forget the runs whose facts went to this context's channel."""
        channel = _channel.get()
        with self._guard:
            for run_id in [run_id for run_id, other in self._by_run.items() if other is channel]:
                del self._by_run[run_id]

    def record(self, fact: Fact) -> None:
        """Send a fact where it belongs."""
        run_id = getattr(fact, "run", "")
        channel = _channel.get() or self._by_run.get(run_id)
        if channel is None:
            self._below.record(fact)
            return
        if isinstance(fact, FlowRunCreated):
            with self._guard:
                self._by_run[run_id] = channel
        fact.n = 0
        fact.t = fact.t or _now_us()
        channel.send(Message.FACT, journal.encoded(fact))

    @property
    def sequence(self) -> int:
        """The number of the last fact in the flow's journal, as far as the channel can tell."""
        channel = _channel.get()
        return 0 if channel is None else channel.sequence()

    @property
    def opened(self) -> bool:
        """Whether the journal below has a file."""
        return self._below.opened

    def close(self) -> None:
        """End the journal below."""
        self._below.close()


def _now_us() -> int:
    return time.time_ns() // 1000


_journal: RemoteJournal | None = None
_lock = threading.Lock()


def _remote_journal() -> RemoteJournal:
    """Return this process's, put in place at its first attempt."""
    global _journal
    with _lock:
        if _journal is None or journal.current() is not _journal:
            _journal = RemoteJournal()
        return _journal


# --- values that reach this process in another way than with the payload


class Stand:
    """Stands in an argument for a value that the engine which executes tasks brings by itself."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return Stand, (self.number,)


def put_back(value: Any, values: tuple[Any, ...]) -> Any:
    """Replace what stands in for values, anywhere in tuples, lists, sets and dicts."""
    if isinstance(value, Stand):
        return values[value.number]
    if isinstance(value, dict):
        return {key: put_back(item, values) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(put_back(item, values) for item in value)
    return value
