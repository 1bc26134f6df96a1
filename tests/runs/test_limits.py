"""Limits of queues and deployments are never overshot, and hold up nobody else."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.states import StateType
from runs import actions, bells, claims, queues
from runs.models import FlowRun, Trigger, Worker
from teams.models import Team
from tests.racing import race
from tests.runs.scripts import Process

NOW = timezone.now()
Make = Callable[..., FlowRun]


@pytest.fixture
def queue(db: None) -> WorkQueue:
    return WorkQueue.default(Team.default())


@pytest.fixture
def worker(db: None) -> Worker:
    return Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=NOW, heartbeat_at=NOW)


@pytest.fixture
def deployment(queue: WorkQueue) -> Deployment:
    flow = Flow.objects.create(team=queue.team, name="etl")
    return Deployment.objects.create(team=queue.team, flow=flow, name="nightly", entrypoint="etl.py:etl", queue=queue)


@pytest.fixture
def make_run(deployment: Deployment) -> Make:
    def make(of: Deployment | None = deployment, **fields: object) -> FlowRun:
        values = {
            "queue": deployment.queue,
            "state_type": StateType.SCHEDULED,
            "expected_start": NOW,
            "name": "r",
            **fields,
        }
        return FlowRun.objects.create(
            team=deployment.team, flow=deployment.flow, deployment=of, state_time=NOW, **values
        )

    return make


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Queues that were rung."""
    rung: list[UUID] = []
    monkeypatch.setattr(bells, "ring", lambda queue, at=None: rung.append(queue.pk))
    return rung


def claimed(worker: Worker) -> list[UUID]:
    return [claim.run.pk for claim in iter(lambda: claims.claim(worker), None)]


# Queues


def test_a_limited_queue_has_no_more_in_progress_than_its_limit(worker: Worker, make_run: Make) -> None:
    queues.change_queue(WorkQueue.objects.get(), limit=2)
    runs = [make_run(expected_start=NOW - timedelta(minutes=3 - index)) for index in range(3)]
    assert claimed(worker) == [run.pk for run in runs[:2]]
    for state in ("RUNNING", "CANCELLING", "PAUSED"):
        FlowRun.objects.filter(pk=runs[0].pk).update(state_type=state)
        assert claimed(worker) == []
    FlowRun.objects.filter(pk=runs[0].pk).update(state_type="CRASHED")
    assert claimed(worker) == [runs[2].pk]


def test_a_full_queue_holds_up_no_other(worker: Worker, queue: WorkQueue, make_run: Make) -> None:
    full = queues.create_queue(queue.team, name="warehouse", limit=1, priority=5)
    first, second = make_run(queue=full), make_run(queue=full)
    other = make_run()
    assert claimed(worker) == [first.pk, other.pk]
    assert second.pk not in claimed(worker)


def test_queues_of_higher_priority_are_served_first(worker: Worker, queue: WorkQueue, make_run: Make) -> None:
    urgent = queues.create_queue(queue.team, name="urgent", priority=5)
    idle = queues.create_queue(queue.team, name="idle", priority=-5)
    last = make_run(queue=idle, expected_start=NOW - timedelta(hours=1))
    middle = make_run(priority=9)
    first = make_run(queue=urgent)
    assert claimed(worker) == [first.pk, middle.pk, last.pk]


# Deployments


def test_a_full_deployment_is_passed_over(worker: Worker, deployment: Deployment, make_run: Make) -> None:
    actions.update_deployment(deployment, limit=1)
    first = make_run(expected_start=NOW - timedelta(minutes=2))
    second = make_run(expected_start=NOW - timedelta(minutes=1))
    other = make_run(of=None)
    assert claimed(worker) == [first.pk, other.pk]
    FlowRun.objects.filter(pk=first.pk).update(state_type="COMPLETED")
    assert claimed(worker) == [second.pk]


def test_one_more_can_be_turned_away_instead(worker: Worker, deployment: Deployment, make_run: Make) -> None:
    actions.update_deployment(deployment, limit=1, collision="cancel")
    first = make_run(name="swift-otter", expected_start=NOW - timedelta(minutes=2))
    second = make_run(revision=3)
    other = make_run(of=None)
    assert claimed(worker) == [first.pk, other.pk]
    second.refresh_from_db()
    assert (second.state_type, second.state_name, second.revision) == ("CANCELLED", "Skipped", 4)
    assert second.state_message == "Its deployment runs 1 at once at most; “swift-otter” was in progress."
    assert second.end_time is not None


def test_a_retry_is_not_turned_away(worker: Worker, deployment: Deployment, make_run: Make) -> None:
    actions.update_deployment(deployment, limit=1, collision="cancel")
    make_run(state_type="RUNNING")
    retried = make_run(attempt=1, state_name="AwaitingRetry")
    assert claimed(worker) == []
    retried.refresh_from_db()
    assert retried.state_type == "SCHEDULED"


# What makes room wakes a worker


def test_the_end_of_a_run_under_a_limit_rings_its_queue(
    worker: Worker, queue: WorkQueue, make_run: Make, rung: list[UUID]
) -> None:
    queues.change_queue(queue, limit=1)
    make_run()
    claim = claims.claim(worker)
    assert claim is not None
    rung.clear()
    process = Process(run=str(claim.run.pk), journal=str(claim.attempt.journal))
    process.state("RUNNING")
    process.ingest()
    assert rung == []
    process.state("COMPLETED")
    process.ingest()
    assert rung == [queue.pk]


