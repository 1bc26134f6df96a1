"""The processes of the drill: started, killed, found dead and started again. Each dies with the drill.

Everything here is called from the drill's one main thread: a child that is to die with its parent dies with the thread
that started it.
"""

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MARKER: Final = "ORCHESTRATOR_DRILL_ID"  # in the environment of every process that a drill starts, runs included
_PR_SET_PDEATHSIG: Final = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(slots=True)
class Part:
    """A process of the drill.

    Attributes:
        name: Its kind and home, e.g. `worker-a`.
        command: How it is started.
        environment: The whole of it.
        log: Gets what it prints.
        directory: Where it works.
        back_seconds: How long it stays down when it died, from and to.
        user: Whom it runs as; None for the drill's own.
        stops: The signal that ends it in order.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    directory: Path
    back_seconds: tuple[float, float] = (0.2, 3.0)
    user: str | None = None
    stops: signal.Signals = signal.SIGTERM
    starts: int = 0
    back_at: float = field(default=0.0, repr=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, in a session of its own."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=dict(self.environment),
                user=self.user,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.starts += 1
        self.back_at = 0.0

    def kill(self) -> int | None:
        """Kill -9 the process alone, and return its pid; None when none runs. What it started is left to itself."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid

    def ask_to_stop(self) -> None:
        """Send the signal that ends it in order."""
        if self.pid is not None and self._process is not None:
            self._process.send_signal(self.stops)

    def look(self, now: float, rng: random.Random) -> None:
        """Start it again when it has been down for a while."""
        if self.pid is not None:
            return
        if not self.back_at:
            self.back_at = now + rng.uniform(*self.back_seconds)
        elif now >= self.back_at:
            self.start()

    def wait_gone(self, deadline: float) -> None:
        """Wait until it has ended, kill it at the deadline (monotonic), and what is left of its group."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def die_with_parent() -> None:
    """Have the kernel kill this process with its parent (Linux). For `preexec_fn`."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return found


def command_line(pid: int) -> str:
    """Return a process's command line, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def run_hosts(worker: int) -> list[int]:
    """Return the run hosts of a worker process."""
    return [pid for pid in children(worker) if "orchestrator.sdk.host" in command_line(pid)]


def marked(marker: str) -> dict[int, str]:
    """Return the command lines, by pid, of processes that have this drill's id in their environment, zombies aside.

    Processes that hide their environment are seen by root alone; they are killed with their groups.
    """
    wanted = f"{MARKER}={marker}\0".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes() + b"\0":
                found[int(folder.name)] = command_line(int(folder.name))
    return found
