"""A process of `ProcessPoolTaskRunner`: takes attempts from a socket and executes them in its main thread."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from queue import SimpleQueue
from typing import NoReturn

from orchestrator.sdk.host_child import leave
from orchestrator.sdk.runners.calls import Message
from orchestrator.sdk.runners.frames import EXECUTE, Frames
from orchestrator.sdk.runners.main_thread import MainThread


def main(descriptor: int) -> NoReturn:
    """Execute attempts until the flow's process closes its end of the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the flow, which ends this process
    Worker(Frames(socket.socket(fileno=descriptor)), sys.argv[3]).work()
    leave(0)


class Worker(MainThread):
    """This process: its main thread works, another one listens."""

    def __init__(self, frames: Frames, journal_id: str) -> None:
        super().__init__(frames)
        self._inbox: SimpleQueue[tuple[str, bytes] | None] = SimpleQueue()
        self.journal_id = journal_id

    def work(self) -> None:
        """Take one attempt after the other."""
        self.start_listening()
        while (taken := self.next()) is not None:
            attempt, payload = taken
            self.send(Message.OUTCOME, self.execute(attempt, payload), attempt)

    def start_listening(self) -> None:
        """Take messages in another thread from now on."""
        threading.Thread(target=self.listen, name="orchestrator-listener", daemon=True).start()

    def next(self) -> tuple[str, bytes] | None:
        """Wait for the next attempt and its payload; None once the flow's process is gone."""
        return self._inbox.get()

    def listen(self) -> None:
        """Take messages; once the flow's process is gone, end this one."""
        super().listen()
        if self.is_busy:
            _end_group()
        self._inbox.put(None)

    def take(self, kind: int, about: str, body: bytes) -> None:
        """Take a message of the flow's process."""
        if kind == EXECUTE:
            self._inbox.put((about, body))
        else:
            super().take(kind, about, body)


def _end_group() -> NoReturn:
    """End this process at once, with all that its task started."""
    try:
        os.killpg(os.getpid(), signal.SIGKILL)
    finally:
        os._exit(1)
