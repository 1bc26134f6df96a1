"""Attempts in a process that executes one at a time in its main thread, and a socket to the flow's process."""

from __future__ import annotations

import signal
import threading
import time
from queue import SimpleQueue
from types import FrameType
from typing import Final

from orchestrator.sdk.cancellation import Cancellation, CancelRequested
from orchestrator.sdk.interrupts import may_raise_in
from orchestrator.sdk.runners.attempts import Channel, execute
from orchestrator.sdk.runners.frames import CANCEL, SEQUENCE, Frames

_AGAIN_SECONDS: Final = 0.01
_WAKE_SECONDS: Final = 1.0  #: how long what waits in the engine or an event loop has to end by itself


class MainThread(Channel):
    """This process's end of the socket, and what executes in its main thread."""

    def __init__(self, frames: Frames) -> None:
        """Begin, in the main thread; `listen` is for another one."""
        self._frames = frames
        self._answers: SimpleQueue[int] = SimpleQueue()
        self._asking = threading.Lock()
        self._attempt = ""
        self._cancellation: Cancellation | None = None
        self.is_open = True
        signal.signal(signal.SIGUSR1, self._on_signal)

    @property
    def is_busy(self) -> bool:
        """Whether an attempt executes."""
        return bool(self._attempt)

    def execute(self, attempt: str, payload: bytes) -> bytes:
        """Execute an attempt in the main thread and return its outcome, which is empty where it is of no interest."""
        self._cancellation = Cancellation()
        self._attempt = attempt
        try:
            return execute(payload, self, self._cancellation)
        except CancelRequested:  # it came when all was over
            return b""
        finally:
            self._attempt = ""
            self._cancellation = None

    def send(self, kind: int, body: bytes, about: str = "") -> None:
        """Send a message about the attempt that executes."""
        try:
            self._frames.send(kind, about or self._attempt, body)
        except OSError:  # the flow's process is gone
            self.is_open = False

    def sequence(self) -> int:
        """Ask the flow's process for the number of its last fact, those that were sent before included."""
        with self._asking:
            self.send(SEQUENCE, b"")
            return self._answers.get() if self.is_open else 0

    def listen(self) -> None:
        """Take messages until the socket is closed."""
        while (message := self._frames.receive()) is not None:
            self.take(*message)
        self.is_open = False
        self._answers.put(0)

    def take(self, kind: int, about: str, body: bytes) -> None:
        """Take a message of the flow's process."""
        if kind == SEQUENCE:
            self._answers.put(int(body))
        elif kind == CANCEL:
            threading.Thread(target=self._cancel, args=(about,), daemon=True).start()

    def _cancel(self, about: str) -> None:
        """End an attempt: where it waits in the engine or an event loop, else by raising in the main thread."""
        cancellation = self._cancellation
        if cancellation is None or self._attempt != about:
            return
        cancellation.asked = True
        if cancellation.wake():
            until = time.monotonic() + _WAKE_SECONDS
            while self._attempt == about and time.monotonic() < until:
                time.sleep(_AGAIN_SECONDS)
        while self._attempt == about:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(_AGAIN_SECONDS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        cancellation = self._cancellation
        if self._attempt and cancellation is not None and cancellation.asked and may_raise_in(frame):
            raise CancelRequested
