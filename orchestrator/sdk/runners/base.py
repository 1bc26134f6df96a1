"""What every task runner offers to the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from orchestrator.sdk.cancellation import Cancellation

Job: TypeAlias = Callable[[], None]


class TaskRunner:
    """Executes jobs that are ready to run. The engine waits for their upstreams before, holding no thread.

    A flow's `task_runner` is a pattern: every flow run works with a `duplicate` of its own.
    """

    can_park: bool = True  #: whether a job may return while it waits, to be run again by another thread

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


class Place:
    """A worker thread's place in its pool, which it can give up while it waits."""

    __slots__ = ()

    def free(self) -> None:
        """Give up the place."""
        raise NotImplementedError

    def take(self) -> None:
        """Take a place again, waiting for one."""
        raise NotImplementedError

    def leave(self) -> None:
        """Give the place to another thread for good: what executes in this one is left behind."""
        raise NotImplementedError


class _Here(threading.local):
    place: Place | None = None
    cancellation: Cancellation | None = None


here = _Here()  #: the place that this thread holds in a pool, and whether what it executes is to end


@contextmanager
def free_slot() -> Iterator[None]:
    """Give up this worker thread's place in its pool inside the block; does nothing in other threads."""
    place = here.place
    if place is None:
        yield
        return
    here.place = None  # what blocks inside the block has no place to give up
    place.free()
    try:
        yield
    finally:
        place.take()
        here.place = place
