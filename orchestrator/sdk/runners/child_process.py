"""A process that executes attempts for this one: started by exec, reached by frames on a socket, killed whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.sdk.runners.frames import Frames

_LEAVE_SECONDS: Final = 5.0


class ChildProcess:
    """Not there until it is started. Any thread may kill it; one starts it, hears it and lets it go.

    Args:
        where: Of several machines, the one that it is on, for people.
    """

    def __init__(self, where: str = "") -> None:
        self._where = where
        self.frames: Frames | None = None  #: None until it was started
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  #: so that its number is nobody else's when it is killed

    def start(
        self,
        program: Sequence[str],
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
    ) -> Frames:
        """Start it in a session of its own, and return the frames to it. Raises OSError.

        Args:
            program: What the interpreter is to execute, before the number of its end of the socket.
            arguments: What follows that number.
            environment: The whole of it; None: this process's.
            directory: Where it works; None: where this process does.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *program, str(theirs.fileno()), *arguments],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=environment,
                    cwd=directory,
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        self.frames = Frames(ours)
        return self.frames

    def kill(self) -> None:
        """Kill it with all that it started; does nothing where it is gone, or was never started."""
        process = self._process
        with self._lock:
            if process is not None and process.poll() is None:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    process.kill()

    def what_became(self, error: OSError | None = None) -> str:
        """Wait for it, which could not be reached or closed its connection, and say what became of it, as a sentence.

        Args:
            error: Why it could not be started or reached.
        """
        process = self._process
        try:
            code = None if process is None else process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        if process is None or code is None:
            if error is not None:
                return f"No process could be started for the task: {error.strerror or error}"
            return "The process that executed the task closed its connection"
        who = f"The process that executed the task (pid {process.pid}{self._where and f' on {self._where}'})"
        if code >= 0:
            return f"{who} exited with code {code}"
        try:
            return f"{who} was killed by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal has no name
            return f"{who} was killed by signal {-code}"

    def leave(self) -> None:
        """Let it end, idle as it is, and wait for it."""
        if self.frames is not None:
            self.frames.close()
        if self._process is not None:
            try:
                self._process.wait(_LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()
