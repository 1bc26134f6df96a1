"""Two drivers perform what machines yield, one blocking and one async; two more do so for generator functions.

Effects that need no waiting are performed alike for all of them (`Life.advance`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from functools import partial
from typing import Any

from orchestrator.sdk import capture, terminal
from orchestrator.sdk.callables import Kind
from orchestrator.sdk.context import current
from orchestrator.sdk.deadlines import call_within
from orchestrator.sdk.effects import Call, Coerce, Effect, Invoke, Join, Outcome, Resolve, Say, Sleep
from orchestrator.sdk.events import FlowRunCreated, FlowRunSnapshot, FlowRunState, TaskRunCreated, TaskRunState
from orchestrator.sdk.futures import Future, block_until, wait_in_loop
from orchestrator.sdk.inputs import put_in
from orchestrator.sdk.interrupts import Deadline, interruptible
from orchestrator.sdk.journal import record
from orchestrator.sdk.machines import Machine
from orchestrator.sdk.parameters import coerce
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.states import State
from orchestrator.sdk.tracebacks import hide_engine


class Life:
    """A machine under way.

    Attributes:
        run: The run whose life it is.
        state: How it ended, once `advance` has returned None.
    """

    __slots__ = ("machine", "run", "state")

    state: State

    def __init__(self, machine: Machine, run: FlowRun | TaskRun) -> None:
        self.machine = machine
        self.run = run

    def advance(self, value: Any = None) -> Effect | None:
        """Send what came of the last effect and go on to the next that a driver must perform; None at the end."""
        return self._go(self.machine.send, value)

    def interrupt(self, error: BaseException) -> Effect | None:
        """Throw in what interrupted the engine and go on as `advance` does."""
        return self._go(self.machine.throw, error)

    def _go(self, resume: Callable[[Any], Any], value: Any) -> Effect | None:
        machine, run = self.machine, self.run
        while True:
            try:
                effect = resume(value)
                resume = machine.send
                perform = IMMEDIATE.get(type(effect))
                if perform is None:
                    return effect  # type: ignore[no-any-return]
                value = perform(effect, run)
            except StopIteration as stop:
                self.state = stop.value
                return None
            except BaseException as error:  # Ctrl-C and the like, between two bytecodes of the engine
                if getattr(machine, "gi_frame", None) is None:
                    raise
                resume, value = machine.throw, error


def drive(life: Life, effect: Effect | None, park: Callable[[float], None] | None = None) -> State | None:
    """Perform a machine's effects in this thread until it ends.

    Args:
        life: The machine.
        effect: What it waits for: what `life.advance()` returned.
        park: Called with the seconds of a sleep, which then ends this call; whoever wakes it drives on.

    Returns:
        How it ended, None when it was parked.
    """
    run = life.run
    while effect is not None:
        if park is not None and type(effect) is Sleep:
            park(effect.seconds)
            return None
        try:
            value = BLOCKING[type(effect)](effect, run)
        except BaseException as error:
            effect = life.interrupt(error)
        else:
            effect = life.advance(value)
    return life.state


async def drive_async(life: Life) -> State:
    """Perform a machine's effects in the running event loop until it ends."""
    effect = life.advance()
    while effect is not None:
        try:
            value = await ASYNC[type(effect)](effect, life.run)
        except BaseException as error:
            effect = life.interrupt(error)
        else:
            effect = life.advance(value)
    return life.state


def drive_generator(life: Life) -> Generator[Any, Any, State]:
    """Like `drive`, for a generator function: yields on what it yields."""
    effect = life.advance()
    while effect is not None:
        try:
            if type(effect) is Call:
                value = yield from _iterate(life.run)
            else:
                value = BLOCKING[type(effect)](effect, life.run)
        except GeneratorExit:  # the caller has seen enough
            effect = life.advance(Outcome())
        except BaseException as error:
            effect = life.interrupt(error)
        else:
            effect = life.advance(value)
    return life.state


async def drive_async_generator(life: Life, ended: Callable[[State], None]) -> AsyncGenerator[Any, Any]:
    """Like `drive_async`, for an async generator function; says how it ended by a call, since it cannot return it."""
    effect = life.advance()
    while effect is not None:
        try:
            if type(effect) is Call:
                value: Any = Outcome()
                async with aclosing(_iterate_async(life.run, value)) as items:
                    async for item in items:
                        yield item
            else:
                value = await ASYNC[type(effect)](effect, life.run)
        except GeneratorExit:  # the caller has seen enough
            effect = life.advance(Outcome())
        except BaseException as error:
            effect = life.interrupt(error)
        else:
            effect = life.advance(value)
    ended(life.state)


# --- effects that need no waiting


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


# --- effects performed by blocking


@interruptible
def _call(effect: Call, run: FlowRun | TaskRun) -> Outcome:
    before = current.get()
    current.set(run)
    try:
        _set_deadline(run)
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
        from orchestrator.sdk.loops import run_in_fresh_loop  # asyncio costs 40 ms at import

        return run_in_fresh_loop(lambda: _await_function(run))
    # Partials, and no lambdas: a deadline may raise only in functions that are known to wait (`interruptible`).
    function = run.function if run.kind is Kind.SYNC else partial(_collect, run.function)
    call = partial(function, *run.arguments, **run.keywords)
    return Outcome(call()) if run.timeout_seconds is None else call_within(run.timeout_seconds, run, call)


