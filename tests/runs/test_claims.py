"""Claims and leases: who runs what, decided once."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import claims
from runs.models import Attempt, FlowRun, Worker
from teams.models import Team
from tests.racing import race

NOW = timezone.now()


@pytest.fixture
def queue(db: None) -> WorkQueue:
    return WorkQueue.default(Team.default())


@pytest.fixture
def worker(db: None) -> Worker:
    return Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=NOW, heartbeat_at=NOW)


@pytest.fixture
def make_run(queue: WorkQueue) -> Callable[..., FlowRun]:
    flow = Flow.objects.create(team=queue.team, name="etl")

    def make(due: datetime = NOW, **fields: object) -> FlowRun:
        values = {"queue": queue, "state_type": StateType.SCHEDULED, **fields}
        return FlowRun.objects.create(
            team=queue.team, flow=flow, name="r", state_time=NOW, expected_start=due, **values
        )

    return make


def ids(worker: Worker) -> list[UUID]:
    claimed = iter(lambda: claims.claim(worker), None)
    return [claim.run.pk for claim in claimed]


def test_higher_priority_is_claimed_first_then_what_was_due_first(
    worker: Worker, make_run: Callable[..., FlowRun]
) -> None:
    late = make_run(NOW - timedelta(minutes=1))
    early = make_run(NOW - timedelta(minutes=2))
    urgent = make_run(NOW, priority=5)
    assert ids(worker) == [urgent.pk, early.pk, late.pk]


def test_priority_counts_across_queues(worker: Worker, queue: WorkQueue, make_run: Callable[..., FlowRun]) -> None:
    other = WorkQueue.objects.create(team=queue.team, name="other")
    plain = make_run(NOW - timedelta(minutes=1))
    urgent = make_run(NOW, priority=1, queue=other)
    assert ids(worker) == [urgent.pk, plain.pk]


def test_runs_that_are_not_due_or_on_a_paused_queue_are_left(
    worker: Worker, queue: WorkQueue, make_run: Callable[..., FlowRun]
) -> None:
    make_run(timezone.now() + timedelta(minutes=5))
    make_run(queue=WorkQueue.objects.create(team=queue.team, name="paused", paused=True))
    make_run(queue=None)
    make_run(attempt=1, state_name="AwaitingRetry", lease_expires_at=NOW)  # its own process goes on with it
    assert claims.claim(worker) is None


def test_a_worker_claims_only_from_the_queues_it_serves(
    worker: Worker, queue: WorkQueue, make_run: Callable[..., FlowRun]
) -> None:
    other = WorkQueue.objects.create(team=queue.team, name="other")
    make_run()
    theirs = make_run(queue=other)
    worker.queues = [str(other.pk)]
    assert ids(worker) == [theirs.pk]


def test_a_claim_makes_the_next_attempt_with_a_lease_and_a_journal(
    worker: Worker, make_run: Callable[..., FlowRun]
) -> None:
    run = make_run(attempt=1, error={"type": "ValueError"}, ended_by="run", end_time=NOW)
    claim = claims.claim(worker)
    assert claim is not None
    run.refresh_from_db()
    assert (run.attempt, run.state_type, run.error, run.ended_by, run.end_time) == (2, "PENDING", None, "", None)
    assert run.lease_expires_at is not None
    assert timedelta(seconds=15) < run.lease_expires_at - timezone.now() <= timedelta(seconds=20)
    attempt = Attempt.objects.get(flow_run=run)
    assert (attempt.number, attempt.worker_id) == (2, worker.pk)
    assert attempt.journal is not None
    assert attempt.journal.version == 7
    assert run.revision == 1


def test_a_released_claim_waits_again_as_if_it_had_not_been_claimed(
    worker: Worker, make_run: Callable[..., FlowRun]
) -> None:
    run = make_run()
    claim = claims.claim(worker)
    assert claim is not None
    assert claims.release(run.pk, 1)
    assert not claims.release(run.pk, 1)
    run.refresh_from_db()
    assert (run.state_type, run.attempt, run.attempts.count(), run.lease_expires_at) == ("SCHEDULED", 0, 0, None)
    assert ids(worker) == [run.pk]


def test_renewal_extends_what_is_held_and_says_what_to_cancel_and_what_was_lost(
    worker: Worker, make_run: Callable[..., FlowRun]
) -> None:
    old = NOW - timedelta(seconds=5)
    held = {"state_type": StateType.RUNNING, "attempt": 1, "lease_expires_at": old}
    going = make_run(**held)
    cancelling = make_run(**{**held, "state_type": StateType.CANCELLING, "cancel_requested_at": NOW})
    superseded = make_run(**{**held, "attempt": 2})
    reaped = make_run(**{**held, "state_type": StateType.CRASHED, "ended_by": "lapse"})
    rescheduled = make_run(**{**held, "state_type": StateType.SCHEDULED, "lease_expires_at": None})
    between_attempts = make_run(**{**held, "state_type": StateType.SCHEDULED})
    finished = make_run(**{**held, "state_type": StateType.COMPLETED, "ended_by": "run"})
    deleted = uuid7()
    everything = [going, cancelling, superseded, reaped, rescheduled, between_attempts, finished]
    renewal = claims.renew({**{run.pk: 1 for run in everything}, deleted: 1})
    assert renewal.cancel == {cancelling.pk}
    assert renewal.lost == {superseded.pk, reaped.pk, rescheduled.pk, deleted}
    extended = FlowRun.objects.filter(lease_expires_at__gt=NOW).values_list("pk", flat=True)
    assert set(extended) == {going.pk, cancelling.pk, between_attempts.pk}


def test_the_claim_reads_the_partial_index(queue: WorkQueue, make_run: Callable[..., FlowRun]) -> None:
    ended = [
        FlowRun(team=queue.team, flow=Flow.objects.get(), queue=queue, name="r", state_type=StateType.COMPLETED,
                state_time=NOW, expected_start=NOW)
        for _ in range(2000)
    ]  # fmt: skip
    FlowRun.objects.bulk_create(ended)
    make_run()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        due = FlowRun.objects.due(NOW).filter(queue=queue)
        plan = due.order_by(*claims.CLAIM_ORDER)[:1].explain()
    assert "flow_run_claim" in plan or "flow_run_due" in plan, plan
    assert connection.vendor != "sqlite" or "flow_run_claim" in plan


_MAKE = """
from django.utils import timezone
from flows.models import Flow, WorkQueue
from runs import claims
from runs.models import FlowRun, Worker
from teams.models import Team
team = Team.default(); queue = WorkQueue.default(team); now = timezone.now()
flow = Flow.objects.create(team=team, name="etl")
runs = [FlowRun(team=team, flow=flow, queue=queue, name="r", state_time=now, expected_start=now) for _ in range(90)]
FlowRun.objects.bulk_create(runs)
"""
_CLAIM = """
worker = Worker.objects.create(name="w", host="h", pid=1, places=1, started_at=now, heartbeat_at=now)
wait_for_all()
result = [str(claim.run.pk) for claim in iter(lambda: claims.claim(worker), None)]
"""


def test_many_claimers_at_once_claim_every_run_once(environment: dict[str, str]) -> None:
    """Three real processes on one database, from one starting shot."""
    claimers, _ = race(environment, _MAKE, _CLAIM, 3)
    claimed = [run for claimer in claimers for run in claimer]
    assert len(claimed) == len(set(claimed)) == 90


def some(worker: Worker, most: int) -> list[list[UUID]]:
    batches = iter(lambda: [claim.run.pk for claim in claims.claim_some(worker, most)], [])
    return list(batches)


def test_many_are_claimed_at_once_in_the_same_order(worker: Worker, make_run: Callable[..., FlowRun]) -> None:
    runs = [make_run(NOW - timedelta(minutes=5 - number)) for number in range(5)]
    urgent = make_run(NOW, priority=1)
    first, rest = some(worker, 4)
    assert first == [urgent.pk, *(run.pk for run in runs[:3])]
    assert rest == [run.pk for run in runs[3:]]
    attempts = Attempt.objects.values_list("flow_run", "number", "worker")
    assert set(attempts) == {(run.pk, 1, worker.pk) for run in [urgent, *runs]}
    assert Attempt.objects.values("journal").distinct().count() == 6
    assert set(FlowRun.objects.values_list("attempt", "state_type", "revision")) == {(1, "PENDING", 1)}


def test_a_batch_stops_where_another_queue_comes_first(
    worker: Worker, queue: WorkQueue, make_run: Callable[..., FlowRun]
) -> None:
    other = WorkQueue.objects.create(team=queue.team, name="other")
    first = make_run(NOW - timedelta(minutes=3))
    second = make_run(NOW - timedelta(minutes=2), queue=other)
    third = make_run(NOW - timedelta(minutes=1))
    assert some(worker, 8) == [[first.pk], [second.pk], [third.pk]]
    WorkQueue.objects.filter(pk=other.pk).update(priority=-1)
    FlowRun.objects.update(state_type=StateType.SCHEDULED, lease_expires_at=None)
    assert some(worker, 8) == [[first.pk, third.pk], [second.pk]]


def test_a_batch_heeds_limits(worker: Worker, queue: WorkQueue, make_run: Callable[..., FlowRun]) -> None:
    flow = Flow.objects.get_or_create(team=queue.team, slug="etl", defaults={"name": "etl"})[0]
    limited = Deployment.objects.create(
        team=queue.team, flow=flow, name="one", entrypoint="e.py:e", queue=queue, limit=1
    )
    free = [make_run(NOW - timedelta(minutes=9)), make_run(NOW - timedelta(minutes=1))]
    held = [make_run(NOW - timedelta(minutes=number), deployment=limited) for number in (5, 4)]
    assert list(chain(*some(worker, 8))) == [free[0].pk, held[0].pk, free[1].pk]
    WorkQueue.objects.filter(pk=queue.pk).update(limit=4)
    FlowRun.objects.filter(deployment=limited).update(deployment=None)
    make_run(NOW)
    assert list(chain(*some(worker, 8))) == [held[1].pk]
