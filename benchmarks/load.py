"""How much of the processors others used while something was measured, from /proc (elsewhere it is unknown)."""

import math
import os
import time
from pathlib import Path

CALM_CORES = 0.1  #: more than this disturbs a measurement

# /proc/stat is counted in ticks of 10 ms: a short round may seem to have this much more or less.
_BLUR_SECONDS = 0.03


class OtherLoad:
    """Begins to watch when it is made. Ours is what this process and its descendants use."""

    __slots__ = ("_busy", "_ours", "_since")

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._busy = _busy_seconds()
        self._ours = _tree_seconds()

    def cores(self) -> float:
        """Return how many cores others used on average since then (1.0: one core, all the time)."""
        elapsed = max(time.monotonic() - self._since, 1e-6)
        others = (_busy_seconds() - self._busy) - (_tree_seconds() - self._ours)
        return max(0.0, others - _BLUR_SECONDS) / elapsed


def descendants(root: int) -> list[int]:
    """Return the process ids of a process and everything below it, parents first."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in _processes().items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _busy_seconds() -> float:
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return math.nan
    user, nice, system, _idle, _wait, interrupts, soft, steal = map(int, fields[:8])
    return (user + nice + system + interrupts + soft + steal) / os.sysconf("SC_CLK_TCK")


def _tree_seconds() -> float:
    processes = _processes()
    return sum(processes[pid][1] for pid in descendants(os.getpid()) if pid in processes)


def _processes() -> dict[int, tuple[int, float]]:
    """Return every process's parent, and the processor time of it and of its children that it has waited for."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        found[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"))
    return found
