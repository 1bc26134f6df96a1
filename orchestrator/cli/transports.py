"""Calling a URL of the API over HTTP. `http.client` costs 30 ms to import; requests costs 100."""

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import click

from orchestrator._version import __version__
from orchestrator.rest import IDEMPOTENCY_KEY, Answer

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
STARTING_SECONDS = 10.0


class NotReached(click.ClickException):
    """Nobody answered."""


class HttpTransport:
    """One connection, kept open.

    Args:
        url: Scheme, host and port, and maybe a path before /api/.
        token: The bearer token; may be empty.
        starting: Whether to wait some seconds for a server that does not listen yet.
    """

    def __init__(self, url: str, token: str, starting: bool = False) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise click.ClickException(f"ORCHESTRATOR_API_URL: {url!r} is no address. Write one like http://host:4200.")
        self._url = url
        self._prefix = parts.path.rstrip("/")
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
        self._headers = {"Accept": "application/json", "User-Agent": f"orchestrator-cli/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._wait_until = time.monotonic() + STARTING_SECONDS if starting else 0.0

    def call(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Answer:
        """Send a request; once more on a new connection where the server closed this one and twice does no harm."""
        self._connect()
        try:
            return self._exchange(method, target, body, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self._connection.close()
            if method != "GET" and IDEMPOTENCY_KEY not in headers:
                raise NotReached(f"The server at {self._url} closed the connection before it answered.") from error
            self._connect()
        try:
            return self._exchange(method, target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NotReached(f"The server at {self._url} did not answer: {error}") from None

    def _connect(self) -> None:
        if self._connection.sock is not None:
            return
        while True:
            try:
                self._connection.connect()
                break
            except OSError as error:
                if isinstance(error, ConnectionRefusedError) and time.monotonic() < self._wait_until:
                    time.sleep(0.05)
                    continue
                raise NotReached(
                    f"Nobody answers at {self._url} ({_reason(error)}). Start it there: orchestrator server start."
                ) from None
        self._connection.sock.settimeout(ANSWER_SECONDS)  # type: ignore[attr-defined]  connect() has set it

    def _exchange(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Answer:
        sent = {**self._headers, **headers}
        data = body if isinstance(body, bytes) else None  # with its own Content-Type
        if body is not None and data is None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            self._connection.request(method, self._prefix + target, data, sent)
            response = self._connection.getresponse()
            return Answer(response.status, decode(response.read()))
        except TimeoutError:
            self._connection.close()
            raise NotReached(f"The server at {self._url} did not answer within {ANSWER_SECONDS:.0f} s.") from None


def decode(body: bytes) -> Any:
    """Return a body's JSON, None when it is empty or something else."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
