"""Two drivers perform what machines yield, one blocking and one async; two more do so for generator functions.

Effects that need no waiting are performed alike for all of them (`Life.advance`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from typing import Any

from orchestrator.sdk.async_performing import ASYNC, iterate_async
from orchestrator.sdk.effects import Call, Effect, Outcome
from orchestrator.sdk.machines import Machine
from orchestrator.sdk.performing import BLOCKING, IMMEDIATE, iterate
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.states import State


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


def drive(life: Life, effect: Effect | None) -> State:
    """Perform a machine's effects in this thread until it ends. Submitted runs have a driver of their own (`jobs`).

    Args:
        life: The machine.
        effect: What it waits for: what `life.advance()` returned.

    Returns:
        How it ended.
    """
    run = life.run
    while effect is not None:
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
                value = yield from iterate(life.run)
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
                async with aclosing(iterate_async(life.run, value)) as items:
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
