"""What every task runner offers to the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Job: TypeAlias = Callable[[], None]


class TaskRunner:
    """Executes jobs that are ready to run. The engine waits for their upstreams before, holding no thread.

    A flow's `task_runner` is a pattern: every flow run works with a `duplicate` of its own.
    """

    def duplicate(self) -> TaskRunner:
        """Return a fresh runner with the same settings."""
        raise NotImplementedError

    def run(self, job: Job) -> None:
        """Execute a job as soon as there is room, without waiting for it."""
        raise NotImplementedError

    def run_later(self, job: Job, seconds: float) -> None:
        """Execute a job after a delay that holds no thread of the runner."""
        raise NotImplementedError

    def close(self) -> None:
        """Take no more jobs and let the threads end. Nothing that has begun is waited for or stopped."""
        raise NotImplementedError


class Slots:
    """A pool whose worker threads can give up their place while they wait."""

    def free(self) -> None:
        """Give up this thread's place."""
        raise NotImplementedError

    def take(self) -> None:
        """Take a place again, waiting for one."""
        raise NotImplementedError


class _Here(threading.local):
    slots: Slots | None = None


here = _Here()  #: the pool that this thread works for


@contextmanager
def free_slot() -> Iterator[None]:
    """Give up this worker thread's place in its pool inside the block; does nothing in other threads."""
    slots = here.slots
    if slots is None:
        yield
        return
    here.slots = None  # what blocks inside the block has no place to give up
    slots.free()
    try:
        yield
    finally:
        slots.take()
        here.slots = slots
