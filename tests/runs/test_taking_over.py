"""Attempts that go on where their worker is gone: who takes them over, and who does not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Flow, WorkQueue
from orchestrator.sdk.events import AnyFact, FlowRunState, Header, encode
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import claims, reaper, taking_over, workers
from runs.authentication import run_token
from runs.clock import database_now
from runs.launch import start_message
from runs.models import Attempt, FlowRun, Trigger, Worker
from runs.taking_over import take_over_some
from teams.models import Team

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def team(transactional_db: None) -> Team:
    return Team.default()


@pytest.fixture
def make_worker(team: Team) -> Callable[..., Worker]:
    def make(host: str = "h1", **fields: Any) -> Worker:
        worker = Worker(id=uuid7(), name="w", host=host, pid=1, places=4, **fields)
        workers.sign_on(worker)
        return worker

    return make


@pytest.fixture
def claimed(team: Team, make_worker: Callable[..., Worker]) -> Callable[..., tuple[Worker, Attempt]]:
    """Makes a run that a worker of machine h1 has, and that outlives it."""

    def make(outlives: str = "any") -> tuple[Worker, Attempt]:
        flow, _ = Flow.objects.get_or_create(team=team, name="etl", slug="etl")
        queue = WorkQueue.default(team)
        now = timezone.now() - timedelta(seconds=1)
        FlowRun.objects.create(
            team=team, flow=flow, queue=queue, name="calm-owl", entrypoint="etl.py:etl", trigger=Trigger.API,
            state_type=StateType.SCHEDULED, state_name="Scheduled", state_time=now, expected_start=now,
        )  # fmt: skip
        worker = make_worker()
        claim = claims.claim(worker)
        assert claim is not None
        Attempt.objects.filter(pk=claim.attempt.pk).update(outlives_worker=outlives or None, state_type="RUNNING")
        FlowRun.objects.filter(pk=claim.run.pk).update(state_type="RUNNING", state_name="Running")
        claim.attempt.refresh_from_db()
        return worker, claim.attempt

    return make


def test_another_worker_follows_what_goes_on_without_its_own(
    claimed: Callable[..., tuple[Worker, Attempt]], make_worker: Callable[..., Worker]
) -> None:
    worker, attempt = claimed()
    other = make_worker("h2")
    assert take_over_some(other, 4) == []  # it lives
    workers.sign_off(worker)
    (taken,) = take_over_some(other, 4)
    assert (taken.run.pk, taken.attempt.pk) == (attempt.flow_run_id, attempt.pk)
    start = start_message(taken)
    assert (start.goes_on, start.attempt, start.journal) == (True, 1, str(attempt.journal))
    assert take_over_some(make_worker("h3"), 4) == []  # it is followed
    assert claims.renew({taken.run.pk: 1}).lost == frozenset()
    assert Attempt.objects.count() == 1


def test_a_worker_that_fell_silent_is_gone_and_hears_that_it_lost_the_run(
    claimed: Callable[..., tuple[Worker, Attempt]], make_worker: Callable[..., Worker]
) -> None:
    worker, attempt = claimed()
    Worker.objects.filter(pk=worker.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=31))
    assert len(take_over_some(make_worker("h2"), 4)) == 1
    assert workers.renew(worker, {attempt.flow_run_id: 1}).lost == {attempt.flow_run_id}


def test_a_container_is_followed_on_its_own_machine_alone(
    claimed: Callable[..., tuple[Worker, Attempt]], make_worker: Callable[..., Worker]
) -> None:
    worker, _ = claimed("host")
    workers.sign_off(worker)
    assert take_over_some(make_worker("h2"), 4) == []
    assert len(take_over_some(make_worker("h1"), 4)) == 1


@pytest.mark.parametrize("ends", ["process", "final", "other queue"])
def test_what_ended_or_is_not_served_is_left(
    claimed: Callable[..., tuple[Worker, Attempt]], make_worker: Callable[..., Worker], ends: str
) -> None:
    worker, attempt = claimed("" if ends == "process" else "any")
    workers.sign_off(worker)
    if ends == "final":
        FlowRun.objects.filter(pk=attempt.flow_run_id).update(state_type="CANCELLED")
    elsewhere = WorkQueue.objects.create(team=Team.default(), name="far")
    other = make_worker(queues=[str(elsewhere.pk)] if ends == "other queue" else [])
    assert take_over_some(other, 4) == []


def test_a_retry_within_the_process_is_followed_by_the_attempt_that_began_it(
    claimed: Callable[..., tuple[Worker, Attempt]], make_worker: Callable[..., Worker]
) -> None:
    worker, attempt = claimed()
    said = Said(attempt)
    said.post(FlowRunState(n=1, t=1, run=str(attempt.flow_run_id), attempt=2, type="RUNNING", name="Retrying"))
    assert FlowRun.objects.get().attempt == 2
    workers.sign_off(worker)
    (taken,) = take_over_some(make_worker("h2"), 4)
    assert taken.attempt.number == 1
    assert set(Attempt.objects.values_list("worker__host", flat=True)) == {"h2"}
    assert claims.renew({taken.run.pk: 1}).lost == frozenset()


def test_a_lost_worker_leaves_time_to_take_over_before_the_run_is_given_up(
    claimed: Callable[..., tuple[Worker, Attempt]],
) -> None:
    claimed()
    now = database_now()
    reaper.reap(now)
    FlowRun.objects.update(lease_expires_at=now - timedelta(seconds=10))
    assert reaper.reap(now) == 0
    FlowRun.objects.update(lease_expires_at=now - timedelta(seconds=31))
    assert reaper.reap(now) == 1


def test_looking_for_them_reads_the_few_that_there_are(claimed: Callable[..., tuple[Worker, Attempt]]) -> None:
    _, attempt = claimed()
    now = timezone.now()
    fields = {"flow_run_id": attempt.flow_run_id, "state_type": "COMPLETED", "created_at": now, "end_time": now}
    Attempt.objects.bulk_create(Attempt(number=number, outlives_worker="any", **fields) for number in range(2, 3000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plan = taking_over._left(now).order_by().values("pk")[:1].explain()
    assert "attempt_outlives" in plan, plan


class Said:
    """An attempt that ships its own facts."""

    def __init__(self, attempt: Attempt) -> None:
        self.header = Header(journal=str(attempt.journal), run=str(attempt.flow_run_id), attempt=attempt.number)
        self.client = APIClient(headers={"Authorization": f"Bearer {run_token(attempt)}"})

    def post(self, *facts: AnyFact) -> dict[str, Any]:
        body = b"".join(encode(line) + b"\n" for line in (self.header, *facts))
        answer = self.client.post("/api/ingest/", body, content_type="application/x-ndjson")
        assert answer.status_code == 200, answer.data
        return dict(answer.data)


@pytest.mark.parametrize(("outlives", "extended"), [("any", True), ("host", True), ("", False)])
def test_its_own_facts_say_that_it_lives(
    claimed: Callable[..., tuple[Worker, Attempt]], outlives: str, extended: bool
) -> None:
    _, attempt = claimed(outlives)
    FlowRun.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=1))
    Said(attempt).post()
    assert (FlowRun.objects.get().lease_expires_at > timezone.now() + timedelta(seconds=20)) is extended


def test_it_is_told_to_end_when_the_server_decided_so(claimed: Callable[..., tuple[Worker, Attempt]]) -> None:
    _, attempt = claimed()
    said = Said(attempt)
    run = str(attempt.flow_run_id)
    assert "stop" not in said.post()
    FlowRun.objects.update(state_type="CANCELLING")  # its supervisor tells it
    assert "stop" not in said.post()
    FlowRun.objects.update(state_type="CANCELLED", ended_by="")
    assert said.post()["stop"] == "cancelled"
    FlowRun.objects.update(state_type="CRASHED", ended_by="lapse")  # its own word outweighs that
    assert "stop" not in said.post()
    FlowRun.objects.update(state_type="SCHEDULED", ended_by="")
    FlowRun.objects.update(state_type="RUNNING", attempt=2)
    assert said.post()["stop"] == "its worker lost its lease"
    FlowRun.objects.update(attempt=1)
    assert "stop" not in said.post(FlowRunState(n=1, t=1, run=run, type="COMPLETED", name="Completed"))
