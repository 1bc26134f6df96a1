"""What every task runner offers to the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.sdk.cancellation import Cancellation

if TYPE_CHECKING:
    from orchestrator.sdk.runners.calls import RemoteCall
    from orchestrator.sdk.runs import TaskRun

Job: TypeAlias = Callable[[], None]


class TaskRunner:
    """Executes jobs that are ready to run. The engine waits for their upstreams before, holding no thread.

    A flow's `task_runner` is a pattern: every flow run works with a `duplicate` of its own.
    """

    can_park: bool = True  #: whether a job may return while it waits, to be run again by another thread
    is_remote: bool = False  #: whether functions of tasks execute in other processes, by `call`

    def duplicate(self) -> TaskRunner:
        """Return a fresh runner with the same settings."""
        raise NotImplementedError

    def run(self, job: Job) -> None:
        """Execute a job as soon as there is room, without waiting for it."""
        raise NotImplementedError

    def run_later(self, job: Job, seconds: float) -> None:
        """Execute a job after a delay that holds no thread of the runner."""
        raise NotImplementedError

    def call(self, run: TaskRun, tags: frozenset[str]) -> RemoteCall:
        """Have an attempt of a task run executed elsewhere, where `is_remote`; does not wait for it.

        Args:
            run: The task run, its upstreams put in.
            tags: Those that apply to what it calls, beside those tasks' own.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Take no more jobs and let the threads end. What has begun in threads is not waited for or stopped."""
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
