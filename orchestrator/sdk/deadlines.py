"""Timeouts of sync functions: by signal in the main thread, by leaving the work to itself in others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from types import FrameType
from typing import Any

from orchestrator.sdk import capture, terminal
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.interrupts import Deadline, interruptible, may_raise_in
from orchestrator.sdk.runners.base import here
from orchestrator.sdk.runs import FlowRun, TaskRun

_AGAIN_SECONDS = 0.005
WARNING = 30


def call_within(seconds: float, run: FlowRun | TaskRun, call: Callable[[], Any]) -> Outcome:
    """Call a function for so many seconds at most.

    Args:
        seconds: The timeout.
        run: Whose timeout it is.
        call: Calls the function.

    Returns:
        How it ended. What the function raises is raised.

    Raises:
        Deadline: The timeout, or that of a run further out, has passed.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return Outcome(_alarm.call(seconds, run, call))
    return _call_in_thread(seconds, run, call)


class Alarm:
    """The process's one SIGALRM, shared by the timeouts of nested runs: it is set to the earliest."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[float, object]] = []

    @interruptible
    def call(self, seconds: float, owner: object, call: Callable[[], Any]) -> Any:
        outermost = not self._deadlines
        if outermost:
            handler = signal.signal(signal.SIGALRM, self._on_alarm)
            remaining, _ = signal.getitimer(signal.ITIMER_REAL)
            began = time.monotonic()
        self._deadlines.append((time.monotonic() + seconds, owner))
        try:
            self._set()
            return call()
        finally:
            del self._deadlines[-1:]
            if self._deadlines:
                self._set()
            else:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if outermost:
                signal.signal(signal.SIGALRM, handler)
                if remaining:  # a timer of the user's goes on
                    left = remaining - (time.monotonic() - began)
                    signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))

    def forget(self) -> None:
        """In a forked child: there is no timer, so there are no deadlines."""
        self._deadlines.clear()

    def _set(self) -> None:
        left = min(at for at, _ in self._deadlines) - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.0001))

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if not self._deadlines:
            return
        now = time.monotonic()
        passed = [owner for at, owner in self._deadlines if at <= now]
        if not passed:
            self._set()
        elif not may_raise_in(frame):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        else:
            # Should user code swallow it, it comes again.
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            raise Deadline(passed[0])


_alarm = Alarm()

if hasattr(os, "register_at_fork"):  # a forked child inherits no timer
    os.register_at_fork(after_in_child=_alarm.forget)


def _call_in_thread(seconds: float, run: FlowRun | TaskRun, call: Callable[[], Any]) -> Outcome:
    """Call a function in a thread that is left to itself when the time is over: a thread cannot be ended."""
    outcome = Outcome()
    ended = threading.Lock()
    ended.acquire()
    place, cancellation = here.place, here.cancellation

    def work() -> None:
        here.place, here.cancellation = place, cancellation
        try:
            outcome.value = call()
        except BaseException as error:
            outcome.error = error
        finally:
            ended.release()

    thread = threading.Thread(target=copy_context().run, args=(work,), name=f"orchestrator-{run.name}", daemon=True)
    thread.start()
    if ended.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
        return outcome
    message = f"Took longer than {seconds:g} s and is left behind: a thread cannot be stopped, its function goes on"
    with capture.muted():
        terminal.write(WARNING, run.label, message)
    capture.record_log(run, WARNING, "orchestrator.task_runs", message)
    return Outcome(timed_out=True)
