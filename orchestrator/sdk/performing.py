"""How effects are performed: those that need no waiting, and the others by blocking the thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from functools import partial
from typing import Any

from orchestrator.sdk import capture, terminal
from orchestrator.sdk.callables import Kind
from orchestrator.sdk.context import current
from orchestrator.sdk.deadlines import call_within
from orchestrator.sdk.effects import AskSlot, Call, Coerce, Invoke, Join, Outcome, Resolve, Say, Sleep, WaitForSlot
from orchestrator.sdk.events import FlowRunCreated, FlowRunSnapshot, FlowRunState, TaskRunCreated, TaskRunState
from orchestrator.sdk.futures import Future, block_until
from orchestrator.sdk.inputs import put_in
from orchestrator.sdk.interrupts import Deadline, interruptible
from orchestrator.sdk.journal import record
from orchestrator.sdk.parameters import coerce
from orchestrator.sdk.runners.base import here
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.tracebacks import hide_engine


def _record(fact: Any, run: FlowRun | TaskRun) -> None:
    record(fact)


def _say(effect: Say, run: FlowRun | TaskRun) -> None:
    with capture.muted():
        terminal.write(effect.level, effect.speaker or run.label, effect.message)
    engine = effect.speaker == "orchestrator.engine"
    logger = "orchestrator.task_runs" if run.task_run is not None else "orchestrator.flow_runs"
    capture.record_log(run, effect.level, effect.speaker if engine else logger, effect.message)


def _coerce(effect: Coerce, run: FlowRun) -> Outcome:
    try:
        coerce(run)
    except Exception as error:
        return Outcome(error=error)
    return Outcome()


IMMEDIATE: dict[type, Callable[[Any, Any], Any]] = {
    FlowRunCreated: _record,
    FlowRunState: _record,
    FlowRunSnapshot: _record,
    TaskRunCreated: _record,
    TaskRunState: _record,
    Say: _say,
    Coerce: _coerce,
}


@interruptible
def call(effect: Call, run: FlowRun | TaskRun) -> Outcome:
    """Call a run's function in this thread."""
    before = current.get()
    current.set(run)
    try:
        set_deadline(run)
        if run.kind is Kind.SYNC and run.timeout_seconds is None:
            return Outcome(run.function(*run.arguments, **run.keywords))
        return _call_otherwise(run)
    except Deadline as deadline:
        return Outcome(timed_out=True) if deadline.owner is run else Outcome(error=deadline)
    except BaseException as error:
        hide_engine(error)
        return Outcome(error=error)
    finally:
        current.set(before)
        if run.partial_lines:
            capture.flush(run)


@interruptible
def _call_otherwise(run: FlowRun | TaskRun) -> Outcome:
    if run.kind.is_async:
        from orchestrator.sdk.loops import await_function, run_in_fresh_loop  # asyncio costs 40 ms at import

        return run_in_fresh_loop(lambda: await_function(run))
    # Partials, and no lambdas: a deadline may raise only in functions that are known to wait (`interruptible`).
    function = run.function if run.kind is Kind.SYNC else partial(_collect, run.function)
    call = partial(function, *run.arguments, **run.keywords)
    return Outcome(call()) if run.timeout_seconds is None else call_within(run.timeout_seconds, run, call)


@interruptible
def _collect(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> list[Any]:
    return list(function(*arguments, **keywords))


def set_deadline(run: FlowRun | TaskRun) -> None:
    """Note until when a flow run's attempt may take, what it left unwaited included."""
    if run.timeout_seconds is not None and isinstance(run, FlowRun):
        run.deadline = time.monotonic() + run.timeout_seconds


@interruptible
def iterate(run: FlowRun | TaskRun) -> Generator[Any, Any, Outcome]:
    """Yield on what a generator function yields. The run is the current one only while its own code executes."""
    set_deadline(run)
    until = None if run.timeout_seconds is None else time.monotonic() + run.timeout_seconds
    sent: Any = None
    thrown: BaseException | None = None
    before = current.get()
    generator: Generator[Any, Any, Any] | None = None
    try:
        current.set(run)
        generator = run.function(*run.arguments, **run.keywords)
        while True:
            item = generator.send(sent) if thrown is None else generator.throw(thrown)
            if until is not None and time.monotonic() > until:
                generator.close()
                return Outcome(timed_out=True)
            current.set(before)
            try:
                sent, thrown = (yield item), None
            except Exception as error:
                thrown = error
            before = current.get()
            current.set(run)
    except StopIteration as stop:
        return Outcome(stop.value)
    except GeneratorExit:
        current.set(run)
        if generator is not None:
            generator.close()
        raise
    except BaseException as error:
        hide_engine(error)
        return Outcome(error=error)
    finally:
        current.set(before)
        capture.flush(run)


@interruptible
def _invoke(effect: Invoke, run: FlowRun | TaskRun) -> Outcome:
    before = current.get()
    current.set(run)
    try:
        value = effect.function(*effect.arguments)
        if hasattr(value, "__await__") and not isinstance(value, Future):
            from orchestrator.sdk.loops import await_value, run_in_fresh_loop  # asyncio costs 40 ms at import

            value = run_in_fresh_loop(lambda: await_value(value))
        return Outcome(value)
    except BaseException as error:
        hide_engine(error)
        return Outcome(error=error)
    finally:
        current.set(before)


@interruptible
def _resolve(effect: Resolve, run: FlowRun | TaskRun) -> str:
    for upstream in run.upstreams or ():
        if isinstance(upstream.source, Future):
            upstream.source.wait()
    return put_in(run)


@interruptible
def join(effect: Join, run: FlowRun) -> bool:
    """Wait for what a flow run submitted."""
    submitted = run.submitted
    if submitted is None:
        return True
    if effect.cancel:
        submitted.cancel(effect.running)
    if not effect.wait:
        return False
    remaining = None if run.deadline is None else max(0.0, run.deadline - time.monotonic())
    return block_until(submitted.when_idle, remaining)


@interruptible
def _sleep(effect: Sleep, run: FlowRun | TaskRun) -> None:
    if here.cancellation is None:
        time.sleep(effect.seconds)
    else:
        block_until(lambda wake: None, effect.seconds)


@interruptible
def _ask_slot(effect: AskSlot, run: TaskRun) -> str:
    from orchestrator.sdk import control  # only for task runs with tags

    if not control.may_be_limited(run):
        return ""
    cancellation = here.cancellation
    try:
        # A cancelled run is reached here: the asking ends soon by itself.
        with nullcontext() if cancellation is None else cancellation.waking(lambda: None):
            reason = control.ask(run)
            if cancellation is not None:
                cancellation.check()
            return reason
    except BaseException:
        control.withdraw(run)
        raise


@interruptible
def _wait_for_slot(effect: WaitForSlot, run: TaskRun) -> None:
    from orchestrator.sdk import control  # loaded by the asking

    try:
        block_until(partial(control.wait, run))
    except BaseException:
        control.withdraw(run)
        raise


BLOCKING: dict[type, Callable[[Any, Any], Any]] = {
    Call: call,
    Invoke: _invoke,
    Resolve: _resolve,
    Join: join,
    Sleep: _sleep,
    AskSlot: _ask_slot,
    WaitForSlot: _wait_for_slot,
}