@interruptible
def _collect(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> list[Any]:
    return list(function(*arguments, **keywords))


def _set_deadline(run: FlowRun | TaskRun) -> None:
    if run.timeout_seconds is not None and isinstance(run, FlowRun):
        run.deadline = time.monotonic() + run.timeout_seconds


@interruptible
def _iterate(run: FlowRun | TaskRun) -> Generator[Any, Any, Outcome]:
    """Yield on what a generator function yields. The run is the current one only while its own code executes."""
    _set_deadline(run)
    until = None if run.timeout_seconds is None else time.monotonic() + run.timeout_seconds
    sent: Any = None
    before = current.get()
    generator: Generator[Any, Any, Any] | None = None
    try:
        current.set(run)
        generator = run.function(*run.arguments, **run.keywords)
        while True:
            item = generator.send(sent)
            if until is not None and time.monotonic() > until:
                generator.close()
                return Outcome(timed_out=True)
            current.set(before)
            sent = yield item
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
            from orchestrator.sdk.loops import run_in_fresh_loop  # asyncio costs 40 ms at import

            value = run_in_fresh_loop(lambda: _plain_await(value))
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
def _join(effect: Join, run: FlowRun) -> bool:
    submitted = run.submitted
    if submitted is None:
        return True
    if effect.cancel:
        submitted.cancel()
    if not effect.wait:
        return False
    remaining = None if run.deadline is None else max(0.0, run.deadline - time.monotonic())
    return block_until(submitted.when_idle, remaining)


@interruptible
def _sleep(effect: Sleep, run: FlowRun | TaskRun) -> None:
    time.sleep(effect.seconds)


BLOCKING: dict[type, Callable[[Any, Any], Any]] = {
    Call: _call,
    Invoke: _invoke,
    Resolve: _resolve,
    Join: _join,
    Sleep: _sleep,
}


# --- effects performed in an event loop


async def _call_async(effect: Call, run: FlowRun | TaskRun) -> Outcome:
    if not run.kind.is_async:
        return _call(effect, run)
    before = current.get()
    current.set(run)
    try:
        _set_deadline(run)
        return await _await_function(run)
    except BaseException as error:
        hide_engine(error)
        return Outcome(error=error)
    finally:
        current.set(before)
        if run.partial_lines:
            capture.flush(run)


async def _await_function(run: FlowRun | TaskRun) -> Outcome:
    import asyncio  # 40 ms at import; there is a loop here, so it is loaded

    timeout = asyncio.timeout(run.timeout_seconds)
    try:
        async with timeout:
            if run.kind is Kind.ASYNC_GENERATOR:
                return Outcome([item async for item in run.function(*run.arguments, **run.keywords)])
            return Outcome(await run.function(*run.arguments, **run.keywords))
    except TimeoutError as error:
        return Outcome(timed_out=True) if timeout.expired() else Outcome(error=error)


async def _iterate_async(run: FlowRun | TaskRun, outcome: Outcome) -> AsyncGenerator[Any, Any]:
    """Like `_iterate`, for an async generator function; puts how it ended into `outcome`."""
    import asyncio  # as above

    _set_deadline(run)
    timeout = asyncio.timeout(run.timeout_seconds)
    before = current.get()
    try:
        async with timeout:
            current.set(run)
            generator = run.function(*run.arguments, **run.keywords)
            try:
                async for item in generator:
                    current.set(before)
                    yield item
                    before = current.get()
                    current.set(run)
            finally:
                await generator.aclose()
    except GeneratorExit:
        raise
    except BaseException as error:
        hide_engine(error)
        outcome.timed_out = isinstance(error, TimeoutError) and timeout.expired()
        outcome.error = None if outcome.timed_out else error
    finally:
        current.set(before)
        capture.flush(run)


async def _plain_await(value: Any) -> Any:
    return await value


async def _invoke_async(effect: Invoke, run: FlowRun | TaskRun) -> Outcome:
    before = current.get()
    current.set(run)
    try:
        value = effect.function(*effect.arguments)
        if hasattr(value, "__await__") and not isinstance(value, Future):
            value = await value
        return Outcome(value)
    except BaseException as error:
        hide_engine(error)
        return Outcome(error=error)
    finally:
        current.set(before)
        if run.partial_lines:
            capture.flush(run)


async def _resolve_async(effect: Resolve, run: FlowRun | TaskRun) -> str:
    for upstream in run.upstreams or ():
        source = upstream.source
        if isinstance(source, Future) and not source.done():
            await wait_in_loop(lambda wake, source=source: source.add_done_callback(lambda _: wake()))  # type: ignore[misc]
    return put_in(run)


async def _join_async(effect: Join, run: FlowRun) -> bool:
    submitted = run.submitted
    if submitted is None or effect.cancel:
        _join(Join(effect.cancel, wait=False), run)
    if submitted is None or not effect.wait:
        return submitted is None
    import asyncio  # as above

    remaining = None if run.deadline is None else max(0.0, run.deadline - time.monotonic())
    try:
        await asyncio.wait_for(wait_in_loop(submitted.when_idle), remaining)
    except TimeoutError:
        return False
    return True


async def _sleep_async(effect: Sleep, run: FlowRun | TaskRun) -> None:
    import asyncio  # as above

    await asyncio.sleep(effect.seconds)


ASYNC: dict[type, Callable[[Any, Any], Any]] = {
    Call: _call_async,
    Invoke: _invoke_async,
    Resolve: _resolve_async,
    Join: _join_async,
    Sleep: _sleep_async,
}
