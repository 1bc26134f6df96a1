"""Between the server and Django's few threads: whoever sends or reads slowly holds none of them.

a2wsgi gives a request its thread when it begins, and waits in it for the body, and for whoever reads the answer, for
ever: eight connections that send nothing more would stop the site. So a body is read before there is a thread, as far
as its first 256 KB; larger ones have half of the threads at most, and have to come at a pace. Answers wait in a queue.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from a2wsgi import WSGIMiddleware

AHEAD_BYTES: Final = 256 * 1024
BODY_SECONDS: Final = 60.0  #: for the beginning, and for the rest …
LEAST_BYTES_PER_SECOND: Final = 64 * 1024  #: … with so much more time as this makes
SEND_SECONDS: Final = 30.0  #: whoever takes no part of an answer for so long is left
QUEUED_PARTS: Final = 1_024  #: of an answer; a static file is some hundred, of 4 KB
_WITH_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class OnThreads:
    """A WSGI application as an ASGI one, on threads that stay."""

    def __init__(self, application: Any, threads: int) -> None:
        self._http = WSGIMiddleware(application, workers=threads, send_queue_size=QUEUED_PARTS)
        self._large = asyncio.Semaphore(max(1, threads // 2))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request; 408 where its body does not come."""
        body = _Body(receive)
        if any(name in _WITH_BODY for name, _ in scope["headers"]):
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    await body.read_ahead()
            except TimeoutError:
                await _refuse(send)
                return
            except ConnectionError:
                return
        async with self._large if body.has_more else contextlib.nullcontext():
            body.begin()
            await self._http(scope, body.receive, _Answer(send).send)


class _Body:
    """A request's body: its beginning as it was read ahead, then the rest at a pace."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead: bytearray | None = None
        self._until = 0.0
        self.has_more = False

    async def read_ahead(self) -> None:
        """Read the beginning. Raises ConnectionError where the client leaves meanwhile."""
        self._ahead, self.has_more = bytearray(), True
        while self.has_more and len(self._ahead) < AHEAD_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionAbortedError
            self._ahead += message.get("body", b"")
            self.has_more = message.get("more_body", False)

    def begin(self) -> None:
        """Let time run for the rest."""
        self._until = time.monotonic() + BODY_SECONDS

    async def receive(self) -> Message:
        """Return the next part, for a thread that waits. Raises TimeoutError, in that thread, where it is too late."""
        if self._ahead is not None:
            body, self._ahead = bytes(self._ahead), None
            return {"type": "http.request", "body": body, "more_body": self.has_more}
        if not self.has_more:
            return await self._receive()
        async with asyncio.timeout(self._until - time.monotonic()):
            message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError("The client left before its request was whole.")
        self._until += len(message.get("body", b"")) / LEAST_BYTES_PER_SECOND
        self.has_more = message.get("more_body", False)
        return message


class _Answer:
    """An answer on its way; where nobody takes it the rest is dropped, so that its thread comes to the end."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_left = False

    async def send(self, message: Message) -> None:
        """Send, or drop."""
        if not self._is_left:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._send(message)
            except TimeoutError:  # the server ends a connection whose answer has no end
                self._is_left = True


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 408, "headers": headers})
    await send({"type": "http.response.body", "body": b"The request did not come within a minute."})
