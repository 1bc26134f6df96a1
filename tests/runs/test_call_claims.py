"""Claims of calls in a real broker: a call begins once, and only with the worker whose claim stands."""

import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from orchestrator.sdk.runners.call_wire import RETURNED, TAKEN, SentCall, frames_of
from runs.calls import keys
from runs.calls.claims import Begun, Claims
from runs.calls.keys import OFF, RunKeys
from runs.calls.processes import TakenCall
from runs.calls.signing import CallMessage, WorkerKey, public_keys, seal
from runs.calls.taking import Desk
from tests.runs.broker import running_broker

QUEUE = "orchestrator.tasks.1"
ANOTHER = b"0" * 32  #: the id of another worker


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    with running_broker() as client:
        yield client


@pytest.fixture
def broker(server: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    server.flushall()
    monkeypatch.setattr("runs.calls.keys.broker", lambda: server)
    return server


@pytest.fixture
def names() -> RunKeys:
    return RunKeys(uuid4(), 1, "0" * 16)


def test_a_call_begins_with_the_worker_that_claimed_it(broker: redis.Redis, names: RunKeys) -> None:
    worker = uuid4()
    claims = Claims(worker)
    assert claims.take(names, [SentCall("a")], QUEUE, refuse=False).mine == [SentCall("a")]
    for _ in range(2):  # where the first answer was lost, it is asked again
        assert claims.begin(names, ["a"]) == Begun()
        assert broker.get(names.claim("a")) == worker.hex.encode() + keys.BEGUN


@pytest.mark.parametrize("claim", [OFF, ANOTHER, ANOTHER + keys.BEGUN])
def test_a_call_that_was_given_up_or_is_anothers_does_not_begin(
    broker: redis.Redis, names: RunKeys, claim: bytes
) -> None:
    claims = Claims(uuid4())
    claims.take(names, [SentCall("a"), SentCall("b")], QUEUE, refuse=False)
    broker.set(names.claim("a"), claim)
    assert claims.begin(names, ["a", "b"]) == Begun(off=frozenset("a"))
    assert broker.get(names.claim("a")) == claim


def test_a_call_whose_claim_the_broker_forgot_begins_nowhere(broker: redis.Redis, names: RunKeys) -> None:
    claims = Claims(uuid4())
    claims.take(names, [SentCall("a")], QUEUE, refuse=False)
    broker.flushall()
    assert claims.begin(names, ["a"]) == Begun(off=frozenset("a"), gone=frozenset("a"))
    assert Claims(uuid4()).take(names, [SentCall("a")], QUEUE, refuse=False).mine == []


@pytest.mark.parametrize("kill", [False, True])
def test_a_call_that_is_stopped_while_it_begins_is_given_back(
    broker: redis.Redis, names: RunKeys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kill: bool
) -> None:
    desk = Desk(uuid4(), "w", WorkerKey(), 1, {}, str(tmp_path), lambda is_open: None)
    desk.server_keys, desk.queues = public_keys(), {QUEUE}
    run, attempt, line = names.id.split(".")
    begins = desk.begins

    def stopped_meanwhile(call: TakenCall) -> bool:
        may = begins(call)
        desk.stop_calls(names.id, [call.id], kill=kill)
        return may

    monkeypatch.setattr(desk, "begins", stopped_meanwhile)
    broker.set(names.wanted, b"1")
    message = CallMessage(run, int(attempt), line, "t", QUEUE, time.time(), [SentCall("a", b"never executed")])
    data, signature = seal(message)
    desk.take(b64encode(data).decode(), signature.hex(), QUEUE)
    kinds: list[int] = []
    while len(kinds) < 2:
        answer: Any = broker.xread({names.stream: "0"}, block=30_000)
        kinds = [kind for _, entry in answer[0][1] for kind, _, _ in frames_of(entry[b"f"])]
    desk.stop()
    assert kinds == [TAKEN, RETURNED]
