"""The disk that is filled: a small file system in memory, seen by this process and its children alone (Linux)."""

import contextlib
import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MNT_DETACH: Final = 2
_MS_PRIVATE: Final = 1 << 18
_MS_REC: Final = 1 << 14
_BALLAST: Final = "ballast"


class SmallDisk:
    """A file system of its own on a folder, that can be filled to its last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Write until nothing more fits."""
        piece = b"\0" * (1 << 20)
        with (self.folder / _BALLAST).open("ab", buffering=0) as file:
            while True:
                try:
                    file.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    if len(piece) == 1:
                        return
                    piece = piece[: len(piece) // 2]

    def free(self) -> None:
        """Make room again."""
        (self.folder / _BALLAST).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take it away, with what is on it."""
        ctypes.CDLL(None).umount2(os.fsencode(self.folder), _MNT_DETACH)


def mount(folder: Path, megabytes: int) -> SmallDisk | str:
    """Mount a small file system on a folder, in a mount namespace that ends with this process and its children.

    To be called before this process has threads.

    Returns:
        The disk; or why there is none.
    """
    if sys.platform != "linux":
        return "only Linux can mount a small disk for one process"
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        _unshare(libc)
        _mount(libc, b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        _mount(libc, b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%dm,mode=0700" % megabytes)
    except OSError as error:
        return f"this system does not let it mount one ({error.strerror})"
    return SmallDisk(folder)


def _unshare(libc: ctypes.CDLL) -> None:
    """Enter a mount namespace; who is not root enters a user namespace too, as the same user."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWNS) == 0:
        return
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _mount(
    libc: ctypes.CDLL, source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
