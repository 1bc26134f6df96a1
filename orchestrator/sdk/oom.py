"""Whether the kernel killed somebody for memory a moment ago: what tells running out of it from being killed.

The counter is that of this process's cgroup, which a run host shares with its runs (`memory.events` in version 2,
`memory.oom_control` in version 1), else that of the whole machine (`/proc/vmstat`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

WINDOW_SECONDS: Final = 5.0  #: a kill is taken for the cause of a death that is seen so long after it, at least
_CGROUP: Final = Path("/proc/self/cgroup")
_MOUNTED: Final = Path("/sys/fs/cgroup")
_VMSTAT: Final = Path("/proc/vmstat")


class OomWatch:
    """Counts the kernel's kills for memory. Look at least every `WINDOW_SECONDS` while there are runs."""

    def __init__(self, counter: Path | None = None) -> None:
        """Begin to count.

        Args:
            counter: A file with a line `oom_kill N`; this process's own by default.
        """
        self._counters = _counters() if counter is None else [counter]
        self._before = self._now = self._count()
        self._looked_at = 0.0

    def look(self, now: float) -> None:
        """Let older kills be forgotten; `now` is any clock that only goes on."""
        if now - self._looked_at >= WINDOW_SECONDS:
            self._looked_at = now
            self._before, self._now = self._now, self._count()

    def take(self) -> bool:
        """Whether the kernel killed somebody lately for whom nobody has asked yet; asking takes one of them."""
        if self._count() <= self._before:
            return False
        self._before += 1
        self._now = max(self._now, self._before)
        return True

    def _count(self) -> int:
        for path in self._counters:
            try:
                text = path.read_text()
            except OSError:
                continue
            for line in text.splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill" and value.strip().isdecimal():
                    return int(value)
        return 0


def _counters() -> list[Path]:
    """The files that may say it, nearest first; the first that does is read."""
    found: list[Path] = []
    try:
        lines = _CGROUP.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        name = path.lstrip("/")
        for folder, file in _folders(controllers):
            found += [folder / name / file, folder / file]  # in a container its own cgroup is the root that it sees
    return [path for path in found if _is_readable(path)] or [_VMSTAT]


def _folders(controllers: str) -> list[tuple[Path, str]]:
    if "memory" in controllers.split(","):
        return [(_MOUNTED / "memory", "memory.oom_control")]
    return [(_MOUNTED, "memory.events"), (_MOUNTED / "unified", "memory.events")] if not controllers else []


def _is_readable(path: Path) -> bool:
    try:
        return "oom_kill " in path.read_text()
    except OSError:
        return False
