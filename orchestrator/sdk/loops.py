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
        return asyncio.run(make())
    results: list[T] = []
    errors: list[BaseException] = []
    slots = here.slots

    def work() -> None:
        here.slots = slots
        try:
            results.append(asyncio.run(make()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="orchestrator-loop", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


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
