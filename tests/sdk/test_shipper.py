"""A script with ORCHESTRATOR_API_URL sends its own journal, and nothing is lost or slowed when nobody takes it."""

import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from orchestrator.sdk.events import AnyFact, Header, Log, decode_line
from orchestrator.sdk.reader import decode_facts
from tests.sdk.processes import end_started, facts, run_python, start_python

PRELUDE = """
import os, sys, time
from orchestrator.sdk import journal
from orchestrator.sdk.events import Log
def log(message): journal.record(Log(run="r", message=message))
"""


@pytest.fixture(autouse=True)
def end_processes() -> Iterator[None]:
    """End what a failed test left running."""
    yield
    end_started()


@dataclass
class Receiver:
    """What a server was sent."""

    url: str = ""
    status: int = 200
    delay_seconds: float = 0.0
    posts: list[tuple[Header, list[AnyFact]]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    arrived: threading.Event = field(default_factory=threading.Event)

    def facts(self) -> list[AnyFact]:
        """Everything that was taken, in order of arrival."""
        return [fact for _, found in self.posts for fact in found]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real HTTP server that takes journals."""
    received = Receiver()
    highest: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(received.delay_seconds)
            first, _, lines = body.partition(b"\n")
            header = decode_line(first)
            assert isinstance(header, Header)
            assert self.path == "/api/ingest/"
            found, _ = decode_facts(lines)
            received.tokens.add(self.headers.get("Authorization", ""))
            answer = b"{}"
            if received.status == 200:
                received.posts.append((header, found))
                highest[header.journal] = max([highest.get(header.journal, 0), *(fact.n for fact in found)])
                answer = msgspec.json.encode({"sequence": highest[header.journal]})
            self.send_response(received.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            received.arrived.set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a script that was killed

    server = Server(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def left(home: Path) -> list[str]:
    """The names of the files in the journals' folder."""
    return sorted(path.name for path in (home / "journals").iterdir())


def test_script_ships_everything_and_leaves_nothing(home: Path, receiver: Receiver) -> None:
    code = PRELUDE + "for number in range(5_000): log(str(number))"
    done = run_python(code, home, ORCHESTRATOR_API_URL=receiver.url + "/api/", ORCHESTRATOR_API_TOKEN="secret")
    assert (done.returncode, done.stderr) == (0, "")
    assert [fact.n for fact in receiver.facts()] == list(range(1, 5_002))
    assert receiver.tokens == {"Bearer secret"}
    assert left(home) == []


def test_facts_arrive_while_the_script_runs(home: Path, receiver: Receiver) -> None:
    process = start_python(PRELUDE + "log('x'); sys.stdin.read()", home, ORCHESTRATOR_API_URL=receiver.url)
    assert receiver.arrived.wait(10)
    assert [fact.n for fact in receiver.facts()] == [1]
    process.communicate(timeout=20)
    assert [fact.n for fact in receiver.facts()] == [1, 2]


def test_segments_are_deleted_as_they_are_shipped(home: Path, receiver: Receiver) -> None:
    code = PRELUDE + "journal.SEGMENT_BYTES = 10_000\nfor number in range(2_000): log(str(number))"
    assert run_python(code, home, ORCHESTRATOR_API_URL=receiver.url).returncode == 0
    assert [fact.n for fact in receiver.facts()] == list(range(1, 2_002))
    assert left(home) == []


def test_server_that_is_gone_costs_no_second_and_the_journal_stays(home: Path) -> None:
    code = PRELUDE + "log('x'); time.sleep(0.2); print('done')"
    started = time.monotonic()
    done = run_python(code, home, ORCHESTRATOR_API_URL="http://127.0.0.1:9")
    assert time.monotonic() - started < 3
    assert done.stdout == "done\n"
    [line] = done.stderr.splitlines()
    assert "http://127.0.0.1:9" in line
    [found] = facts(home).values()
    assert len(found) == 2


def test_server_that_hangs_delays_the_end_by_one_second_at_most(home: Path, receiver: Receiver) -> None:
    receiver.delay_seconds = 5.0
    code = PRELUDE + "log('x'); time.sleep(0.2); ended = time.monotonic()\nimport atexit\n"
    code += "journal.close(); print(time.monotonic() - ended)"
    done = run_python(code, home, ORCHESTRATOR_API_URL=receiver.url)
    assert 0.9 < float(done.stdout) < 1.3
    assert len(left(home)) == 2  # the journal and its marker


def test_what_was_left_is_shipped_by_the_next_script(home: Path, receiver: Receiver) -> None:
    receiver.status = 503
    assert (
        run_python(PRELUDE + "log('first'); time.sleep(0.3)", home, ORCHESTRATOR_API_URL=receiver.url).returncode == 0
    )
    assert len(left(home)) == 2
    receiver.status = 200
    run_python(PRELUDE + "log('second'); time.sleep(0.7)", home, ORCHESTRATOR_API_URL=receiver.url)
    logged = [fact.message for fact in receiver.facts() if isinstance(fact, Log)]
    assert sorted(logged) == ["first", "second"]
    assert left(home) == []


def test_killed_scripts_journal_is_shipped_by_the_next_one(home: Path, receiver: Receiver) -> None:
    process = start_python(PRELUDE + "log('a'); sys.stdin.read()", home, ORCHESTRATOR_API_URL=receiver.url)
    assert receiver.arrived.wait(10)
    process.kill()
    process.communicate()
    run_python(PRELUDE + "log('b'); time.sleep(0.7)", home, ORCHESTRATOR_API_URL=receiver.url)
    assert left(home) == []


def test_journal_meant_for_another_server_is_left_alone(home: Path, receiver: Receiver) -> None:
    run_python(PRELUDE + "log('elsewhere')", home, ORCHESTRATOR_API_URL="http://127.0.0.1:9")
    run_python(PRELUDE + "log('here'); time.sleep(0.5)", home, ORCHESTRATOR_API_URL=receiver.url)
    assert [fact.message for fact in receiver.facts() if isinstance(fact, Log)] == ["here"]
    assert len(left(home)) == 2


def test_refusal_is_said_once_and_the_code_runs_on(home: Path, receiver: Receiver) -> None:
    receiver.status = 401
    done = run_python(PRELUDE + "log('x'); time.sleep(0.5); log('y')", home, ORCHESTRATOR_API_URL=receiver.url)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert "401" in line


def test_refusal_of_a_script_that_ends_at_once_is_said_too(home: Path, receiver: Receiver) -> None:
    receiver.status = 403
    done = run_python(PRELUDE + "log('x')", home, ORCHESTRATOR_API_URL=receiver.url)
    assert "403" in done.stderr


def test_living_script_calls_on_the_server_even_if_it_has_nothing_to_say(home: Path, receiver: Receiver) -> None:
    code = "from orchestrator.sdk import shipper\nshipper.HEARTBEAT_SECONDS = 0.2\n" + PRELUDE
    run_python(code + "log('x'); time.sleep(1.5)", home, ORCHESTRATOR_API_URL=receiver.url)
    assert sum(not found for _, found in receiver.posts) >= 3


def test_a_run_that_would_run_again_hears_when_its_server_was_silent_for_too_long(home: Path) -> None:
    code = """
        import threading
        from orchestrator.sdk import shipper
        heard = threading.Event()
        shipper.lifeline_seconds = 0.3
        shipper.on_stop = lambda reason: (print(reason), heard.set())
        log("hello")
        sys.exit(not heard.wait(20))
    """
    done = run_python(PRELUDE + textwrap.dedent(code), home, ORCHESTRATOR_API_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (0, "its worker lost its lease\n")


def test_supervised_run_does_not_ship(home: Path, receiver: Receiver) -> None:
    run_python(PRELUDE + "log('x')", home, ORCHESTRATOR_API_URL=receiver.url, ORCHESTRATOR_RUN_ID="r")
    assert receiver.posts == []
    assert len(left(home)) == 1
