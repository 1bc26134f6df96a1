"""How a run's process ended, what it used, and what that says about the cause."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass

from orchestrator.sdk.causes import CANCELLED, OF_REASON, Cause
from orchestrator.sdk.oom import OomWatch


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a process.

    Attributes:
        exit_code: None when a signal ended it.
        signal: Its number; 0 for none.
        peak: The most memory that it or one of the children it waited for had at once, in bytes.
        cpu_seconds: Processor time, the children's that it waited for included.
    """

    exit_code: int | None
    signal: int = 0
    peak: int = 0
    cpu_seconds: float = 0.0

    def explain(self, reason: str, oom: OomWatch) -> tuple[str, Cause]:
        """Return in words and in a word why a process ended that left its run without an ending.

        Args:
            reason: With which it was told to stop; empty if it was not.
            oom: Asked where it was killed and not by its host.
        """
        if reason == CANCELLED:
            how = (
                "it did not stop when it was asked to and was killed" if self.signal == signal.SIGKILL else "on request"
            )
            return how, Cause.STOPPED
        if reason:
            return reason, cause_of(reason)
        if self.signal == signal.SIGKILL and oom.take():
            return f"out of memory: the kernel killed it at {gigabytes(self.peak)}", Cause.OUT_OF_MEMORY
        return describe(self.exit_code, self.signal), Cause.SIGNAL if self.signal else Cause.EXIT


def cause_of(reason: str) -> Cause:
    """Return the cause for the reason of a stop, or of a start that was refused."""
    return OF_REASON.get(reason, Cause.EXIT)


def describe(exit_code: int | None, signal_number: int) -> str:
    """Return in words how a process ended: `killed by signal 9 (SIGKILL)`, `exit code 3`."""
    if not signal_number:
        return f"exit code {exit_code}"
    try:
        name = f" ({signal.Signals(signal_number).name})"
    except ValueError:  # a real-time signal
        name = ""
    return f"killed by signal {signal_number}{name}"


def gigabytes(size: int) -> str:
    """Return a size in bytes as people read it."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process's group, or to the process where it leads none yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it was forked just now and leads no group yet
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    except PermissionError:  # what is left of the group is a zombie, or runs as another user
        pass


def reap(pid: int) -> Exit | None:
    """Return how a child ended, None while it lives. What is left of its group is killed."""
    if hasattr(os, "waitid"):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        signal_group(pid, signal.SIGKILL)  # before its pid is free for others
        _, status, usage = os.wait4(pid, 0)
    else:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if not reaped:
            return None
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Exit(
        exit_code=None if number else os.WEXITSTATUS(status),
        signal=number,
        peak=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
    )
