"""A small server that hands out slots as the real one does, for the engine's tests: a real socket, no database.

What it cannot show (locks, facts that free slots) is tested with a real server in `tests/server/test_tag_limits.py`.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any


class SlotServer:
    """Limits by tag, and who holds and waits.

    Attributes:
        url: Its address.
        asked: The bodies of the asks, in order.
        given_back: Task runs whose slots were given back, in order.
        refusals: (status, code) of the next answers to asks.
    """

    def __init__(self, **limits: int) -> None:
        self.limits = limits
        self.asked: list[dict[str, Any]] = []
        self.given_back: list[str] = []
        self.refusals: list[tuple[int, str]] = []
        self.streams: list[Queue[tuple[str, dict[str, str]]]] = []
        self.changed = threading.Condition()
        self.tag_questions = 0
        self._holding: dict[str, set[str]] = {}
        self._waiting: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def ask(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer an ask."""
        with self.changed:
            self.asked.append(body)
            self.changed.notify_all()
            if self.refusals:
                status, code = self.refusals.pop(0)
                return status, {"code": code, "message": "no"}
            if self._grant(body):
                self._waiting = [other for other in self._waiting if other["task_run"] != body["task_run"]]
                return 200, {"granted": True, "limits": sorted(set(body["tags"]) & set(self.limits))}
            if all(other["task_run"] != body["task_run"] for other in self._waiting):
                self._waiting.append(body)
            full = [tag for tag in body["tags"] if tag in self.limits]
            holders = [{"task_run": "t", "name": "load-0", "flow_run": "f", "flow_run_name": "busy-bee"}]
            waits = [{"tag": tag, "limit": self.limits[tag], "position": 1, "holders": holders} for tag in full]
            return 202, {"granted": False, "waits_for": waits}

    def give_back(self, task_run: str) -> None:
        """Take a slot back, or forget who waits, and grant what then fits, by push."""
        with self.changed:
            self.given_back.append(task_run)
            self.free(task_run)

    def free(self, task_run: str = "") -> None:
        """Free the slots of a task run, or all of them: the task run has ended."""
        with self.changed:
            for tag, held in self._holding.items():
                self._holding[tag] = held - {task_run} if task_run else set()
            self._waiting = [body for body in self._waiting if body["task_run"] != task_run]
            for body in list(self._waiting):
                if self._grant(body):
                    self._waiting.remove(body)
                    for stream in self.streams:
                        stream.put(("granted", {"task_run": body["task_run"]}))
            self.changed.notify_all()

    def wait_for_asks(self, count: int) -> None:
        """Wait until it was asked so often."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, 20), self.asked

    def _grant(self, body: dict[str, Any]) -> bool:
        wanted = [tag for tag in body["tags"] if tag in self.limits]
        for tag in wanted:
            held = self._holding.setdefault(tag, set())
            if body["task_run"] not in held and len(held) >= self.limits[tag]:
                return False
        for tag in wanted:
            self._holding[tag].add(body["task_run"])
        return True


def _handler(server: SlotServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/ingest/":  # a script's facts, which this server has no use for
                self._answer(200, {"sequence": 0})
            else:
                self._answer(*server.ask(json.loads(body)))

        def do_DELETE(self) -> None:
            server.give_back(self.path.strip("/").rpartition("/")[2])
            self._answer(204)

        def do_GET(self) -> None:
            if self.path == "/api/slots/tags/":
                server.tag_questions += 1
                self._answer(200, {"tags": sorted(server.limits)})
                return
            uuid.UUID(self.path.rpartition("=")[2])
            events: Queue[tuple[str, dict[str, str]]] = Queue()
            events.put(("ready", {}))
            with server.changed:
                server.streams.append(events)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    try:
                        name, data = events.get(timeout=0.05)
                        text = f"event: {name}\ndata: {json.dumps(data)}\n\n"
                    except Empty:
                        text = ": still here\n"
                    chunk = text.encode()
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            except OSError:
                with server.changed:
                    server.streams.remove(events)
                self.close_connection = True

        def _answer(self, status: int, body: object = None) -> None:
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None: ...

    return Handler


@contextmanager
def slot_server(**limits: int) -> Iterator[SlotServer]:
    """Serve until the end of the block."""
    server = SlotServer(**limits)
    try:
        yield server
    finally:
        server.close()
