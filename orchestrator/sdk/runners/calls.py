"""Attempts of task runs that another process executes, as the flow's process sees them.

What comes from there are messages of a kind and a body. Facts go into this process's journal, which stays the only one
of its runs; so the other side needs neither a home nor a server. All messages of an attempt come before its outcome.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from orchestrator.sdk import capture
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.journal import record_encoded
from orchestrator.sdk.runners.transfer import unpack_outcome
from orchestrator.sdk.timers import call_later

if TYPE_CHECKING:
    from orchestrator.sdk.futures import Future
    from orchestrator.sdk.runs import TaskRun

KILL_SECONDS: Final = 1.0  #: how long code has, after its timeout, before its process is killed
MAX_LOSSES: Final = 3  #: how often an attempt is handed out anew whose process was gone before it began

Ended: TypeAlias = "Callable[[Outcome, list[Future]], None]"


class Message(IntEnum):
    """What the other side says of an attempt, and what the body then is."""

    BEGUN = 1  #: nothing
    FACT = 2  #: a fact, as `journal.encoded` makes it
    OUT = 3  #: text for standard output, in UTF-8
    ERR = 4  #: text for standard error
    OUTCOME = 5  #: as `transfer.pack_outcome` makes it


class RemoteCall:
    """One attempt of a task run that another process executes. A runner's kind adds how it is stopped.

    Attributes:
        run: The task run.
        id: Of the attempt: no other call has it.
        payload: What the other process gets, made by `transfer.pack`; empty once it has ended.
        has_begun: Whether user code has begun over there.
    """

    __slots__ = ("_lock", "_on_begun", "_on_ended", "_result", "has_begun", "id", "is_over", "losses", "payload", "run")

    def __init__(self, run: TaskRun, payload: bytes = b"") -> None:
        self.run = run
        self.id = f"{run.id}.{run.attempt}"
        self.payload = payload
        self.has_begun = False
        self.is_over = False  #: whether it has ended, or was aborted
        self.losses = 0  #: how often its process was gone before it began
        self._lock = threading.Lock()
        self._on_begun: Callable[[], None] | None = None
        self._on_ended: Ended | None = None
        self._result: tuple[Outcome, list[Future]] | None = None

    # --- for the run's job

    def when_begun(self, callback: Callable[[], None]) -> None:
        """Have a function called, in whichever thread, once the attempt has begun or ended; at once if it has."""
        with self._lock:
            if not (self.has_begun or self._result is not None):
                self._on_begun = callback
                return
        callback()

    def when_ended(self, callback: Ended) -> None:
        """Have a function called with the outcome, and with what failed over there and nobody looked at."""
        with self._lock:
            if self._result is None:
                self._on_ended = callback
                return
        callback(*self._result)

    def abort(self) -> bool:
        """Stop the attempt; nothing is called any more. Returns whether its code really ends."""
        with self._lock:
            if self.is_over:
                return True
            self.is_over = True
        return self.stop()

    # --- for its runner

    def stop(self) -> bool:
        """Make the code end, in some seconds at most. Returns whether that is possible."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the process that executes the attempt, where its timeout has passed and its code goes on."""

    def begun_in_vain(self) -> None:
        """Stop code that began while the attempt was aborted."""

    def receive(self, kind: int, body: bytes) -> None:
        """Take a message from the other side. What is said after an abort is still recorded."""
        match kind:
            case Message.FACT:
                record_encoded(body)
            case Message.OUT:
                _write(sys.stdout, body)
            case Message.ERR:
                _write(sys.stderr, body)
            case Message.BEGUN:
                self._begin()
            case Message.OUTCOME:
                self.end(*unpack_outcome(body))

    def end(self, outcome: Outcome, unhandled: list[Future] | None = None) -> None:
        """Note how the attempt ended; only the first time counts."""
        with self._lock:
            if self.is_over:
                return
            self.is_over = True
            self._result = outcome, unhandled or []
            self.payload = b""
            begun, self._on_begun = self._on_begun, None
            ended, self._on_ended = self._on_ended, None
        if begun is not None:
            begun()
        if ended is not None:
            ended(*self._result)

    def _begin(self) -> None:
        with self._lock:
            if self.has_begun:
                return
            self.has_begun = True
            begun, self._on_begun = self._on_begun, None
            aborted = self.is_over and self._result is None
        if aborted:
            self.begun_in_vain()
            return
        if begun is not None:
            begun()
        if self.run.timeout_seconds is not None:
            call_later(self.run.timeout_seconds + KILL_SECONDS, self._end_late)

    def _end_late(self) -> None:
        """End what did not end at its timeout by itself, such as a computation in C."""
        if not self.is_over:
            self.end(Outcome(timed_out=True))
            self.kill()


def _write(stream: object, body: bytes) -> None:
    """Print what was printed over there; it is recorded already."""
    original = stream.original if isinstance(stream, capture.Tee) else stream
    try:
        original.write(body.decode())  # type: ignore[attr-defined]
        original.flush()  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):  # closed, a broken pipe, or none at all
        pass
