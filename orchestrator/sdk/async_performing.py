"""How effects are performed in an event loop. asyncio is imported where there is a loop already, at no cost."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

from orchestrator.sdk import capture
from orchestrator.sdk.context import current
from orchestrator.sdk.effects import AskSlot, Call, Invoke, Join, Outcome, Resolve, Sleep, WaitForSlot
from orchestrator.sdk.futures import Future, wait_in_loop
from orchestrator.sdk.inputs import put_in
from orchestrator.sdk.performing import call, join, set_deadline
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.tracebacks import hide_engine


async def _call_async(effect: Call, run: FlowRun | TaskRun) -> Outcome:
    if not run.kind.is_async:
        return call(effect, run)
    before = current.get()
    current.set(run)
    try:
        set_deadline(run)
        from orchestrator.sdk.loops import await_function  # asyncio, loaded already

        return await await_function(run)
    except BaseException as error:
        hide_engine(error)
        return Outcome(error=error)
    finally:
        current.set(before)
        if run.partial_lines:
            capture.flush(run)


async def iterate_async(run: FlowRun | TaskRun, outcome: Outcome) -> AsyncGenerator[Any, Any]:
    """Like `performing.iterate`, for an async generator function; puts how it ended into `outcome`."""
    import asyncio  # loaded already

    set_deadline(run)
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
        join(Join(effect.cancel, wait=False, running=effect.running), run)
    if submitted is None or not effect.wait:
        return submitted is None
    import asyncio  # loaded already

    remaining = None if run.deadline is None else max(0.0, run.deadline - time.monotonic())
    try:
        await asyncio.wait_for(wait_in_loop(submitted.when_idle), remaining)
    except TimeoutError:
        return False
    return True


async def _sleep_async(effect: Sleep, run: FlowRun | TaskRun) -> None:
    import asyncio  # loaded already

    await asyncio.sleep(effect.seconds)


async def _ask_slot_async(effect: AskSlot, run: TaskRun) -> str:
    from orchestrator.sdk import control  # only for task runs with tags

    if not control.may_be_limited(run):
        return ""
    import asyncio  # loaded already

    try:
        return await asyncio.to_thread(control.ask, run)
    except BaseException:
        control.withdraw(run)
        raise


async def _wait_for_slot_async(effect: WaitForSlot, run: TaskRun) -> None:
    from orchestrator.sdk import control  # loaded by the asking

    try:
        await wait_in_loop(partial(control.wait, run))
    except BaseException:
        control.withdraw(run)
        raise


ASYNC: dict[type, Callable[[Any, Any], Any]] = {
    Call: _call_async,
    Invoke: _invoke_async,
    Resolve: _resolve_async,
    Join: _join_async,
    Sleep: _sleep_async,
    AskSlot: _ask_slot_async,
    WaitForSlot: _wait_for_slot_async,
}
