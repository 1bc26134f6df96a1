"""The bell of a home: a datagram socket that tells whoever brings journals in that there is something to read.

Ringing is a courtesy, never a promise: it does not block, it is rate limited, and a slow poll stands behind it. A
reader that was woken does well to wait 10 ms before it reads, since the bell rings on the first fact of a burst.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

MIN_INTERVAL_NS = 5_000_000
RETRY_INTERVAL_NS = 500_000_000
_MAX_ADDRESS_BYTES = 107  # sun_path is 108 bytes on Linux, 104 elsewhere, with its closing zero
_SHORTEST_MAX_ADDRESS_BYTES = 103


class Bell:
    """The ringing side, one a process. Never raises, never blocks."""

    __slots__ = ("_folder_fd", "_next_ns", "_path", "_socket")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next_ns = 0
        self._socket: socket.socket | None = None
        self._folder_fd = -1

    def ring(self, now_ns: int | None = None) -> None:
        """Wake the reader, unless it was woken less than 5 ms ago.

        Args:
            now_ns: The time, as `time.monotonic_ns` counts; without it the bell rings whenever it last rang.
        """
        now = time.monotonic_ns() if now_ns is None else now_ns
        if now_ns is not None and now < self._next_ns:
            return
        self._next_ns = now + (MIN_INTERVAL_NS if self._send() else RETRY_INTERVAL_NS)

    def close(self) -> None:
        """Let go of the socket; a later ring opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1

    def _send(self) -> bool:
        try:
            if self._socket is None:
                if not os.path.exists(self._path):  # no server here: spare the script the import of socket
                    return False
                self._open()
            assert self._socket is not None
            self._socket.sendto(b"1", self._address())
        except BlockingIOError:
            return True  # its queue is full, so it will wake
        except OSError:
            return False
        return True

    def _open(self) -> None:
        import socket  # 5 ms, which a script without a server need not pay

        if is_too_long(self._path):
            self._folder_fd = open_folder(self._path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def _address(self) -> str:
        if self._folder_fd >= 0:
            return f"/proc/self/fd/{self._folder_fd}/{self._path.name}"
        return str(self._path)


def listen(path: Path) -> "socket.socket":
    """Return a non-blocking datagram socket bound to the bell of a home, for the one process that brings journals in.

    Call it only while `home.ingest_lock` is held: what a dead reader left at the path is replaced.

    Args:
        path: `home.bell`; longer than a socket's address may be is fine on Linux.

    Raises:
        OSError: The path cannot be bound (the reader then lives by its poll alone).
    """
    import socket  # 5 ms, which a script without a server need not pay

    path.unlink(missing_ok=True)
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.setblocking(False)
    try:
        if not is_too_long(path):
            bell.bind(str(path))
            return bell
        folder = open_folder(path)
        try:
            bell.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
    except OSError:
        bell.close()
        raise
    return bell


def is_too_long(path: Path) -> bool:
    """Whether a path does not fit a socket's address; on Linux `/proc/self/fd` then shortens it."""
    limit = _MAX_ADDRESS_BYTES if os.path.isdir("/proc/self/fd") else _SHORTEST_MAX_ADDRESS_BYTES
    return len(os.fsencode(path)) > limit


def open_folder(path: Path) -> int:
    """Return a descriptor of the folder that a socket lies in."""
    return os.open(path.parent, os.O_RDONLY | getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0))
