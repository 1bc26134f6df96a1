"""A run that crashed runs again as often as its deployment says, whoever learnt of the crash; nobody is told before."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.utils import timezone

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.causes import Cause
from runs import actions, claims, reaper
from runs.cancelling import CANCEL_SECONDS
from runs.clock import database_now
from runs.crash_retries import delay_seconds
from runs.ingest import abandon
from runs.models import Attempt, CrashCause, FlowRun, Pulse, ResourceSample, Trigger, Worker
from teams.models import Team
from tests.runs.scripts import Process, error

pytestmark = pytest.mark.django_db

TOLD: list[tuple[UUID, str]] = []
Begin = Callable[[], tuple[FlowRun, Process]]


def hear(runs: list[FlowRun], *, tell: bool) -> None:
    TOLD.extend((run.pk, run.state_type) for run in runs)


@pytest.fixture(autouse=True)
def _outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    TOLD.clear()
    monkeypatch.setattr(settings, "STATE_OUTBOX", f"{__name__}.hear")
    monkeypatch.setattr(settings, "AFTER_INGEST", "builtins.list")
    Pulse.objects.create(name=reaper.PULSE, at=database_now() - timedelta(seconds=2))


@pytest.fixture
def deployment() -> Deployment:
    team = Team.default()
    flow = Flow.objects.create(team=team, name="etl")
    queue = WorkQueue.objects.get_or_create(team=team, name="default")[0]
    return Deployment.objects.create(flow=flow, team=team, name="nightly", queue=queue, crash_retries=2)


@pytest.fixture
def begin(deployment: Deployment) -> Begin:
    """Claims the deployment's run (makes it the first time) and has its process begin."""
    now = timezone.now()
    worker = Worker.objects.create(name="alpha", host="box", pid=7, places=1, started_at=now, heartbeat_at=now)

    def make() -> tuple[FlowRun, Process]:
        run = FlowRun.objects.first()
        if run is None:
            run, _ = actions.create_flow_run(deployment, trigger=Trigger.PERSON)
        claimed = claims.claim(worker, now=database_now() + timedelta(hours=1))
        assert claimed is not None
        FlowRun.objects.update(lease_expires_at=database_now() + timedelta(seconds=20))
        process = Process(run=str(run.pk), journal=str(claimed.attempt.journal))
        process.header.run = process.run
        process.state("RUNNING", attempt=claimed.attempt.number, pid=4242)
        process.ingest()
        return claimed.run, process

    return make


def now_of(run: FlowRun) -> tuple[str, str, int]:
    run.refresh_from_db()
    return run.state_type, run.state_name, run.crashes


def kill(process: Process, attempt: int, **fields: Any) -> None:
    process.exited(attempt=attempt, **({"signal": 9, "message": "killed by signal 9 (SIGKILL)"} | fields))
    process.end()
    process.ingest()


def test_a_crash_is_run_again_as_often_as_the_deployment_says_and_then_told(begin: Begin) -> None:
    before = database_now()
    run, process = begin()
    kill(process, 1, cause="out_of_memory", peak=4_000_000_000, cpu_seconds=1.5)
    assert now_of(run) == ("SCHEDULED", "AwaitingRetry", 1)
    assert run.expected_start >= before + timedelta(seconds=delay_seconds(1))
    assert (run.lease_expires_at, run.error, run.end_time, run.ended_by) == (None, None, None, "")
    assert run.state_message == "Crashed: killed by signal 9 (SIGKILL). It runs again (1 of 2)."
    first = Attempt.objects.get(number=1)
    assert (first.state_type, first.cause) == ("CRASHED", CrashCause.OUT_OF_MEMORY)
    assert (first.peak_memory_bytes, first.cpu_seconds) == (4_000_000_000, 1.5)
    kill(begin()[1], 2)
    assert now_of(run) == ("SCHEDULED", "AwaitingRetry", 2)
    assert list(TOLD) == []
    kill(begin()[1], 3)
    assert now_of(run) == ("CRASHED", "Crashed", 2)
    assert list(TOLD) == [(run.pk, "CRASHED")]
    assert [attempt.state_type for attempt in Attempt.objects.order_by("number")] == ["CRASHED"] * 3


def test_a_late_result_of_the_old_attempt_is_kept_there_and_changes_nothing_else(begin: Begin) -> None:
    run, old = begin()
    FlowRun.objects.update(lease_expires_at=database_now() - timedelta(seconds=1))
    assert reaper.reap() == 1
    assert now_of(run) == ("SCHEDULED", "AwaitingRetry", 1)
    assert Attempt.objects.get(number=1).cause == CrashCause.LOST
    old.log("still here", attempt=1)
    old.ingest()
    assert now_of(run) == ("SCHEDULED", "AwaitingRetry", 1)
    _, new = begin()
    old.state("COMPLETED", attempt=1)
    old.end()
    old.ingest()
    assert now_of(run)[:2] == ("RUNNING", "Running")
    assert Attempt.objects.get(number=1).state_type == "COMPLETED"
    new.state("COMPLETED", attempt=2)
    new.ingest()
    assert now_of(run)[:2] == ("COMPLETED", "Completed")
    assert list(TOLD) == [(run.pk, "COMPLETED")]


