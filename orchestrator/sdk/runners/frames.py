"""Messages on a socket: a kind, the lengths, the attempt they are about, and a body of any size."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Final

_HEAD: Final = struct.Struct("!BHQ")  # kind, bytes of the attempt's id, bytes of the body
_SMALL: Final = 64 * 1024

EXECUTE, CANCEL, SEQUENCE = 101, 102, 103  #: kinds beside `calls.Message`: what the flow's process is asked, and asks


class Frames:
    """One end of a socket on which messages go both ways. Any thread may send; one at a time may receive."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = connection.makefile("rb", _SMALL)
        self._lock = threading.Lock()

    def send(self, kind: int, about: str, body: bytes) -> None:
        """Send a message, waiting where the other side does not take it. Raises OSError when it is gone."""
        name = about.encode()
        head = _HEAD.pack(kind, len(name), len(body)) + name
        with self._lock:
            if len(body) < _SMALL:
                self._socket.sendall(head + body)
            else:
                self._socket.sendall(head)
                self._socket.sendall(body)

    def receive(self, limit: int | None = None) -> tuple[int, str, bytes] | None:
        """Wait for a message.

        Args:
            limit: How many bytes the body may have; from who has more, nothing is taken.

        Returns:
            Its kind, whom it is about and its body; None when the other side is gone.
        """
        try:
            head = self._reader.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return None
            kind, name_length, length = _HEAD.unpack(head)
            if limit is not None and length > limit:
                return None
            name, body = self._reader.read(name_length), self._reader.read(length)
        except (OSError, ValueError):  # reset, or closed by this side
            return None
        return None if len(body) < length else (kind, name.decode(), body)

    def close(self) -> None:
        """Close both directions; whoever receives gets None."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other side was first
            pass
        self._reader.close()
        self._socket.close()
