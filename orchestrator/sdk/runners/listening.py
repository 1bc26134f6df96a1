"""A socket of the flow's process to which attempts that execute elsewhere connect and say what they have to say.

For engines whose processes can reach the flow's by their own rules, as Ray's can. Who connects shows a token that
travelled with the attempt; what they can do is add facts to the journal of this process's runs.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Final, TypeAlias

from orchestrator.sdk.runners.frames import Frames

HELLO: Final = 201
_HELLO_SECONDS: Final = 5.0
_BACKLOG: Final = 256

Take: TypeAlias = Callable[[Frames, int, str, bytes], None]


class Listener:
    """Takes connections until it is closed; a thread reads each.

    Attributes:
        address: `host:port` to connect to.
        token: What to show.
    """

    def __init__(self, host: str, take: Take) -> None:
        """Begin to listen.

        Args:
            host: On which address of this machine.
            take: Called with each message: where it came from, its kind, the attempt it is about, its body.
        """
        self._take = take
        self._lock = threading.Lock()
        self._connections: set[Frames] = set()
        self._server = socket.create_server((host, 0), backlog=_BACKLOG)
        self.address = f"{host}:{self._server.getsockname()[1]}"
        self.token = secrets.token_hex(32)
        threading.Thread(target=self._accept, name="orchestrator-listener", daemon=True).start()

    def close(self) -> None:
        """Listen no more, and close what is connected."""
        self._server.close()
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._read, args=(connection,), name="orchestrator-reader", daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_HELLO_SECONDS)
        frames = Frames(connection)
        try:
            hello = frames.receive(limit=1024)
            if hello is None or hello[0] != HELLO or not hmac.compare_digest(hello[2], self.token.encode()):
                return
            connection.settimeout(None)
            with self._lock:
                self._connections.add(frames)
            while (message := frames.receive()) is not None:
                self._take(frames, *message)
        finally:
            with self._lock:
                self._connections.discard(frames)
            frames.close()


def connect(address: str, token: str) -> Frames:
    """Connect to a listener. Raises OSError."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=_HELLO_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    frames = Frames(connection)
    frames.send(HELLO, "", token.encode())
    return frames
