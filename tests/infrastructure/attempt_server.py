"""The part of a server that an attempt away from its worker talks to: what to run, how the run is, and its facts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from orchestrator.sdk.events import AnyFact, Header, decode_line
from orchestrator.sdk.host_protocol import Start
from orchestrator.sdk.reader import decode_facts


class AttemptServer:
    """Keeps what runs have to run, and the facts that came, each once."""

    def __init__(self) -> None:
        self.starts: dict[str, Start] = {}
        self.states: dict[str, str] = {}  #: types, by run
        self.orders: dict[str, str] = {}  #: what a run is told to end with, by run
        self.came = threading.Condition()
        self._facts: dict[str, list[AnyFact]] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.attempts = self

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def facts(self, start: Start) -> list[AnyFact]:
        """What came of an attempt's journal."""
        with self.came:
            return list(self._facts.get(start.journal, []))

    def wait_for(self, start: Start, happens: Callable[[list[AnyFact]], bool], seconds: float = 60.0) -> None:
        """Wait until the facts of an attempt are such."""
        with self.came:
            assert self.came.wait_for(lambda: happens(self._facts.get(start.journal, [])), seconds), self.facts(start)

    def take(self, data: bytes) -> dict[str, Any]:
        """Take a batch, and answer as the server does."""
        line, _, rest = data.partition(b"\n")
        header = decode_line(line)
        assert isinstance(header, Header)
        with self.came:
            known = self._facts.setdefault(header.journal, [])
            last = known[-1].n if known else 0
            known += [fact for fact in decode_facts(rest)[0] if fact.n > last]
            self.came.notify_all()
            answer = {"sequence": known[-1].n if known else 0}
            return {**answer, "stop": self.orders[header.run]} if header.run in self.orders else answer


class _Server(ThreadingHTTPServer):
    attempts: AttemptServer
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        attempts = self.server.attempts
        run = self.path.split("/")[3]
        start = attempts.starts[run]
        if self.headers["Authorization"] != f"Bearer {start.token}":
            self._answer(401, {})
        elif "/start/?process=" in self.path:
            told = msgspec.structs.replace(start, token="", infrastructure=None, goes_on=False)
            self._answer(200, msgspec.to_builtins(told))
        else:
            self._answer(200, {"state_type": attempts.states.get(run, "RUNNING")})

    def do_POST(self) -> None:
        self._answer(200, self.server.attempts.take(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, status: int, body: Any) -> None:
        data = msgspec.json.encode(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def attempt_server() -> Iterator[AttemptServer]:
    """Run one."""
    attempts = AttemptServer()
    thread = threading.Thread(
        target=attempts._server.serve_forever, kwargs={"poll_interval": 0.05}, name="attempt-server", daemon=True
    )
    thread.start()
    try:
        yield attempts
    finally:
        attempts._server.shutdown()
        attempts._server.server_close()
        thread.join()
