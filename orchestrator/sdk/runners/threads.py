"""The default runner: a pool of threads."""

from __future__ import annotations

import os
import threading
from collections import deque

from orchestrator.sdk.runners.base import Job, Place, TaskRunner, here
from orchestrator.sdk.timers import call_later

DEFAULT_MAX_WORKERS = 32


class ThreadPoolTaskRunner(TaskRunner):
    """Executes tasks in threads, at most `max_workers` at a time.

    A worker whose task blocks by waiting for a future gives up its place meanwhile and another takes it, so that tasks
    which submit and await tasks cannot deadlock, not even with one worker. Threads are started when they are needed.

    Args:
        max_workers: How many tasks may execute at a time.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}.")
        self.max_workers = max_workers or DEFAULT_MAX_WORKERS
        # A place is held by each worker that executes; whoever wants one waits in one of the two queues.
        self._lock = threading.Lock()
        self._free_places = self.max_workers
        self._jobs: deque[Job] = deque()
        self._returning: deque[_WorkerPlace] = deque()  # workers that gave up their place and want one again
        self._idle: list[_Mailbox] = []
        self._closed = False
        self._threads = 0
        self._pid = os.getpid()

    def duplicate(self) -> ThreadPoolTaskRunner:
        """Return a fresh pool of the same size."""
        return ThreadPoolTaskRunner(self.max_workers)

    def run(self, job: Job) -> None:
        """Execute a job as soon as there is a place."""
        if os.getpid() != self._pid:  # a fork takes no threads along
            self.__init__(self.max_workers)  # type: ignore[misc]
        with self._lock:
            if not self._free_places:
                self._jobs.append(job)
                return
            self._free_places -= 1
            mailbox = self._assign(job)
        self._start(mailbox)

    def run_later(self, job: Job, seconds: float) -> None:
        """Execute a job after a delay, in which it holds no thread."""
        call_later(seconds, lambda: self.run(job))

    def close(self) -> None:
        """Let the threads end once they have nothing to do."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for mailbox in idle:
            mailbox.put(None)

    def free(self, place: _WorkerPlace) -> None:
        """Give up a worker's place."""
        with self._lock:
            if place.is_left:
                return
            place.is_held = False
            mailbox = self._pass_on()
        self._start(mailbox)

    def take(self, place: _WorkerPlace) -> None:
        """Take a place again; those who want theirs back come before new jobs."""
        with self._lock:
            if place.is_left:
                return
            if self._free_places:
                self._free_places -= 1
                place.is_held = True
                return
            self._returning.append(place)
        place.gate.acquire()

    def leave(self, place: _WorkerPlace) -> None:
        """Replace a worker whose job is left behind: it takes no more jobs, and another thread takes its place."""
        mailbox = None
        with self._lock:
            if place.is_left:
                return
            place.is_left = True
            self._threads -= 1
            if place.is_held:
                mailbox = self._pass_on()
            elif place in self._returning:
                self._returning.remove(place)
                place.gate.release()
        self._start(mailbox)

    def _pass_on(self) -> _Mailbox | None:
        """Give a place that is held to whoever wants it. Returns a mailbox to start."""
        if self._returning:
            self._returning.popleft().give()
        elif self._jobs:
            return self._assign(self._jobs.popleft())
        else:
            self._free_places += 1
        return None

    def _assign(self, job: Job) -> _Mailbox | None:
        """Hand a job, and the place that goes with it, to an idle thread or to a new one, which the caller starts."""
        if self._idle:
            self._idle.pop().put(job)
            return None
        self._threads += 1
        mailbox = _Mailbox(f"orchestrator-worker-{self._threads}")
        mailbox.job = job
        return mailbox

    def _start(self, mailbox: _Mailbox | None) -> None:
        if mailbox is None:
            return
        try:
            threading.Thread(target=self._work, args=(mailbox,), name=mailbox.name, daemon=True).start()
        except RuntimeError:  # no more threads can be had: the job waits for one of those that there are
            with self._lock:
                self._threads -= 1
                if not self._threads or mailbox.job is None:
                    raise
                self._jobs.appendleft(mailbox.job)
                self._free_places += 1

    def _work(self, mailbox: _Mailbox) -> None:
        here.place = place = _WorkerPlace(self)
        job = mailbox.job
        while job is not None:
            place.is_held = True
            mailbox.job = None
            job()
            job = self._next(mailbox, place)
            if job is None:
                if place.is_left:
                    return
                job = mailbox.get()

    def _next(self, mailbox: _Mailbox, place: _WorkerPlace) -> Job | None:
        with self._lock:
            if place.is_left:
                return None
            if self._returning:
                self._returning.popleft().give()
            elif self._jobs:
                return self._jobs.popleft()
            else:
                self._free_places += 1
            place.is_held = False
            if self._closed:
                mailbox.put(None)
            else:
                self._idle.append(mailbox)
        return None


class _WorkerPlace(Place):
    """A worker's place. Its attributes change under the pool's lock, or in its own thread while nobody knows of it."""

    __slots__ = ("_pool", "gate", "is_held", "is_left")

    def __init__(self, pool: ThreadPoolTaskRunner) -> None:
        self._pool = pool
        self.is_held = True
        self.is_left = False
        self.gate = threading.Lock()  #: closed but for the moment in which the place is given back
        self.gate.acquire()

    def free(self) -> None:
        """Give up the place."""
        self._pool.free(self)

    def take(self) -> None:
        """Take a place again, waiting for one."""
        self._pool.take(self)

    def leave(self) -> None:
        """Let another thread have the place for good."""
        self._pool.leave(self)

    def give(self) -> None:
        """Hand a place to this worker, which waits for one."""
        self.is_held = True
        self.gate.release()


class _Mailbox:
    """Where an idle worker waits for its next job."""

    __slots__ = ("_gate", "job", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.job: Job | None = None
        self._gate = threading.Lock()
        self._gate.acquire()

    def put(self, job: Job | None) -> None:
        """Hand over a job, or None to end."""
        self.job = job
        self._gate.release()

    def get(self) -> Job | None:
        """Wait for the next job."""
        self._gate.acquire()
        return self.job
