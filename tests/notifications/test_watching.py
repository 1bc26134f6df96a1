"""Runs that take long are found by looking, and told once for each attempt."""

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications import sweeping
from notifications.models import Delivery, Mute
from notifications.watching import find_long_running
from orchestrator.sdk.states import StateType
from runs.models import Attempt, FlowRun
from tests.notifications.making import Make

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def running(make: Make, seconds: float, **fields: object) -> FlowRun:
    """A run that has run for so long."""
    began = NOW - timedelta(seconds=seconds)
    [run] = make.runs(1, StateType.RUNNING, ended=NOW, start_time=began, state_name="Running", **fields)
    Attempt.objects.filter(flow_run=run).update(start_time=began)
    return run


def completed(make: Make, number: int, seconds: float, **fields: object) -> None:
    """Runs that took so long, a day ago."""
    ended = NOW - timedelta(days=1)
    make.runs(number, StateType.COMPLETED, ended=ended, start_time=ended - timedelta(seconds=seconds), **fields)


def find(now: datetime = NOW) -> int:
    return find_long_running(now)


def test_a_run_over_the_set_time_is_told_once_an_attempt(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=600)
    run = running(make, 601)
    running(make, 599)
    assert (find(), find()) == (1, 0)
    row = Delivery.objects.get()
    assert (row.flow_run, row.attempt, row.event, row.occurred_at) == (run, 1, "LONG_RUNNING", NOW)
    assert "longer than 10 m" in row.reason
    began = NOW - timedelta(seconds=700)
    Attempt.objects.create(flow_run=run, number=2, state_type="RUNNING", created_at=began, start_time=began)
    FlowRun.objects.filter(pk=run.pk).update(attempt=2)
    assert (find(), find()) == (1, 0)


def test_without_a_set_time_three_times_the_usual_is_long(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"])
    completed(make, 5, 60)
    running(make, 170)
    assert find() == 0
    running(make, 190)
    assert find() == 1
    assert "three times the usual" in Delivery.objects.get().reason


def test_what_is_usual_is_asked_of_the_deployment(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"])
    nightly = make.deployment()
    completed(make, 5, 3600, deployment=nightly)
    completed(make, 30, 1)
    running(make, 1000, deployment=nightly)
    assert find() == 0


def test_too_few_runs_say_nothing_and_neither_do_seconds(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"])
    completed(make, 2, 60)
    running(make, 10_000)
    assert find() == 0
    other = make.flow("quick")
    completed(make, 5, 0.1, flow=other)
    running(make, 4, flow=other)
    assert find() == 0


def test_runs_that_ended_and_policies_that_look_elsewhere_are_left_alone(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=1, flows=["elsewhere"])
    make.policy(make.destination(), events=["FAILED"], long_running_seconds=1)
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=1, paused=True)
    run = running(make, 100)
    assert find() == 0
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=1)
    FlowRun.objects.filter(pk=run.pk).update(state_type="COMPLETED")
    assert find() == 0


def test_each_policy_has_its_own_time(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=60)
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=600)
    running(make, 100)
    assert find() == 1
    assert find(NOW + timedelta(seconds=550)) == 1
    assert Delivery.objects.count() == 2


def test_a_muted_deployment_is_written_down_only(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=60)
    Mute.objects.create(deployment=make.deployment(), until=NOW + timedelta(hours=1))
    running(make, 100, deployment=make.deployment())
    find()
    assert Delivery.objects.get().muted


def test_one_query_where_nobody_watches_and_a_bounded_number_for_many(make: Make) -> None:
    make.policy(make.destination(), events=["FAILED"])
    for _ in range(3):
        running(make, 1000)
    with CaptureQueriesContext(connection) as none:
        find()
    assert len(none) == 1
    make.policy(make.destination(), events=["LONG_RUNNING"])
    completed(make, 5, 10)
    with CaptureQueriesContext(connection) as few:
        assert find() == 3
    for _ in range(30):
        running(make, 1000)
    with CaptureQueriesContext(connection) as many:
        assert find() == 30
    assert len(many) == len(few)


def test_the_sweep_looks(make: Make) -> None:
    make.policy(make.destination(), events=["LONG_RUNNING"], long_running_seconds=60)
    run = running(make, 4000)
    sweeping.sweep()
    assert Delivery.objects.get().flow_run == run
