"""What one flow run's token may put into the broker: bounded by the server, whatever its process asks for."""

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from rest_framework.exceptions import ValidationError

from orchestrator.problems import Busy
from orchestrator.sdk.runners.call_wire import MAX_MESSAGE, PART, Exchange, SentCall, encode
from orchestrator.sdk.runners.calls import Message
from runs.api.calls import _read
from runs.calls import bounds, keys
from runs.calls.bounds import FULL, GIVEN_UP, LINES, PARTS, admit, forget_parts
from runs.calls.claims import Claims
from runs.calls.keys import OFF, RunKeys
from runs.calls.sending import _recalled, end
from runs.calls.signing import WorkerKey
from runs.calls.stream import MAX_STREAMS, _counted
from runs.calls.way_back import WayBack
from runs.models import Attempt
from tests.runs.broker import running_broker
from tests.server.running import until

LINE = "0" * 16
QUEUE = uuid4()
CELERY_QUEUE = keys.celery_queue_of(QUEUE)


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    with running_broker() as client:
        yield client


@pytest.fixture(autouse=True)
def broker(server: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    server.flushall()
    monkeypatch.setattr("runs.calls.keys.broker", lambda: server)
    monkeypatch.setattr("runs.calls.sending._broadcast", lambda *_, **__: None)
    return server


@pytest.fixture
def names() -> RunKeys:
    return RunKeys(uuid4(), 1, LINE)


def calls(name: str, size: int) -> Exchange:
    return Exchange(LINE, messages=[[SentCall(name, b"x" * size)]])


def send(broker: redis.Redis, names: RunKeys, exchange: Exchange) -> str:
    """Admit messages and put something into the queue for each, as Celery does."""
    said = admit(exchange, names, QUEUE)
    if not said:
        for _ in exchange.messages:
            broker.lpush(CELERY_QUEUE, b"a message")
    return said


def test_what_waits_in_a_queue_for_a_run_is_bounded_until_a_worker_takes_it(
    broker: redis.Redis, names: RunKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_RUN_BYTES", 10_000)
    first, second = calls("a", 5_000), calls("b", 5_000)
    assert send(broker, names, first) == ""
    assert send(broker, names, second) == FULL
    other_line = RunKeys(*names.attempt.rsplit(".", 1), "1" * 16)  # type: ignore[arg-type]
    assert send(broker, other_line, second) == FULL, "lines share the bound of their run"
    assert send(broker, RunKeys(uuid4(), 1, LINE), second) == "", "another run has its own"
    end(names)
    assert _recalled(names, ["a"]) == ["a"]
    assert send(broker, names, second) == FULL, "what was given up waits in the queue as before"
    Claims(uuid4()).take(names, first.messages[0], CELERY_QUEUE, refuse=False)
    assert send(broker, names, second) == ""


def test_a_queue_holds_so_many_bytes_of_all_runs_and_none_once_it_is_empty(
    broker: redis.Redis, names: RunKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_QUEUE_BYTES", 20_000)
    assert send(broker, RunKeys(uuid4(), 1, LINE), calls("a", 15_000)) == ""
    assert send(broker, names, calls("b", 5_000)) == FULL
    assert admit(calls("b", 5_000), names, uuid4()) == "", "another queue has its own"
    broker.delete(CELERY_QUEUE)  # also where a worker died with what it had fetched
    assert send(broker, names, calls("b", 5_000)) == ""


def test_parts_are_bounded_until_they_are_fetched_or_dropped(
    broker: redis.Redis, names: RunKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_PARTS", 2)

    def put(call: str, *numbers: int) -> str:
        said = admit(Exchange(LINE, parts=[(call, number, b"x") for number in numbers]), names, QUEUE)
        if not said:
            for number in numbers:
                broker.set(names.part(call, number), b"x")
        return said

    assert put("a.b.1", 0, 1) == ""
    assert put("a.b.1", 0, 1) == "", "sent again they are the same"
    assert put("c", 0) == PARTS
    assert Claims(uuid4()).payload(names, "a.b.1", 2, hashlib.sha256(b"xx").digest()) == b"xx"
    assert put("c", 0, 1) == ""
    forget_parts(names, ["c"])
    assert put("d", 0) == ""
    assert broker.keys("*.part.*") == [names.part("d", 0).encode()]


def test_lines_are_bounded_until_one_is_over(names: RunKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_LINES", 1)
    other = RunKeys(*names.attempt.rsplit(".", 1), "1" * 16)  # type: ignore[arg-type]
    assert [admit(Exchange(line.line), line, QUEUE) for line in (names, names, other)] == ["", "", LINES]
    end(names)
    assert admit(Exchange(other.line), other, QUEUE) == ""


def test_what_a_worker_says_of_a_line_that_is_over_is_dropped(broker: redis.Redis, names: RunKeys) -> None:
    back = WayBack(names, uuid4(), WorkerKey())
    end(names)
    back.say(Message.OUT, "a", b"too late")
    until(lambda: back.is_empty, 30)
    back.close()
    assert not broker.exists(names.stream)


def test_ids_that_are_taken_back_and_stopped_are_bounded(names: RunKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_GIVEN_UP", 5)
    asked = Exchange(LINE, recall=["a"], stop=["a"], kill=["b"])
    assert [admit(asked, names, QUEUE) for _ in range(2)] == ["", GIVEN_UP]


def test_a_run_has_so_many_streams() -> None:
    attempt = Attempt(pk=1)
    streams = [_counted(attempt) for _ in range(MAX_STREAMS)]
    for stream in streams:
        stream.__enter__()
    with pytest.raises(Busy, match="streams of task runs"), _counted(attempt):
        pass
    with _counted(Attempt(pk=2)):
        pass
    streams[0].__exit__(None, None, None)
    with _counted(attempt):
        pass


def test_what_was_taken_back_is_so_where_it_is_asked_again(broker: redis.Redis, names: RunKeys) -> None:
    broker.set(names.claim("theirs"), b"worker")
    for _ in range(2):
        assert _recalled(names, ["a", "theirs"]) == ["a"]
    assert broker.get(names.claim("a")) == OFF


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": [[SentCall("a", b"x" * (MAX_MESSAGE + 1))]]},
        {"messages": [[SentCall("a", b"x" * MAX_MESSAGE), SentCall("b", b"x")]]},
        {"messages": [[SentCall("a", b"", 65, bytes(32))]]},
        {"messages": [[SentCall("a", b"", 1, b"")]]},
        {"messages": [[SentCall("a", b"", 0, bytes(1000))]]},
        {"parts": [("a", 64, b"x")]},
        {"parts": [("a", -1, b"x")]},
        {"parts": [("a", 0, b"x" * (PART + 1))]},
    ],
)
def test_what_no_flows_process_sends_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="payload"):
        _read(encode(Exchange(LINE, **asked)))
