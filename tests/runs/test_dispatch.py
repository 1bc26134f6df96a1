"""The tick rings what waits, and sends bells for what is soon due."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from flows.models import Flow, WorkQueue
from orchestrator.sdk.states import StateType
from runs import bells, dispatch
from runs.models import FlowRun
from runs.periodic import ensure_jobs
from teams.models import Team

NOW = timezone.now()


@pytest.fixture
def queue(db: None) -> WorkQueue:
    return WorkQueue.default(Team.default())


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, datetime | None]]:
    """What was sent, instead of sending it: no broker runs here."""
    sent: list[tuple[str, datetime | None]] = []
    monkeypatch.setattr(bells, "send", lambda queue, at=None: sent.append((queue, at)))
    monkeypatch.setattr(bells, "send_unheard", lambda queue: sent.append((queue, None)))
    return sent


@pytest.fixture
def make_run(queue: WorkQueue) -> Callable[..., FlowRun]:
    flow = Flow.objects.create(team=queue.team, name="etl")

    def make(due: datetime, **fields: object) -> FlowRun:
        values = {"queue": queue, "state_type": StateType.SCHEDULED, **fields}
        return FlowRun.objects.create(
            team=queue.team, flow=flow, name="r", state_time=NOW, expected_start=due, **values
        )

    return make


def test_a_queue_whose_run_nobody_claimed_is_rung_once(
    queue: WorkQueue, make_run: Callable[..., FlowRun], rung: list[tuple[str, datetime | None]]
) -> None:
    paused = WorkQueue.objects.create(team=queue.team, name="paused", paused=True)
    for _ in range(3):
        make_run(NOW - timedelta(seconds=5))
    make_run(NOW - timedelta(seconds=5), queue=paused)
    make_run(NOW - timedelta(seconds=0.2))
    assert dispatch.ring_waiting(NOW) == [queue]
    assert rung == [(queue.celery_queue, None)]


def test_a_run_that_is_due_before_the_tick_after_next_gets_a_bell_with_its_time(
    queue: WorkQueue, make_run: Callable[..., FlowRun], rung: list[tuple[str, datetime | None]]
) -> None:
    soon = NOW + timedelta(seconds=1.5)
    make_run(soon)
    make_run(NOW + timedelta(minutes=1))
    make_run(soon, lease_expires_at=NOW)  # a process waits with it
    dispatch.send_wakes(NOW)
    assert rung == [(queue.celery_queue, soon)]


def test_a_step_that_fails_does_not_keep_the_others_from_running(
    queue: WorkQueue,
    make_run: Callable[..., FlowRun],
    rung: list[tuple[str, datetime | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(now: datetime) -> None:
        raise ValueError("a schedule that cannot be read")

    monkeypatch.setattr(dispatch.scheduling, "materialize", broken)
    make_run(timezone.now() - timedelta(seconds=5))
    dispatch.tick()
    assert rung == [(queue.celery_queue, None)]


def test_each_job_is_in_the_schedule_once(db: None) -> None:
    first, second = ensure_jobs(), ensure_jobs()
    assert [entry.pk for entry in first] == [entry.pk for entry in second]
    assert [entry.name for entry in first] == [
        "orchestrator: tick",
        "orchestrator: notifications",
        "orchestrator: housekeeping",
        "orchestrator: snapshots",
    ]
    assert (first[0].interval.every, first[0].interval.period) == (2, "seconds")
