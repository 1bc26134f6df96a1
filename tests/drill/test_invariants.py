"""Each thing that a drill is to find is found when it is there, and nothing is found where all is well."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from flows.models import Deployment, Flow, Schedule, WorkQueue
from orchestrator.drill import invariants
from orchestrator.drill.evidence import Evidence, Span
from orchestrator.drill.invariants import Findings, Held
from orchestrator.drill.pushing import Planned, Pushed
from orchestrator.sdk.ids import uuid7
from runs.models import Attempt, FlowRun, TaskRun
from teams.models import Team

pytestmark = pytest.mark.django_db
PLANNED = Planned(0.0, "key", ("work", "plain"), 0.1, None)


@pytest.fixture
def deployment() -> Deployment:
    """One on a queue with limit 1."""
    team = Team.objects.create(name="T")
    queue = WorkQueue.objects.create(team=team, name="narrow", limit=1)
    flow = Flow.objects.create(team=team, name="work", slug="work")
    return Deployment.objects.create(team=team, flow=flow, name="plain", queue=queue, entrypoint="p.py:work")


def make_run(deployment: Deployment, key: str | None = "key", **more: object) -> FlowRun:
    """A completed run with an attempt."""
    now = timezone.now()
    values = {"state_type": "COMPLETED", "state_name": "Completed", "attempt": 1, "end_time": now, **more}
    run = FlowRun.objects.create(
        team=deployment.team, flow=deployment.flow, deployment=deployment, queue=deployment.queue, name="n",
        idempotency_key=key, state_time=now, expected_start=now, **values,
    )  # fmt: skip
    Attempt.objects.create(flow_run=run, number=1, state_type="COMPLETED", created_at=now)
    return run


def seen(run: FlowRun, begin: float = 1.0, end: float = 2.0) -> Span:
    """What the run's process wrote of itself."""
    return Span(
        str(run.pk), 1, 7, str(run.pk), begin, end, timezone.now().timestamp(), ended=True, ok=True, exited=True
    )


def check(*flows: Span, **more: object) -> Findings:
    """Hold this against the database."""
    evidence = Evidence(flows=list(flows))
    for name in ("tasks", "done", "confessed"):
        setattr(evidence, name, more.pop(name, getattr(evidence, name)))
    held = Held(evidence, [PLANNED], Pushed(), timezone.now(), [])
    return invariants.check(replace(held, **more))  # type: ignore[arg-type]


def test_nothing_is_found_where_all_is_well(deployment: Deployment) -> None:
    run = make_run(deployment)
    task = TaskRun.objects.create(
        flow_run=run, task="t", key="t", name="t", state_type="COMPLETED", created_at=timezone.now()
    )
    findings = check(seen(run), done={str(task.pk): str(run.pk)})
    assert not findings.are_bad
    assert not findings.late


def test_what_is_not_recorded_is_lost_unless_the_engine_said_so(deployment: Deployment) -> None:
    run, task = make_run(deployment), str(uuid7())
    span = Span(str(run.pk), 1, 7, str(run.pk), 1.0, 1.5, 0.0, ended=True, ok=True, task_run=task, task_attempt=1)
    said = {"tasks": [span], "done": {task: str(run.pk)}}
    assert len(check(seen(run), **said).lost) == 1
    excused = check(seen(run), **said, confessed={str(run.pk)})
    assert not excused.are_bad
    assert len(excused.confessed) == 1


def test_a_call_without_its_run_and_a_completion_that_never_was_are_lost(deployment: Deployment) -> None:
    make_run(deployment, key=None)
    assert len(check().lost) == 2


def test_a_completed_attempt_recorded_as_crashed_is_lost(deployment: Deployment) -> None:
    run = make_run(deployment, state_type="CRASHED", state_name="Crashed")
    Attempt.objects.filter(flow_run=run).update(state_type="CRASHED")
    assert len(check(seen(run)).lost) == 1


def test_a_crash_that_was_not_run_again_is_lost(deployment: Deployment) -> None:
    Deployment.objects.update(crash_retries=1)
    run = make_run(deployment, state_type="CRASHED", state_name="Crashed")
    assert len(check(replace(seen(run), ok=False, ended=False, exited=False)).lost) == 1


def test_runs_that_meet_on_a_limited_queue_overshoot(deployment: Deployment) -> None:
    first, second = make_run(deployment), make_run(deployment, key=None)
    assert not check(seen(first), seen(second, 2.0, 3.0)).are_bad
    assert len(check(seen(first), seen(second, 1.9, 3.0)).overshot) == 1


def test_one_run_in_two_processes_is_duplicated(deployment: Deployment) -> None:
    run = make_run(deployment)
    assert len(check(seen(run), replace(seen(run), pid=8)).duplicated) == 2


def test_what_has_not_ended_is_stuck(deployment: Deployment) -> None:
    run = make_run(deployment, state_type="RUNNING", state_name="Running", end_time=None)
    TaskRun.objects.create(
        flow_run=make_run(deployment, key=None), task="t", key="t", name="t", created_at=timezone.now()
    )
    stuck = check(seen(run)).stuck
    assert len(stuck) == 2


@pytest.mark.parametrize(("catchup", "lost"), [("all", 1), ("latest", 1)])
def test_a_schedules_time_without_a_run_is_lost(deployment: Deployment, catchup: str, lost: int) -> None:
    schedule = Schedule.objects.create(deployment=deployment, kind="interval", expression="10", catchup=catchup)
    now = timezone.now()
    for seconds in (40, 30, 10, 0):
        make_run(deployment, None, schedule=schedule, scheduled_for=now - timedelta(seconds=seconds))
    FlowRun.objects.filter(schedule=schedule).update(created_at=now - timedelta(seconds=41), state_type="CANCELLED")
    assert len([line for line in check().lost if "no run for" in line]) == lost


@pytest.mark.parametrize(("last", "lost"), [(60, 0), (20, 1)])
def test_a_long_outage_may_leave_out_all_but_the_latest_time(deployment: Deployment, last: int, lost: int) -> None:
    schedule = Schedule.objects.create(deployment=deployment, kind="interval", expression="10", catchup="latest")
    now = timezone.now()
    for seconds in (last, 0):
        make_run(deployment, None, schedule=schedule, scheduled_for=now - timedelta(seconds=seconds))
    for run in FlowRun.objects.all():
        FlowRun.objects.filter(pk=run.pk).update(state_type="CANCELLED", created_at=run.scheduled_for)
    assert len([line for line in check().lost if "no run for" in line]) == lost
