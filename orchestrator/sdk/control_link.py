"""HTTP to whoever answers questions: kept-alive connections, by name or through the helper's socket."""

from __future__ import annotations

import http.client
import os
import socket
import sys
from typing import Any, Final

import msgspec

from orchestrator._version import __version__
from orchestrator.sdk.bell import is_too_long, open_folder
from orchestrator.sdk.control_address import Address

TIMEOUT_SECONDS: Final = 5.0
STREAM_TIMEOUT_SECONDS: Final = 40.0  #: the server says something every 15 s
_IDLE_CONNECTIONS: Final = 4


class Away(Exception):
    """The server could not be reached, or cannot answer now."""


class Refused(Exception):
    """The server said no."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message or f"it answered {status}")
        self.status = status
        self.code = code


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""


class Link:
    """Requests to one address. Any thread may ask; each request has a connection of its own meanwhile."""

    def __init__(self, address: Address, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.address = address
        self._timeout_seconds = timeout_seconds
        parts = _split(address.url)
        self._host, self._port, self._path, self._is_secure = parts
        self._idle: list[http.client.HTTPConnection] = []
        self._headers = {"User-Agent": f"orchestrator/{__version__}"}
        if address.token:
            self._headers["Authorization"] = f"Bearer {address.token}"

    def __del__(self) -> None:
        """Close what is kept alive; in a forked child that closes the child's descriptors alone."""
        while self._idle:
            self._idle.pop().close()

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """Make a request that may be made twice, and return the answer's body.

        Raises:
            Away: No answer came, or one that says that the server cannot answer now.
            Refused: The answer is an error.
        """
        return self.send(method, path, None if body is None else msgspec.json.encode(body))

    def send(self, method: str, path: str, data: bytes | None, media_type: str = "application/json") -> bytes:
        """Do the same with a body of any kind."""
        headers = self._headers | {"Content-Type": media_type}
        try:
            connection, is_fresh = self._idle.pop(), False
        except IndexError:
            connection, is_fresh = self._connection(self._timeout_seconds), True
        try:
            try:
                response = self._exchange(connection, method, path, data, headers)
            except (OSError, http.client.HTTPException):
                if is_fresh:
                    raise
                connection.close()  # the server closed it meanwhile
                connection = self._connection(self._timeout_seconds)
                response = self._exchange(connection, method, path, data, headers)
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Away(_described(error)) from None
        except BaseException:  # Ctrl-C, a deadline: what comes next on this connection would be this answer
            connection.close()
            raise
        if response.will_close or len(self._idle) >= _IDLE_CONNECTIONS:
            connection.close()
        else:
            self._idle.append(connection)
        return _checked(response, content)

    def stream(
        self, path: str, media_type: str = "text/event-stream"
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Begin to read events. Raises Away and Refused; the connection is the caller's to close."""
        connection = self._connection(STREAM_TIMEOUT_SECONDS)
        try:
            connection.request("GET", self._path + path, headers=self._headers | {"Accept": media_type})
            response = connection.getresponse()
            if response.status >= 300:
                _checked(response, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Away(_described(error)) from None
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        data: bytes | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        connection.request(method, self._path + path, data, headers)
        return connection.getresponse()

    def _connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if self.address.socket is not None:
            return _SocketConnection(self.address, timeout_seconds)
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=timeout_seconds)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP through the helper's Unix socket, whose path may be longer than a socket's address."""

    def __init__(self, address: Address, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._address = address

    def connect(self) -> None:
        """Open the socket."""
        path = self._address.socket
        if sys.platform == "win32" or path is None:
            raise OSError("there are no Unix sockets here")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            if not is_too_long(path):
                self.sock.connect(str(path))
                return
            folder = open_folder(path)
            try:
                self.sock.connect(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
        except BaseException:
            self.sock.close()
            self.sock = None
            raise


def _split(url: str) -> tuple[str, int | None, str, bool]:
    from urllib.parse import urlsplit  # http.client has loaded it

    parts = urlsplit(url)
    return parts.hostname or "", parts.port, parts.path, parts.scheme == "https"


def _checked(response: http.client.HTTPResponse, content: bytes) -> bytes:
    if response.status < 300:
        return content
    answered = f"it answered {response.status} {response.reason}"
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    if response.status >= 500 or response.status in (408, 425, 429):
        raise Away(f"{answered}: {problem.message}" if problem.message else answered)
    problem.message = problem.message or answered
    raise Refused(response.status, problem.code, problem.message)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def decoded(content: bytes, type: Any) -> Any:
    """Return an answer as a value of this type. Raises Away where it is not what such a server answers."""
    try:
        return msgspec.json.decode(content, type=type)
    except msgspec.MsgspecError:
        raise Away("its answer is not an orchestrator server's") from None
