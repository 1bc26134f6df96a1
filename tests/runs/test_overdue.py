"""Late runs, overrunning runs and missed deadlines are marked once, told of, and followed by what was asked for."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flows.models import Deployment, Flow, WorkQueue
from notifications.models import Delivery
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import actions, claims, overdue
from runs.clock import database_now
from runs.models import Attempt, FlowRun, Log, Worker
from runs.time_marks import marks
from teams.models import Team
from tests.notifications.making import Make as Notifications

pytestmark = [pytest.mark.django_db, pytest.mark.database]
Make = Callable[..., FlowRun]


@pytest.fixture
def deployment(db: None) -> Deployment:
    team = Team.default()
    flow = Flow.objects.create(team=team, name="etl")
    queue = WorkQueue.default(team)
    return Deployment.objects.create(team=team, flow=flow, name="nightly", entrypoint="etl.py:etl", queue=queue)


@pytest.fixture
def make_run(deployment: Deployment) -> Make:
    def make(due_ago: float, started_ago: float | None = None, **fields: object) -> FlowRun:
        now = database_now()
        start = None if started_ago is None else now - timedelta(seconds=started_ago)
        if start:
            fields = {"state_type": StateType.RUNNING, "state_name": "Running", "attempt": 1, **fields}
        values = {"queue": deployment.queue, "deployment": deployment, "name": "r", **fields}
        run = FlowRun.objects.create(
            team=deployment.team,
            flow=deployment.flow,
            state_time=now,
            expected_start=now - timedelta(seconds=due_ago),
            start_time=start,
            **values,
        )
        if start:
            Attempt.objects.create(flow_run=run, number=1, created_at=start, start_time=start, journal=uuid7())
        return run

    return make


def watch(deployment: Deployment, *events: str) -> None:
    make = Notifications(deployment.team)
    make.policy(make.destination("https://example.com/hook", "webhook"), events=list(events))


def told() -> list[tuple[str, str]]:
    return list(Delivery.objects.order_by("created_at").values_list("event", "reason"))


def test_a_run_that_has_not_begun_is_late_once_and_still_claimed_in_its_turn(
    deployment: Deployment, make_run: Make
) -> None:
    watch(deployment, "LATE")
    first, second, fresh = make_run(90), make_run(70), make_run(30)
    script = make_run(3600, deployment=None, queue=None, state_type="RUNNING")
    now = database_now()
    assert (overdue.mark_late(now), overdue.mark_late(now)) == (2, 0)
    for run in (first, second, fresh, script):
        run.refresh_from_db()
    assert [run.state_name for run in (first, second, fresh)] == ["Late", "Late", "Scheduled"]
    assert (first.late_at, first.revision, script.late_at) == (now, 1, None)
    assert told() == [("LATE", "It has not begun 1 m after its time.")] * 2
    worker = Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=now, heartbeat_at=now)
    claimed = [claim.run for claim in iter(lambda: claims.claim(worker), None)]
    assert [run.pk for run in claimed] == [first.pk, second.pk, fresh.pk]
    first.refresh_from_db()
    assert (first.state_name, first.late_at) == ("Pending", now)


def test_a_deployment_says_after_how_long_it_is_late(deployment: Deployment, make_run: Make) -> None:
    actions.update_deployment(deployment, late_after_seconds=300)
    patient, late = make_run(200), make_run(301)
    other = make_run(61, deployment=None)
    assert overdue.mark_late(database_now()) == 2
    names = dict(FlowRun.objects.values_list("pk", "state_name"))
    assert [names[run.pk] for run in (patient, late, other)] == ["Scheduled", "Late", "Late"]


def test_an_overrun_is_told_and_cancels_where_that_is_wanted(deployment: Deployment, make_run: Make) -> None:
    watch(deployment, "OVERRAN", "CANCELLED")
    actions.update_deployment(deployment, expected_seconds=600)
    run = make_run(900, started_ago=601)
    quick = make_run(900, started_ago=500)
    now = database_now()
    assert (overdue.mark_overrunning(now), overdue.mark_overrunning(now)) == (1, 0)
    run.refresh_from_db()
    quick.refresh_from_db()
    assert (run.state_type, run.overran_at, quick.overran_at) == ("RUNNING", now, None)
    assert marks(run) == ["longer than the 10 m expected"]
    actions.update_deployment(deployment, on_overrun="cancel", expected_seconds=400)
    assert overdue.mark_overrunning(now) == 1
    quick.refresh_from_db()
    assert quick.state_type == "CANCELLING"
    assert quick.state_message == "It runs for longer than the 6 m 40 s expected of it. Asked to stop."
    assert Log.objects.get(flow_run=quick).message.endswith("expected of it. It is cancelled for that.")
    assert [event for event, _ in told()] == ["OVERRAN", "OVERRAN"]


def test_a_deadline_counts_from_the_time_of_the_run_whether_it_began_or_not(
    deployment: Deployment, make_run: Make
) -> None:
    watch(deployment, "MISSED_DEADLINE", "CANCELLED")
    actions.update_deployment(deployment, deadline_seconds=7200, on_deadline="cancel")
    waiting, running = make_run(7201), make_run(7300, started_ago=10)
    in_time = make_run(7000, started_ago=6000)
    ended = make_run(9000, started_ago=8000, state_type="COMPLETED", end_time=database_now())
    now = database_now()
    assert (overdue.mark_missed_deadlines(now), overdue.mark_missed_deadlines(now)) == (2, 0)
    for run in (waiting, running, in_time, ended):
        run.refresh_from_db()
    assert [run.state_type for run in (waiting, running, in_time, ended)] == [
        "CANCELLED", "CANCELLING", "RUNNING", "COMPLETED",
    ]  # fmt: skip
    assert waiting.state_message == "It has not ended 2 h after its time. Cancelled while it waited."
    assert sorted(event for event, _ in told()) == ["CANCELLED", "MISSED_DEADLINE", "MISSED_DEADLINE"]
    FlowRun.objects.filter(pk=running.pk).update(state_type="CANCELLED", end_time=now)
    retried = actions.retry_flow_run(FlowRun.objects.get(pk=running.pk))
    assert (retried.missed_deadline_at, retried.state_type) == (None, "SCHEDULED")
    assert overdue.mark_missed_deadlines(database_now()) == 0


def test_where_nothing_is_watched_a_tick_pays_one_query_each(deployment: Deployment, make_run: Make) -> None:
    make_run(9000, started_ago=9000)
    now = database_now()
    for mark in (overdue.mark_overrunning, overdue.mark_missed_deadlines):
        with CaptureQueriesContext(connection) as queries:
            assert mark(now) == 0
        assert len(queries) == 1


@pytest.mark.parametrize(
    "bad", [{"late_after_seconds": 0}, {"expected_seconds": "10m"}, {"deadline_seconds": True}, {"on_overrun": "shout"}]
)
def test_bad_time_limits_are_refused_by_field(deployment: Deployment, bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        actions.update_deployment(deployment, **bad)
    assert list(refused.value.message_dict) == list(bad)
