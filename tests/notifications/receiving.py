"""Where messages arrive in tests: a real HTTP server, a real SMTP server, and a transport that posts plainly."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import default as email_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from notifications.content import Content, to_json
from notifications.transports.base import Answer, Transport
from tests.servers import free_port


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answers: after `delay` seconds, with these headers."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """A request, and when it was there whole (Unix time)."""

    at: float
    path: str
    headers: dict[str, str]  #: names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Receiver:
    """An HTTP server on loopback that keeps every request.

    `replies[path]` is used up one by one; then `reply` answers: a Reply, or a function of the request.
    `release` ends every delay under way.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: dict[str, deque[Reply]] = {}
        self.reply: Reply | Callable[[Received], Reply] = Reply()
        self.release = threading.Event()
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def then(self, *replies: Reply, path: str = "/") -> None:
        """Answer the next requests to a path so."""
        self.replies.setdefault(path, deque()).extend(replies)

    def at(self, path: str) -> list[Received]:
        """What came to a path, oldest first."""
        return [request for request in list(self.received) if request.path == path]

    def wait(self, count: int, seconds: float = 10.0, path: str | None = None) -> list[Received]:
        """Wait until so many requests have come (to a path), and return them all."""
        found: list[Received] = []

        def are_there() -> bool:
            found[:] = self.received if path is None else self.at(path)
            return len(found) >= count

        with self._changed:
            if not self._changed.wait_for(are_there, seconds):
                raise AssertionError(f"{len(found)} of {count} requests came within {seconds} s: {found[-3:]}")
        return found

    def close(self) -> None:
        """Stop listening."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _take(self, request: Received) -> Reply:
        with self._changed:
            self.received.append(request)
            self._changed.notify_all()
            waiting = self.replies.get(request.path)
            if waiting:
                return waiting.popleft()
        return self.reply(request) if callable(self.reply) else self.reply

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = receiver._take(Received(time.time(), self.path, headers, body))
                if reply.delay:
                    receiver.release.wait(reply.delay)
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                except OSError:  # the sender was killed, or waits no longer
                    self.close_connection = True

            do_GET = do_PUT = do_POST

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


class Mailbox:
    """An SMTP server on loopback that keeps every mail.

    With `refusal` set (`550 No such user`) it answers that to each recipient.
    """

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.envelopes: list[Envelope] = []
        self.refusal = ""
        self._changed = threading.Condition()
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self._controller.start()

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(self._controller.port)

    @property
    def url(self) -> str:
        """As ORCHESTRATOR_EMAIL_URL has it."""
        return f"smtp://127.0.0.1:{self.port}"

    def wait(self, count: int, seconds: float = 10.0) -> list[Message]:
        """Wait until so many mails have come, and return them all."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.mails) >= count, seconds):
                raise AssertionError(f"{len(self.mails)} of {count} mails came within {seconds} s.")
        return self.mails

    def close(self) -> None:
        """Stop listening."""
        self._controller.stop()

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        """Called by aiosmtpd."""
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd."""
        assert isinstance(envelope.content, bytes)
        with self._changed:
            self.envelopes.append(envelope)
            self.mails.append(BytesParser(policy=email_policy).parsebytes(envelope.content))
            self._changed.notify_all()
        return "250 OK"


class PlainTransport(Transport):
    """Posts a message's content as JSON to an address, over a new connection."""

    kind: ClassVar[str] = "plain"
    label: ClassVar[str] = "Plain"
    address_label: ClassVar[str] = "Address"
    address_help: ClassVar[str] = ""
    icon: ClassVar[str] = "globe"

    def parse(self, address: str, secret: str = "") -> dict[str, Any]:
        """Keep it as it is."""
        return {"url": address}

    def summary(self, config: dict[str, Any]) -> str:
        """Return it."""
        return str(config["url"])

    def send(self, config: dict[str, Any], content: Content) -> Answer:
        """Post it and judge the status."""
        try:
            reply = requests.post(config["url"], json=to_json(content), timeout=15)
        except requests.RequestException as error:
            return Answer(False, f"no answer: {type(error).__name__}")
        after = reply.headers.get("Retry-After")
        return Answer(
            reply.ok,
            f"{reply.status_code} {reply.text}",
            is_final=400 <= reply.status_code < 500 and reply.status_code not in {408, 425, 429},
            retry_after_seconds=float(after) if after else None,
        )
