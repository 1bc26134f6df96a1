"""What a run's processes are held to by the kernel, and how a run that went beyond says so.

Memory is held by RLIMIT_DATA, which counts what a process may write: heap, stacks of threads, private mappings (Linux).
RLIMIT_AS would count address space too that nobody uses: allocators and libraries reserve gigabytes of it, and runs
would fail far below their limit. Either holds for each process by itself. A cgroup would hold all of a run's together,
but making one takes rights that a worker rarely has; where it has them, containers (`docker`) are the kind to choose.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from typing import Final

if sys.platform != "win32":
    import resource

MEGABYTE: Final = 1024 * 1024
_LAST_SECONDS: Final = 5  # between SIGXCPU, of which a process may clean up, and SIGKILL


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of each process of a run, inherited by what it starts; 0: none.

    Attributes:
        memory_bytes: Of data.
        cpu_seconds: Of processor time.
        open_files: File descriptors.
        set_by: Who says so, for messages: `block 'small'`.
    """

    memory_bytes: int = 0
    cpu_seconds: int = 0
    open_files: int = 0
    set_by: str = ""

    def apply(self) -> None:
        """Hold this process, and what it starts, to them; they cannot be raised again, but by root."""
        global _applied
        _applied = self
        if self.memory_bytes:
            _lower(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, self.memory_bytes)
        if self.open_files:
            _lower(resource.RLIMIT_NOFILE, self.open_files)
        if self.cpu_seconds:
            _lower(resource.RLIMIT_CPU, self.cpu_seconds, self.cpu_seconds + _LAST_SECONDS)
            _lower(resource.RLIMIT_CORE, 0)  # SIGXCPU would leave one

    def explain(self, number: int) -> str:
        """Return why a signal ended a process, where a limit did; else an empty text."""
        if self.cpu_seconds and number == getattr(signal, "SIGXCPU", -1):
            return f"used up its {self.cpu_seconds} s of processor time, the limit set by {self.set_by}"
        if self.memory_bytes and number in (signal.SIGABRT, signal.SIGSEGV):  # libraries that cannot go on without
            return f"killed by {signal.Signals(number).name}, with {self.memory}"
        return ""

    @property
    def memory(self) -> str:
        """The limit of memory in words."""
        return f"a memory limit of {self.memory_bytes // MEGABYTE} MB set by {self.set_by}"


def explain_memory_error() -> str:
    """Return why there was no more memory, where this process has a limit; else an empty text."""
    if _applied is None or not _applied.memory_bytes:
        return ""
    return f"went over the memory limit of {_applied.memory_bytes // MEGABYTE} MB set by {_applied.set_by}"


_applied: Limits | None = None


def _lower(which: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, or what this process may have of it at most."""
    highest = resource.getrlimit(which)[1]
    wanted = hard if hard is not None else soft
    top = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
    resource.setrlimit(which, (min(soft, top), top))
