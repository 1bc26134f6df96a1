"""Folders below the home that runs share and that can be made again: one lock each, the least used ones removed.

    <parent>/<name>/        the folder; whole where its mark is in it
    <parent>/<name>.lock    held (flock) by who makes it, alone, and by each process that uses it, together

The lock's file says how large the folder is, and its time when it was used last.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_held: dict[str, int] = {}  #: descriptors of the locks that this process holds, by the folder


def used(place: Path, mark: str, make: Callable[[], int], most_bytes: int) -> int:
    """Have a folder there, and use it until this process ends.

    Args:
        place: The folder.
        mark: The file in it that is there once it is whole.
        make: Makes it, while no other process does; returns its size in bytes.
        most_bytes: How much the folders beside it, and itself, may be together: more is removed, what is in use never.

    Returns:
        The descriptor of its lock.
    """
    if (held := _held.get(str(place))) is not None:
        return held
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        lock = _locked(place, exclusive=False)
        if (place / mark).exists():
            _held[str(place)] = lock
            os.utime(lock)
            return lock
        os.close(lock)
        lock = _locked(place, exclusive=True)
        try:
            if not (place / mark).exists():
                size = make()
                os.pwrite(lock, b"%d\n" % size, 0)
                _remove_unused(place.parent, most_bytes)
        finally:
            os.close(lock)


def is_being_made(place: Path, mark: str) -> bool:
    """Whether another process makes a folder just now."""
    if sys.platform == "win32" or (place / mark).exists():
        return False
    with contextlib.suppress(FileNotFoundError), open(f"{place}.lock", "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def let_go() -> None:
    """Use no folder any more: for tests, each of which is as good as a process."""
    for lock in _held.values():
        os.close(lock)
    _held.clear()


def megabytes(variable: str, default: int) -> int:
    """Return the bytes of a variable that is a number of megabytes."""
    text = os.environ.get(variable, "")
    return (int(text) if text.isdecimal() else default) * 1024 * 1024


def _locked(place: Path, exclusive: bool) -> int:
    """Return a descriptor of a folder's lock, held; one whose file was removed meanwhile is let go."""
    path = f"{place}.lock"
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)


def _remove_unused(folder: Path, most_bytes: int) -> None:
    """Remove what was not used for longest, while all is more than it may be; never what a process uses.

    Several processes may do so at once: what one finds gone is removed. What cannot be removed stays until the next
    time.
    """
    used_at: dict[Path, float] = {}
    for path in folder.glob("*.lock"):
        with contextlib.suppress(FileNotFoundError):
            used_at[path] = path.stat().st_mtime
    sizes = {path: _size(path) for path in used_at}
    over = sum(sizes.values()) - most_bytes
    for path in sorted(used_at, key=lambda path: used_at[path]):
        if over <= 0:
            return
        if _remove(path):
            over -= sizes[path]


def _remove(lock_path: Path) -> bool:
    """Remove a folder with its lock; return whether it is gone."""
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_this = os.stat(lock_path).st_ino == os.fstat(lock).st_ino  # else it was removed, and is made anew
        if is_this:
            _clear(lock_path)
    except FileNotFoundError:
        return True
    except OSError:  # a run uses it (BlockingIOError), or the file system does not let go of it
        return False
    finally:
        os.close(lock)
    return is_this


def _clear(lock_path: Path) -> None:
    place = lock_path.with_suffix("")
    beside = place.with_name(f"{place.name}.old.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        place.rename(beside)  # nobody finds it half removed
    shutil.rmtree(beside, ignore_errors=True)
    lock_path.unlink(missing_ok=True)


def _size(lock_path: Path) -> int:
    try:
        return int(lock_path.read_text() or 0)
    except (OSError, ValueError):
        return 0