def test_an_abandoned_journal_is_a_crash_that_runs_again(begin: Begin) -> None:
    run, process = begin()
    abandon(process.header)
    assert now_of(run) == ("SCHEDULED", "AwaitingRetry", 1)
    attempt = Attempt.objects.get()
    assert (attempt.cause, attempt.state_message) == ("lost", "Crashed: the process is gone (its run host is gone too)")


def test_a_failure_or_a_cancellation_is_no_crash(begin: Begin) -> None:
    run, process = begin()
    actions.cancel_flow_run(run)
    kill(process, 1)
    assert now_of(run) == ("CANCELLED", "Cancelled", 0)
    actions.retry_flow_run(run)
    _, process = begin()
    process.state("FAILED", attempt=2, error=error())
    process.ingest()
    assert now_of(run) == ("FAILED", "Failed", 0)


def test_a_decision_of_a_person_starts_the_count_anew(begin: Begin) -> None:
    Deployment.objects.update(crash_retries=1)
    run, process = begin()
    kill(process, 1)
    kill(begin()[1], 2)
    assert now_of(run) == ("CRASHED", "Crashed", 1)
    actions.retry_flow_run(run)
    kill(begin()[1], 3)
    assert now_of(run) == ("SCHEDULED", "AwaitingRetry", 1)


def test_flow_retries_in_between_do_not_make_it_endless(begin: Begin) -> None:
    Deployment.objects.update(crash_retries=1)
    run, process = begin()
    for attempt in (1, 3):
        process.state("SCHEDULED", "AwaitingRetry", attempt=attempt)
        process.state("RUNNING", "Retrying", attempt=attempt + 1)
        process.ingest()
        kill(process, attempt)
        if attempt == 1:
            assert now_of(run) == ("SCHEDULED", "AwaitingRetry", 1)
            _, process = begin()
    assert now_of(run) == ("CRASHED", "Crashed", 1)


def test_a_cancellation_that_nobody_answers_is_done_in_the_end(begin: Begin) -> None:
    run, process = begin()
    actions.cancel_flow_run(run)
    asked = database_now()
    FlowRun.objects.update(cancel_requested_at=asked, lease_expires_at=asked + timedelta(hours=1))
    Pulse.objects.update(at=asked + timedelta(seconds=CANCEL_SECONDS - 1))
    assert reaper.reap(asked + timedelta(seconds=CANCEL_SECONDS - 1)) == 0
    assert now_of(run)[0] == "CANCELLING"
    assert reaper.reap(asked + timedelta(seconds=CANCEL_SECONDS + 1)) == 1
    assert now_of(run)[0] == "CANCELLED"
    process.state("COMPLETED", attempt=1)  # it did go on
    process.ingest()
    assert now_of(run)[0] == "CANCELLED"
    assert list(TOLD) == [(run.pk, "CANCELLED")]


def test_after_a_short_outage_leases_have_time_to_be_extended(begin: Begin) -> None:
    run, _ = begin()
    now = database_now()
    FlowRun.objects.update(lease_expires_at=now - timedelta(seconds=1))
    Pulse.objects.update(at=now - timedelta(seconds=settings.LEASE_SECONDS - 5))
    assert reaper.reap(now) == 0
    assert now_of(run)[0] == "RUNNING"


def test_no_memory_for_user_code_is_named_though_it_is_a_failure(begin: Begin) -> None:
    run, process = begin()
    lacking = error("")
    lacking.type = "MemoryError"
    process.state("FAILED", attempt=1, error=lacking)
    process.ingest()
    assert now_of(run)[0] == "FAILED"
    assert Attempt.objects.get().cause == CrashCause.OUT_OF_MEMORY


def test_samples_become_rows_once_and_the_peak_is_kept(begin: Begin) -> None:
    run, process = begin()
    process.resources(cpu=0.5, memory=1_000, peak=5_000, cpu_seconds=0.25)
    process.resources(cpu=2.0, memory=3_000, peak=4_000, cpu_seconds=1.25)
    process.ingest()
    process.ingest()
    rows = ResourceSample.objects.order_by("id").values_list("flow_run", "attempt", "cpu", "memory_bytes")
    assert list(rows) == [(run.pk, 1, 0.5, 1_000), (run.pk, 1, 2.0, 3_000)]
    attempt = Attempt.objects.get()
    assert (attempt.peak_memory_bytes, attempt.cpu_seconds) == (5_000, 1.25)


def test_causes_have_one_vocabulary() -> None:
    assert {cause.value for cause in Cause} == set(CrashCause.values)
