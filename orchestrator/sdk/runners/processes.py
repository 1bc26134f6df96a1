"""The runner that executes tasks in processes of this machine.

They are started by exec and not forked: a flow's process has threads, and a child of it could wait for ever for a lock
that one of them held. Such a process imports the engine only (0.1 s), takes one attempt after the other, and executes
it in its main thread, where a timeout can interrupt it. It ends when its end of a socket closes, however that happens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from typing import Final

from orchestrator.sdk import journal
from orchestrator.sdk.runners.calls import Message, RemoteCall
from orchestrator.sdk.runners.child_process import ChildProcess
from orchestrator.sdk.runners.frames import CANCEL, EXECUTE, SEQUENCE, Frames
from orchestrator.sdk.runners.remote import RemoteTaskRunner
from orchestrator.sdk.runs import TaskRun
from orchestrator.sdk.timers import call_later

UNWIND_SECONDS: Final = 5.0  #: how long a cancelled attempt has for its `finally` blocks before its process is killed
_CLOSE_SECONDS: Final = 1.0  #: how long a flow's end waits for its processes, which need some hundredths of it
_PROGRAM: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from orchestrator.sdk.runners.process_worker import main
main(int(sys.argv[1]))
"""


class ProcessPoolTaskRunner(RemoteTaskRunner):
    """Executes tasks in processes of their own, at most `max_workers` at a time: for work that keeps a processor busy.

    A process that is killed takes one attempt along, which is Crashed and tried again as its task's `retries` say. A
    timeout ends the work, and so does cancelling. Arguments and results are pickled, by cloudpickle.

    Args:
        max_workers: How many processes there may be; by default as many as there are processors for this one.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}.")
        super().__init__()
        self.max_workers = max_workers or _processors()
        self._condition = threading.Condition()
        self._calls: deque[ProcessCall] = deque()
        self._workers: set[_Worker] = set()
        self._idle = 0
        self._closed = False

    def duplicate(self) -> ProcessPoolTaskRunner:
        """Return a fresh pool of the same size."""
        return ProcessPoolTaskRunner(self.max_workers)

    def make_call(self, run: TaskRun) -> ProcessCall:
        """Return a call that a process will take."""
        return ProcessCall(run)

    def begin(self, call: RemoteCall) -> None:
        """Give a call to an idle process or to a new one, else to whichever is free first."""
        assert isinstance(call, ProcessCall)
        with self._condition:
            if self._closed:
                return
            self._calls.append(call)
            if self._idle >= len(self._calls):
                self._condition.notify()
                return
            if len(self._workers) >= self.max_workers:
                return
            worker = _Worker(self)
            self._workers.add(worker)
            worker.start()

    def close(self) -> None:
        """End the processes and wait for that.

        What still executes, after a time-out or a crash, has a second for its `finally` blocks and is then killed. How
        its task run ended is for whoever sees that its flow run did.
        """
        super().close()
        with self._condition:
            self._closed = True
            self._calls.clear()
            workers = list(self._workers)
            self._condition.notify_all()
        for worker in workers:
            worker.call_off()
        until = time.monotonic() + _CLOSE_SECONDS
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
            worker.kill_if_busy()

    # --- for the threads that each serve a process

    def next_call(self) -> ProcessCall | None:
        """Wait for the next call; None once the runner is closed."""
        with self._condition:
            while True:
                while self._calls:
                    call = self._calls.popleft()
                    if not call.is_over:
                        return call
                if self._closed:
                    return None
                self._idle += 1
                try:
                    self._condition.wait()
                finally:
                    self._idle -= 1

    def forget(self, worker: _Worker) -> None:
        """Note that a process is gone; another takes its place where calls wait."""
        with self._condition:
            self._workers.discard(worker)
            waiting = self._calls.popleft() if self._calls and not self._closed else None
        if waiting is not None:
            self.begin(waiting)


class ProcessCall(RemoteCall):
    """An attempt that a process of the pool executes."""

    __slots__ = ("worker",)

    def __init__(self, run: TaskRun) -> None:
        super().__init__(run)
        self.worker: _Worker | None = None  #: None until a process takes it

    def stop(self) -> bool:
        """Interrupt the code, and kill its process where that does not end it."""
        worker = self.worker
        if worker is not None:
            worker.interrupt(self)
        return True

    def kill(self) -> None:
        """End the process."""
        worker = self.worker
        if worker is not None:
            worker.kill(self)


class _Worker:
    """A process, and the thread of this one that serves it."""

    def __init__(self, pool: ProcessPoolTaskRunner) -> None:
        self._pool = pool
        self._lock = threading.Lock()  #: held while a call begins or ends, so that no other one is killed for it
        self._call: ProcessCall | None = None
        self._process = ChildProcess()
        self._thread = threading.Thread(target=self.work, name="orchestrator-process", daemon=True)

    def start(self) -> None:
        """Begin to serve calls; the process is started for the first."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until the process is gone, at most so long."""
        if threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def work(self) -> None:
        """Serve the process until it is gone or not needed any more; what the thread executes."""
        pool = self._pool
        call = pool.next_call()
        problem = ""
        try:
            while call is not None:
                problem = self._serve(call)
                if problem:
                    break
                call = pool.next_call()
        finally:
            self._process.leave()
            pool.forget(self)
        if problem and call is not None:
            pool.lose(call, problem)

    def _serve(self, call: ProcessCall) -> str:
        """Have a call executed. Returns what became of the process, empty where it can take another call."""
        try:
            frames = self._process.frames or self._start()
            with self._lock:
                if call.is_over:
                    return ""
                self._call, call.worker = call, self
            frames.send(EXECUTE, call.id, call.payload)
        except OSError as error:
            return self._process.what_became(error)
        while (message := frames.receive()) is not None:
            kind, _, body = message
            if kind == SEQUENCE:
                frames.send(SEQUENCE, call.id, str(journal.current().sequence).encode())
                continue
            if kind == Message.OUTCOME:
                with self._lock:
                    self._call = call.worker = None
                call.receive(kind, body)
                return ""
            call.receive(kind, body)
        return self._process.what_became()

    def _start(self) -> Frames:
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        return self._process.start([*flags, "-c", _PROGRAM], [paths, journal.current().id])

    def interrupt(self, call: ProcessCall) -> None:
        """Ask the process to end a call, and kill it where it does not."""
        with self._lock:
            if self._call is not call or self._process.frames is None:
                return
            frames = self._process.frames
        try:
            frames.send(CANCEL, call.id, b"")
        except OSError:  # it is gone
            return
        call_later(UNWIND_SECONDS, lambda: self.kill(call))

    def kill(self, call: ProcessCall) -> None:
        """Kill the process with all that it started, if it still executes a call."""
        with self._lock:
            if self._call is call:
                self._process.kill()

    def call_off(self) -> None:
        """Ask the process to end what it executes, of which nobody is told any more."""
        with self._lock:
            call = self._call
        if call is not None:
            call.abort()

    def kill_if_busy(self) -> None:
        """Kill the process if it executes anything."""
        with self._lock:
            if self._call is not None:
                self._process.kill()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
