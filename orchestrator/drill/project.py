"""The flows of the drill. Each attempt writes down what it does, in a file of its own and apart from the engine.

This file is copied into the drill's throw-away project. A line is written when a flow or a task begins and ends, when
the flow knows of a task that it finished (`done`: the engine had recorded it by then), when the process is about to
exit, and every fifth of a second (`beat`), so that a process that was killed is known to have lived until then. Times
are of the monotonic clock, which all processes of a machine share.
"""

import atexit
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator import flow, runtime, task

EVIDENCE = Path(__file__).parent / "evidence"
BEAT_SECONDS = 0.2
_FLAKY = "the drill has it fail once"


def _write(event: str, run: str = "", attempt: int = 0, *, sync: bool = True, **more: object) -> None:
    """Append a line to the file of an attempt in this process."""
    run, attempt = run or runtime.flow_run.id or "", attempt or runtime.flow_run.run_count or 0
    line = {"event": event, "run": run, "attempt": attempt, "pid": os.getpid(), "at": time.monotonic(), **more}
    line["time"] = time.time()
    fd = os.open(EVIDENCE / f"{run}.{attempt}.{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, json.dumps(line).encode() + b"\n")
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _beat(run: str, attempt: int, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        _write("beat", run, attempt, sync=False)


@contextlib.contextmanager
def _attempt() -> Iterator[None]:
    """Bear witness to an attempt of a flow run."""
    run, attempt, over = runtime.flow_run.id or "", runtime.flow_run.run_count or 0, threading.Event()
    _write("begin", root=runtime.flow_run.root_flow_run_id)
    # Registered before the engine's own: it runs after the run's ending was recorded.
    atexit.register(_write, "exit", run, attempt)
    threading.Thread(target=_beat, args=[run, attempt, over], daemon=True).start()
    ok = False
    try:
        yield
        ok = True
    finally:
        over.set()
        _write("end", ok=ok)


@contextlib.contextmanager
def _task() -> Iterator[None]:
    """Bear witness to an attempt of a task run."""
    about = {"task_run": runtime.task_run.id, "task_attempt": runtime.task_run.run_count, "tags": runtime.task_run.tags}
    _write("task-begin", **about)
    ok = False
    try:
        yield
        ok = True
    finally:
        _write("task-end", **about, ok=ok)


@task
def step(seconds: float) -> str:
    """Sleep, and return the task run's id."""
    with _task():
        time.sleep(seconds)
        return runtime.task_run.id or ""


@task(retries=2, retry_delay_seconds=0.2)
def flaky_step(seconds: float) -> str:
    """Fail once."""
    with _task():
        time.sleep(seconds)
        if runtime.task_run.run_count == 1:
            raise RuntimeError(_FLAKY)
        return runtime.task_run.id or ""


@task(tags=["drill-scarce"])
def scarce_step(seconds: float) -> str:
    """Hold a slot of a tag, where the tag is limited."""
    with _task():
        time.sleep(seconds)
        return runtime.task_run.id or ""


@task(tags=["drill-scarce", "drill-few"])
def few_step(seconds: float) -> str:
    """Hold slots of two tags."""
    with _task():
        time.sleep(seconds)
        return runtime.task_run.id or ""


@flow
def work(seconds: float = 0.2, tasks: int = 3) -> None:
    """Run tasks one after the other, then some at once."""
    with _attempt():
        for _ in range(tasks):
            _write("done", task_run=step(seconds / tasks))
        for future in [step.submit(seconds / tasks) for _ in range(2)]:
            _write("done", task_run=future.result())


@flow
def flaky_tasks(seconds: float = 0.2) -> None:
    """Run tasks that fail once and are retried."""
    with _attempt():
        for future in [flaky_step.submit(seconds / 2), step.submit(seconds)]:
            _write("done", task_run=future.result())


@flow(retries=2, retry_delay_seconds=0.3)
def flaky_flow(seconds: float = 0.2) -> None:
    """Fail in every odd attempt, and be retried."""
    with _attempt():
        _write("done", task_run=step(seconds))
        if (runtime.flow_run.run_count or 0) % 2:
            raise RuntimeError(_FLAKY)


@flow
def failing(seconds: float = 0.1) -> None:
    """Fail."""
    with _attempt():
        _write("done", task_run=step(seconds))
        raise RuntimeError("the drill has it fail")


@flow
def tagged(seconds: float = 0.2) -> None:
    """Run tasks with limited tags, some at once."""
    with _attempt():
        futures = [scarce_step.submit(seconds / 2), few_step.submit(seconds / 2), step.submit(seconds / 2)]
        for future in futures:
            _write("done", task_run=future.result())


@flow
def inner(seconds: float) -> None:
    """Be a subflow."""
    with _attempt():
        _write("done", task_run=step(seconds))


@flow
def nested(seconds: float = 0.2) -> None:
    """Run a subflow."""
    with _attempt():
        _write("done", task_run=step(seconds / 2))
        inner(seconds / 2)


@flow
def stubborn(seconds: float = 30.0) -> None:
    """Ignore what one asks of it."""
    with _attempt():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.1)


@flow
def ticking(seconds: float = 0.05) -> None:
    """Be what schedules run."""
    with _attempt():
        _write("done", task_run=step(seconds))
