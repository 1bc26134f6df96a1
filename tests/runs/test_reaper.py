"""Leases that lapse end their runs, after the reaper has watched for long enough."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.conf import settings

from orchestrator.sdk.ids import uuid7
from runs.bounds import moment
from runs.clock import database_now
from runs.models import Attempt, FlowRun, Pulse, TaskRun, Worker
from runs.reaper import PULSE, reap
from tests.runs.scripts import START, Process

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=settings.LEASE_SECONDS)
HEARD: list[UUID] = []


def hear(run_ids: set[UUID]) -> None:
    HEARD.extend(run_ids)


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    HEARD.clear()
    monkeypatch.setattr(settings, "AFTER_INGEST", f"{__name__}.hear")


@pytest.fixture
def now() -> datetime:
    """The time of a tick of a reaper that has run all along."""
    now = database_now()
    Pulse.objects.create(name=PULSE, at=now - timedelta(seconds=2))
    return now


def running(lease: datetime | None, *, worker: bool = True, **fields: object) -> Process:
    """A run that goes on, with a task run and a subflow run, and a lease."""
    process = Process().begin()
    process.task()
    child = process.create(run=str(uuid7()), parent=process.run)
    process.state("RUNNING", run=child)
    process.ingest()
    FlowRun.objects.filter(id=process.run).update(lease_expires_at=lease, **fields)
    if worker:
        made = Worker.objects.create(name="alpha", host="box", pid=7, places=1, started_at=lease, heartbeat_at=lease)
        Attempt.objects.filter(flow_run=process.run).update(worker=made)
    return process


def test_a_lapsed_lease_crashes_the_run_and_closes_what_it_had_begun(now: datetime) -> None:
    lapsed = now - timedelta(seconds=1)
    process = running(lapsed)
    assert reap(now) == 1
    run = FlowRun.objects.get(id=process.run)
    assert (run.state_type, run.ended_by, run.end_time, run.lease_expires_at) == ("CRASHED", "lapse", now, None)
    assert run.state_message == (
        f"Crashed: worker alpha on box was last due to be heard of at {lapsed:%Y-%m-%d %H:%M:%S} UTC"
    )
    assert (run.attempts.get().state_type, run.attempts.get().ended_by) == ("CRASHED", "lapse")
    assert TaskRun.objects.get().state_type == "CRASHED"
    assert FlowRun.objects.get(parent=run).state_type == "CRASHED"
    assert reap(now) == 0


@pytest.mark.django_db(transaction=True)
def test_what_was_reaped_is_announced(now: datetime) -> None:
    process = running(now - LEASE)
    HEARD.clear()
    reap(now)
    assert UUID(process.run) in HEARD
    assert len(HEARD) == 2  # and its subflow run


def test_a_lease_that_holds_is_left_alone(now: datetime) -> None:
    running(now + timedelta(seconds=1))
    running(None, worker=False)
    assert reap(now) == 0
    assert set(FlowRun.objects.values_list("state_type", flat=True)) == {"RUNNING"}


def test_a_lapse_while_cancelling_is_the_cancellation(now: datetime) -> None:
    process = running(now - LEASE, state_type="CANCELLING", state_name="Cancelling")
    reap(now)
    run = FlowRun.objects.get(id=process.run)
    assert (run.state_type, run.state_name, run.ended_by) == ("CANCELLED", "Cancelled", "lapse")


def test_a_script_that_ships_its_journal_is_named_by_its_process(now: datetime) -> None:
    process = running(now - LEASE, worker=False)
    reap(now)
    assert "its process (pid 4242 on " in FlowRun.objects.get(id=process.run).state_message


def test_a_lapsed_run_that_reports_again_goes_on(now: datetime) -> None:
    process = running(now - LEASE)
    reap(now)
    process.state("COMPLETED")
    process.ingest()
    run = FlowRun.objects.get(id=process.run)
    assert (run.state_type, run.ended_by) == ("COMPLETED", "run")


def test_a_supervisors_word_refines_a_lapse(now: datetime) -> None:
    process = running(now - LEASE)
    reap(now)
    process.exited(signal=9)
    process.ingest()
    run = FlowRun.objects.get(id=process.run)
    assert (run.state_message, run.ended_by) == ("Crashed: killed by signal 9 (SIGKILL)", "exit")


def test_a_run_that_waits_to_run_again_only_loses_the_lease(now: datetime) -> None:
    process = running(now - LEASE, state_type="SCHEDULED", state_name="Scheduled")
    reap(now)
    run = FlowRun.objects.get(id=process.run)
    assert (run.state_type, run.lease_expires_at) == ("SCHEDULED", None)


def test_after_its_own_outage_the_reaper_waits_one_lease(now: datetime) -> None:
    running(now - LEASE)
    Pulse.objects.update(at=now - timedelta(hours=1))
    assert reap(now) == 0
    assert reap(now + LEASE / 2) == 0
    assert reap(now + LEASE) == 1


def test_the_first_reaper_ever_judges_at_once() -> None:
    now = moment(START) + timedelta(days=1)
    running(now - LEASE)
    assert reap(now) == 1


def test_many_lapsed_runs_are_reaped_in_parts(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.reaper.BATCH", 2)
    for _ in range(5):
        running(now - LEASE)
    assert reap(now) == 5
