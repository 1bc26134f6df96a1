"""Coroutines run to their end from code that is not async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from orchestrator.sdk.callables import Kind
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.interrupts import interruptible
from orchestrator.sdk.runners.base import here
from orchestrator.sdk.runs import FlowRun, TaskRun

T = TypeVar("T")


@interruptible
def run_in_fresh_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in an event loop of its own, in this thread where it has none, else in another.

    Args:
        make: Makes the coroutine.

    Returns:
        What it returns; what it raises is raised.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_cancellable(make()))
    results: list[T] = []
    errors: list[BaseException] = []
    place, cancellation = here.place, here.cancellation

    def work() -> None:
        here.place, here.cancellation = place, cancellation
        try:
            results.append(asyncio.run(_cancellable(make())))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="orchestrator-loop", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


async def _cancellable(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that ends at its await point when the run that this thread executes is cancelled."""
    cancellation = here.cancellation
    if cancellation is None:
        return await coroutine
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        try:
            loop.call_soon_threadsafe(task.cancel)
        except RuntimeError:  # the loop was closed: the coroutine has ended
            pass

    try:
        with cancellation.waking(cancel):
            return await coroutine
    except BaseException:
        coroutine.close()  # where it was cancelled before it began
        raise


async def await_function(run: FlowRun | TaskRun) -> Outcome:
    """Call a run's coroutine function or async generator function within its timeout."""
    timeout = asyncio.timeout(run.timeout_seconds)
    try:
        async with timeout:
            if run.kind is Kind.ASYNC_GENERATOR:
                return Outcome([item async for item in run.function(*run.arguments, **run.keywords)])
            return Outcome(await run.function(*run.arguments, **run.keywords))
    except TimeoutError as error:
        return Outcome(timed_out=True) if timeout.expired() else Outcome(error=error)


async def await_value(value: Any) -> Any:
    """Await whatever can be awaited."""
    return await value
