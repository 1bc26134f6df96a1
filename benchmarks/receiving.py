"""A local receiver that answers as Slack does, and remembers what came and when."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """A message that came."""

    at: float  #: when its headers had been read, in seconds since the epoch
    path: str
    body: bytes


@dataclass(slots=True)
class Receiver:
    """What came so far, in the order in which it was answered."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)

    def at(self, path: str) -> list[Request]:
        """Return what came to a path and to those below it."""
        return [request for request in self.requests if request.path.startswith(path)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        at = time()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.receiver.requests.append(Request(at, self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Yield a receiver on a free port of 127.0.0.1 that answers every POST with 200 ok."""
    receiver = Receiver()
    server = _Server(receiver)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
