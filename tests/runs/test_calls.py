"""Signatures on calls, and what a worker's desk refuses before it looks into anything."""

import time
from base64 import b64encode
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from flows.models import Flow, WorkQueue
from orchestrator.sdk.runners.call_wire import SentCall
from runs.calls.sending import queue_of
from runs.calls.signing import CallMessage, Forged, WorkerKey, check_said, opened, public_keys, said_by, seal
from runs.calls.taking import Desk
from runs.models import Attempt, FlowRun
from teams.models import Team

QUEUE = "orchestrator.tasks.1"


def message(**changes: object) -> CallMessage:
    fields = {"run": str(uuid4()), "attempt": 1, "line": "0" * 16, "team": "t", "queue": QUEUE, "sent_at": time.time()}
    return CallMessage(**{**fields, "calls": [SentCall("a.1.1", b"payload")], **changes})


def test_a_message_is_opened_only_as_the_server_signed_it() -> None:
    data, signature = seal(message())
    assert opened(data, signature, public_keys()).calls == [SentCall("a.1.1", b"payload")]
    for altered in (data.replace(b"payload", b"PAYLOAD"), data.replace(b"tasks.1", b"tasks.2"), data + b"x", b""):
        with pytest.raises(Forged):
            opened(altered, signature, public_keys())
    for wrong in (b"", signature[:-1], bytes(64)):
        with pytest.raises(Forged):
            opened(data, wrong, public_keys())
    with pytest.raises(Forged):
        opened(data, signature, [WorkerKey().public])
    with pytest.raises(Forged):
        opened(data, signature, [])


def test_what_an_older_secret_key_signed_is_still_taken(settings: pytest.FixtureRequest) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "old", []  # type: ignore[attr-defined]
    data, signature = seal(message())
    before = public_keys()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]  # type: ignore[attr-defined]
    assert public_keys()[1:] == before
    assert opened(data, signature, public_keys()).attempt == 1


def test_a_workers_words_are_for_one_run_and_said_once() -> None:
    key, worker = WorkerKey(), uuid4()
    signature = key.sign(said_by(worker, "run.1.line", 7, b"frames"))
    check_said(key.public, signature, said_by(worker, "run.1.line", 7, b"frames"))
    for other in (
        said_by(worker, "run.1.line", 8, b"frames"),
        said_by(worker, "run.2.line", 7, b"frames"),
        said_by(worker, "run.1.line", 7, b"Frames"),
        said_by(uuid4(), "run.1.line", 7, b"frames"),
    ):
        with pytest.raises(Forged):
            check_said(key.public, signature, other)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Desk:
    """A desk that may not reach a broker: what it refuses, it refuses before."""

    def unreachable() -> None:
        raise AssertionError("it went on to the broker")

    monkeypatch.setattr("runs.calls.keys.broker", unreachable)
    made = Desk(uuid4(), "w", WorkerKey(), 2, {}, "/", lambda is_open: None)
    made.server_keys, made.queues = public_keys(), {QUEUE, "orchestrator.tasks.2"}
    return made


@pytest.mark.parametrize(
    ("arrived_on", "reason"),
    [
        ("orchestrator.tasks.2", "was sent on orchestrator.tasks.1 and came on orchestrator.tasks.2"),  # served, too
        ("orchestrator.tasks.3", "came on orchestrator.tasks.3"),
    ],
)
def test_a_message_counts_on_its_own_queue_alone(
    desk: Desk, caplog: pytest.LogCaptureFixture, arrived_on: str, reason: str
) -> None:
    data, signature = seal(message())
    desk.take(b64encode(data).decode(), signature.hex(), arrived_on)
    assert reason in caplog.text


def test_a_message_of_a_queue_that_is_not_served_is_refused(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    data, signature = seal(message(queue="orchestrator.tasks.9"))
    desk.take(b64encode(data).decode(), signature.hex(), "orchestrator.tasks.9")
    assert "is refused" in caplog.text


@pytest.mark.parametrize("garbage", [("", ""), ("!", "00"), ("AAAA", "zz"), ("AAAA", "00" * 64)])
def test_garbage_is_refused(desk: Desk, caplog: pytest.LogCaptureFixture, garbage: tuple[str, str]) -> None:
    desk.take(*garbage, QUEUE)
    assert "is refused" in caplog.text


def test_what_is_signed_goes_on_to_its_claim(desk: Desk) -> None:
    data, signature = seal(message())
    with pytest.raises(AssertionError, match="went on to the broker"):
        desk.take(b64encode(data).decode(), signature.hex(), QUEUE)


@pytest.mark.django_db
def test_a_run_hands_out_to_queues_of_its_team_alone() -> None:
    team, other = Team.default(), Team.objects.create(name="other")
    own, gpu, foreign = (
        WorkQueue.objects.create(team=owner, name=name)
        for owner, name in ((team, "own"), (team, "gpu"), (other, "far"))
    )
    flow = Flow.objects.create(team=team, name="f")
    now = timezone.now()
    run = FlowRun.objects.create(team=team, flow=flow, queue=own, name="r", state_time=now, expected_start=now)
    attempt = Attempt(flow_run=run, number=1)
    assert queue_of("", attempt) == own
    assert queue_of("gpu", attempt) == gpu
    for name in (foreign.name, str(foreign.pk), "nowhere"):
        with pytest.raises(ValidationError, match="There is no work queue"):
            queue_of(name, attempt)
    run.queue = None  # a script's that was brought in
    assert queue_of("", attempt) == WorkQueue.default(team)