def test_the_end_of_a_run_of_a_limited_deployment_rings_its_queue(
    deployment: Deployment, make_run: Make, rung: list[UUID]
) -> None:
    actions.update_deployment(deployment, limit=1)
    run = make_run()
    rung.clear()
    actions.cancel_flow_run(run)
    assert rung == [deployment.queue_id]


def test_without_limits_an_end_rings_nobody(make_run: Make, rung: list[UUID]) -> None:
    actions.cancel_flow_run(make_run())
    assert rung == []


def test_raising_a_limit_wakes_a_worker(queue: WorkQueue, deployment: Deployment, rung: list[UUID]) -> None:
    queues.change_queue(queue, limit=3)
    actions.update_deployment(deployment, limit=3)
    assert rung == [queue.pk, queue.pk]


def test_claims_without_limits_cost_no_more_queries(worker: Worker, make_run: Make) -> None:
    make_run()
    with CaptureQueriesContext(connection) as queries:
        assert claims.claim(worker) is not None
    statements = [query["sql"] for query in queries if not query["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT"))]
    assert len([sql for sql in statements if "COUNT(" in sql]) == 0


# Bad input


@pytest.mark.parametrize("limit", [0, -1, 10_001, "3", True, 1.5])
def test_a_limit_is_a_number_from_one(queue: WorkQueue, deployment: Deployment, limit: object) -> None:
    with pytest.raises(ValidationError, match="Write a number from 1"):
        queues.change_queue(queue, limit=limit)
    with pytest.raises(ValidationError, match="Write a number from 1"):
        actions.update_deployment(deployment, limit=limit)


def test_names_of_queues_are_checked(queue: WorkQueue) -> None:
    queues.create_queue(queue.team, name="warehouse")
    for name, words in [("", "Write the name"), ("x" * 101, "Write the name"), ("warehouse", "already")]:
        with pytest.raises(ValidationError, match=words):
            queues.create_queue(queue.team, name=name)
    with pytest.raises(ValidationError, match="keeps its name"):
        queues.change_queue(queue, name="other")
    with pytest.raises(ValidationError, match="wait or cancel"):
        actions.update_deployment(make_deployment(queue), collision="explode")
    with pytest.raises(ValidationError, match="no block “none”"):
        actions.update_deployment(make_deployment(queue, name="y"), infrastructure="none")
    with pytest.raises(ValidationError, match="from -1,000"):
        queues.change_queue(queue, priority=10**6)


def make_deployment(queue: WorkQueue, name: str = "nightly") -> Deployment:
    flow, _ = Flow.objects.get_or_create(team=queue.team, slug="etl", defaults={"name": "etl"})
    return Deployment.objects.create(team=queue.team, flow=flow, name=name, entrypoint="etl.py:etl", queue=queue)


def test_a_queue_in_use_stays(queue: WorkQueue, make_run: Make) -> None:
    with pytest.raises(ValidationError, match="whatever names no other"):
        queues.delete_queue(queue)
    used = queues.create_queue(queue.team, name="used")
    deployment = make_deployment(used, "weekly")
    with pytest.raises(ValidationError, match=r"is used by etl/weekly\."):
        queues.delete_queue(used)
    run, _ = actions.create_flow_run(deployment, trigger=Trigger.API)
    actions.update_deployment(deployment, queue="default")
    with pytest.raises(ValidationError, match="Runs wait"):
        queues.delete_queue(used)
    actions.cancel_flow_run(run)
    queues.delete_queue(used)
    assert not WorkQueue.objects.filter(name="used").exists()


# Many at once

_MAKE = """
import time
from django.utils import timezone
from flows.models import Deployment, Flow, WorkQueue
from runs import claims
from runs.models import FlowRun, Worker
from teams.models import Team
team = Team.default(); now = timezone.now()
narrow = WorkQueue.objects.create(team=team, name="narrow", limit=2)
wide = WorkQueue.default(team)
flow = Flow.objects.create(team=team, name="etl")
one = Deployment.objects.create(team=team, flow=flow, name="one", entrypoint="x:y", queue=wide, limit=1)
def run(queue, deployment=None):
    of = {"team": team, "flow": flow, "queue": queue, "deployment": deployment}
    return FlowRun(name="r", state_time=now, expected_start=now, **of)
FlowRun.objects.bulk_create([run(narrow) for _ in range(40)] + [run(wide, one) for _ in range(40)])
"""
# Each process holds what it claimed for a moment, and writes down from when to when, by one clock.
_WORK = """
worker = Worker.objects.create(name="w", host="h", pid=1, places=1, started_at=now, heartbeat_at=now)
wait_for_all()
held = []
while FlowRun.objects.exclude(state_type="COMPLETED").exists():
    claim = claims.claim(worker)
    if claim is None:
        continue
    began = time.monotonic()
    time.sleep(0.002)
    held.append(("one" if claim.run.deployment_id else "narrow", began, time.monotonic()))
    FlowRun.objects.filter(pk=claim.run.pk).update(state_type="COMPLETED", lease_expires_at=None)
result = held
"""


def test_many_workers_at_once_never_overshoot(environment: dict[str, str]) -> None:
    """Four real processes on one database; what each held overlaps no more than the limits allow."""
    workers, _ = race(environment, _MAKE, _WORK, 4)
    held = [tuple(one) for worker in workers for one in worker]
    assert len(held) == 80
    assert _most_at_once([span for span in held if span[0] == "one"]) == 1
    assert _most_at_once([span for span in held if span[0] == "narrow"]) <= 2


def _most_at_once(spans: list[tuple[str, float, float]]) -> int:
    edges = sorted([(began, 1) for _, began, _ in spans] + [(ended, -1) for *_, ended in spans])
    most = now = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most
