"""The processes that a run started, as the kernel lists them (Linux; elsewhere none are found).

A run's process and all that comes of it carry a mark: the soft limit RLIMIT_RTTIME, set to a number made of the run's
id. It bounds only real-time scheduling, at a length of centuries, and nobody else sets it; but it is inherited over
fork, exec and setsid alike, and `/proc/PID/limits` shows it. So a child that left the run's process group, its session
and its parents is still found. (A cgroup would do too, but making one needs rights that a worker rarely has.)
"""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

if sys.platform != "win32":
    import resource

_PROC: Final = Path("/proc")
_LIMIT: Final = b"Max realtime timeout"
_MARKED: Final = 1 << 55  # microseconds: 1,100 years
_PASSES: Final = 5  # of killing: what forks while it is looked for is found by the next one
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Usage(NamedTuple):
    """What `/proc/PID/stat` says of a process."""

    parent: int
    is_zombie: bool
    ticks: int  #: processor time, that of its children that it waited for included
    pages: int  #: resident


def mark_of(run: str, attempt: int) -> int:
    """Return the mark of an attempt's processes."""
    return _MARKED | (int(run.replace("-", ""), 16) & (1 << 44) - 1) << 8 | attempt & 0xFF


def set_mark(mark: int) -> None:
    """Mark this process and what it will start; does nothing where the system has no such limit."""
    if sys.platform == "linux":
        hard = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
        if hard == resource.RLIM_INFINITY or hard >= mark:
            resource.setrlimit(resource.RLIMIT_RTTIME, (mark, hard))


def marked(mark: int) -> list[int]:
    """Return the ids of the living processes that carry a mark. Reads one small file a process."""
    wanted = b"%d" % mark
    return [pid for pid in _pids() if _mark_in(pid) == wanted and not _is_dead(pid)]


def kill_marked(mark: int) -> None:
    """Send SIGKILL to all processes that carry a mark, until none is left (or a few times, if they fork that fast)."""
    for _ in range(_PASSES):
        found = marked(mark)
        if not found:
            return
        kill(found)


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL to processes, as far as they are there and ours."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def descendants(pid: int) -> list[int]:
    """Return the ids of a process's children, their children and so on. Reads one small file a process."""
    children = defaultdict(list)
    for other in _pids():
        usage = usage_of(other)
        if usage is not None:
            children[usage.parent].append(other)
    found: list[int] = []
    level = [pid]
    while level:
        level = [child for parent in level for child in children.pop(parent, ())]
        found += level
    return found


def usage_of(pid: int) -> Usage | None:
    """Return what a process uses; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
        fields = line[line.rindex(b")") + 2 :].split()  # the name before it may hold anything
        return Usage(int(fields[1]), fields[0] in (b"Z", b"X"), sum(map(int, fields[11:15])), int(fields[21]))
    except (OSError, ValueError, IndexError):
        return None


def _pids() -> Iterator[int]:
    try:
        names = os.listdir(_PROC)
    except OSError:
        return
    yield from (int(name) for name in names if name.isdecimal())


def _mark_in(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            text = file.read()
    except OSError:
        return b""
    _, _, line = text.partition(_LIMIT)
    return line[:64].split(maxsplit=1)[0] if line.strip() else b""


def _is_dead(pid: int) -> bool:
    usage = usage_of(pid)
    return usage is None or usage.is_zombie
