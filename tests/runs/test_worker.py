"""A worker's threads and places, beside a host that only notes what it is told. Real hosts: `tests/server`."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.boot import boot_seconds
from orchestrator.sdk.causes import CANCELLED, LEASE_LOST
from orchestrator.sdk.host_protocol import Extend, Start, Stop
from orchestrator.sdk.states import StateType
from runs import actions, claims
from runs.models import Attempt, FlowRun, Trigger, Worker
from runs.supervision import database
from runs.supervision.database import DatabaseSupervision
from runs.worker import HELD_SECONDS, HOST_SLACK_SECONDS, RunWorker
from teams.models import Team

pytestmark = pytest.mark.django_db(transaction=True)


class Host:
    """Notes what a worker says to its run host."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def send(self, message: Any) -> None:
        self.told.append(message)

    def close(self, timeout_seconds: float) -> None:
        self.told.append("close")


@pytest.fixture
def worker() -> Iterator[RunWorker]:
    supervision = DatabaseSupervision(Worker(name="w", host="h", pid=1, places=2))
    supervision.sign_on()
    worker = RunWorker("w", supervision, places=2)
    worker._host = Host()  # type: ignore[assignment]
    worker._host_ready.set()
    yield worker
    worker._stopped.set()
    worker._wake.set()
    for thread in worker._threads:
        thread.join(5)


@pytest.fixture
def make_run() -> Callable[[], FlowRun]:
    team = Team.default()
    flow = Flow.objects.create(team=team, name="etl")
    deployment = Deployment.objects.create(
        team=team, flow=flow, name="nightly", entrypoint="etl.py:etl", queue=WorkQueue.default(team)
    )
    return lambda: actions.create_flow_run(deployment, trigger=Trigger.API)[0]


def told(worker: RunWorker) -> list[Any]:
    assert isinstance(worker._host, Host)
    return worker._host.told


def test_a_stop_waits_for_the_run_that_is_being_claimed(
    worker: RunWorker, make_run: Callable[[], FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    claiming, go_on, real = threading.Event(), threading.Event(), claims.claim_some

    def slow(row: Any, most: int) -> Any:
        claimed = real(row, most)
        if claimed:
            claiming.set()
            go_on.wait(5)
        return claimed

    def fill() -> None:
        worker._fill()
        connection.close()

    monkeypatch.setattr(claims, "claim_some", slow)
    filling = threading.Thread(target=fill)
    filling.start()
    assert claiming.wait(5)
    threading.Timer(0.1, go_on.set).start()
    worker.stop(grace_seconds=0.4)
    filling.join(5)

    assert [type(message).__name__ for message in told(worker)] == ["Start", "Stop", "str"]
    assert told(worker)[1].reason == "server stopped"  # it had its place, and its time


def test_a_given_up_attempt_is_stopped_before_its_successor_starts_here(
    worker: RunWorker, make_run: Callable[[], FlowRun]
) -> None:
    run = make_run()
    worker._fill()
    # the lease lapsed while the database was away from this worker; somebody retried the run
    over = {"state_type": StateType.CRASHED, "ended_by": "lapse", "end_time": timezone.now()}
    FlowRun.objects.update(**over, lease_expires_at=None)
    Attempt.objects.update(**over)
    actions.retry_flow_run(run)
    worker._fill()

    first, stop, second = told(worker)
    assert [type(message) for message in told(worker)] == [Start, Stop, Start]
    assert (first.attempt, stop.run, stop.grace_seconds, second.attempt) == (1, str(run.pk), 0.0, 2)
    assert [occupant.attempt for occupant in worker.places.occupants()] == [2]


def test_a_run_that_cannot_be_told_to_the_host_keeps_no_place_and_no_thread(
    worker: RunWorker, make_run: Callable[[], FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, real = make_run(), database.start_message

    def refuse(claimed: claims.Claim) -> Start:
        if claimed.run.pk == bad.pk:
            raise ValueError("cannot be written")
        return real(claimed)

    monkeypatch.setattr(database, "start_message", refuse)
    monkeypatch.setattr(worker, "_tend_facts", lambda: None)
    thread = threading.Thread(target=worker._claim_loop)
    worker._threads.append(thread)
    good = make_run()
    worker._wake.set()
    thread.start()
    deadline = time.monotonic() + 5
    while not told(worker) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert [message.run for message in told(worker)] == [str(good.pk)]
    assert [occupant.run_id for occupant in worker.places.occupants()] == [good.pk]


def test_bells_for_much_later_are_left_to_the_tick(worker: RunWorker) -> None:
    now = timezone.now()
    worker.ring("q", now + timedelta(days=30))
    assert worker._later == []
    worker.ring("q", now + timedelta(seconds=HELD_SECONDS / 2))
    assert len(worker._later) == 1


def test_a_run_that_would_be_run_again_has_to_end_before_its_lease_lapses(
    worker: RunWorker, make_run: Callable[[], FlowRun]
) -> None:
    make_run()
    make_run()
    Deployment.objects.update(crash_retries=1)
    before = boot_seconds()
    worker._fill()
    first, second = told(worker)
    assert before + settings.LEASE_SECONDS <= first.lease_until <= boot_seconds() + settings.LEASE_SECONDS
    FlowRun.objects.filter(pk=second.run).delete()
    time_asked = boot_seconds()
    worker._renew()
    stop, extend = told(worker)[2:]
    assert (stop.run, stop.reason) == (second.run, LEASE_LOST)
    assert isinstance(extend, Extend)
    assert (extend.run, extend.attempt) == (first.run, 1)
    assert extend.lease_until >= time_asked + settings.LEASE_SECONDS


def test_a_run_whose_host_stands_still_is_stopped_without_it(
    worker: RunWorker, make_run: Callable[[], FlowRun]
) -> None:
    run = make_run()
    worker._fill()
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    worker.places.began(run.pk, process.pid)
    worker._stop_run(worker.places.occupants()[0], CANCELLED, -HOST_SLACK_SECONDS)
    worker._kill_unheeded()
    assert process.wait(5) == -signal.SIGKILL
