"""Which sending processes live: each holds the lock (flock) of a file of its own, which the kernel frees on any death.

So a dead sender's leases are free at once, not when they lapse. Only the machine and boot that wrote a file judge by
its lock: over a shared file system a lock may not be seen elsewhere. Without a file there is still the lapse.
"""

import contextlib
import os
import time
from functools import cache
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings

from orchestrator.sdk.boot import this_boot
from orchestrator.sdk.ids import uuid7

_KEPT_SECONDS: Final = 24 * 3600  # files that this boot cannot judge; the leases of their writers lapsed long ago


def own_id() -> UUID:
    """Return this process's id as a sender, making its file at the first call."""
    return _own(os.getpid())


def dead() -> list[UUID]:
    """Return the senders of this machine that died, until `forget` is called for them."""
    found = []
    for path in _folder().iterdir():
        with contextlib.suppress(OSError, ValueError):  # it was removed meanwhile; it is no sender's file
            if _is_dead(path):
                found.append(UUID(path.name))
            elif path.stat().st_mtime < time.time() - _KEPT_SECONDS and not _can_judge(path):
                path.unlink()
    return found


def forget(sender: UUID) -> None:
    """Remove a dead sender's file: call it when nothing is held in its name any more."""
    with contextlib.suppress(OSError):
        (_folder() / str(sender)).unlink()


@cache
def _own(pid: int) -> UUID:
    """Make the file under another name, locked, and rename it: whoever sees it finds the lock held."""
    import fcntl  # Windows has none, and imports this module for its names

    sender = uuid7()
    path = _folder() / str(sender)
    unready = path.with_suffix(".new")
    # Never closed: the lock is this process's sign of life. What it starts does not inherit it (exec closes it).
    descriptor = os.open(unready, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, _boot().encode())
    unready.rename(path)
    return sender


def _is_dead(path: Path) -> bool:
    import fcntl  # as above

    if not _can_judge(path):
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look are not taken for the sender
        except BlockingIOError:
            return False
    return True


def _can_judge(path: Path) -> bool:
    """Whether a file was made in this boot of this machine (where the system has no boot ids, nobody can tell)."""
    return bool(this_boot().boot) and path.read_text() == _boot()


def _boot() -> str:
    return f"{this_boot().machine} {this_boot().boot}"


def _folder() -> Path:
    folder: Path = settings.HOME.root / "senders"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
