"""The processes of a server's parts: started, watched, restarted, stopped. For one thread, without waiting anywhere."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator.server import forking
from orchestrator.server.parts import Part

FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 10.0  # a part that lived this long is started again at once
READY_FD: Final = "ORCHESTRATOR_READY_FD"
_PR_SET_PDEATHSIG: Final = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class PartProcess:
    """A part and its process, if it has one now."""

    def __init__(
        self, part: Part, log: Path, directory: str, environment: Mapping[str, str], let_go: Callable[[], None]
    ) -> None:
        """Make it; nothing starts yet.

        Args:
            part: What to run.
            log: Gets what it prints.
            directory: Where it works.
            environment: The whole of its environment.
            let_go: Called in a forked child, to close what is the server's own.
        """
        self.part = part
        self.log = log
        self.retry_at: float | None = None  #: monotonic; when a part that died is to be started again
        self._directory = directory
        self._environment = dict(environment)
        self._let_go = let_go
        self._process: subprocess.Popen[bytes] | forking.ForkedProcess | None = None
        self._started_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process is not None else None

    def start(self, ready_fd: int | None = None, gate: int | None = None) -> None:
        """Start the process, in a session of its own, its output appended to its log; it dies with this process.

        Args:
            ready_fd: Where a part that tells so says that it is ready.
            gate: A forked part imports what it needs and waits until the other end of this pipe is closed.
        """
        environment, pass_fds = dict(self._environment), []
        if ready_fd is not None and self.part.tells_ready:
            environment[READY_FD] = str(ready_fd)
            pass_fds = [ready_fd]
        if self.part.module and forking.IS_SUPPORTED:
            self._process = forking.fork_part(self.part, environment, self._directory, self.log, self._let_go, gate)
        else:
            self._process = self._execute(environment, pass_fds)
        self.retry_at = None
        self._started_at = time.monotonic()

    def _execute(self, environment: dict[str, str], pass_fds: list[int]) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.part.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=environment,
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def check(self) -> str | None:
        """Return how the process ended, once, and set when to start it again; None while it runs."""
        if self._process is None or self._process.poll() is None:
            return None
        ending = _describe(self._process.returncode or 0)
        self._kill_group()  # what it left behind
        self._process = None
        if time.monotonic() - self._started_at > STEADY_SECONDS:
            self._retry_seconds = FIRST_RETRY_SECONDS
        self.retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(self._retry_seconds * 2, LAST_RETRY_SECONDS)
        return ending

    def ask_to_stop(self, hurry: bool = False) -> None:
        """Send the part's stop signal to its process, or the one by which it does not wait for runs."""
        self.retry_at = None
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.part.hurry_signal if hurry else self.part.stop_signal)

    def is_gone(self) -> bool:
        """Whether there is no process any more (its whole group is killed with it)."""
        if self._process is None:
            return True
        if self._process.poll() is None:
            return False
        self._kill_group()
        self._process = None
        return True

    def kill(self) -> None:
        """End the process and its group now."""
        if self._process is not None:
            self._kill_group()
            self._process.wait()
            self._process = None

    def _kill_group(self) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # nobody is left; macOS says the latter of zombies
            pass


def wait_gone(processes: Sequence[PartProcess], deadline: float) -> list[PartProcess]:
    """Wait until these are gone or the time (monotonic) has come; return who is left."""
    left = list(processes)
    while left := [process for process in left if not process.is_gone()]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.02)
    return left


def _die_with_parent() -> None:
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _describe(return_code: int) -> str:
    if return_code >= 0:
        return f"exit code {return_code}"
    try:
        return f"killed by {signal.Signals(-return_code).name}"
    except ValueError:  # a real-time signal
        return f"killed by signal {-return_code}"
