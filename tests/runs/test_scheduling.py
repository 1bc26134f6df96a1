"""Upcoming runs, missed times, and ticks at the same time."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.db import close_old_connections, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows import actions as flow_actions
from flows.declarations import Declaration
from flows.models import Deployment, Schedule
from flows.schedules import Spec
from orchestrator.sdk.states import StateType
from runs import actions, claims, scheduling
from runs.models import MISSED_AFTER, FlowRun, Log, Worker
from teams.models import Team

NOW = datetime(2027, 1, 4, 10, 0, 30, tzinfo=UTC)
MINUTELY = Spec("cron", "* * * * *")
HOURLY = Spec("cron", "0 * * * *")


class Clock:
    """The time, which stands still until a test lets it pass."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller

    @property
    def now(self) -> datetime:
        return timezone.now()

    def wait(self, **later: float) -> None:
        self._traveller.shift(timedelta(**later))

    def tick(self, **later: float) -> list[FlowRun]:
        """Let time pass, then tick."""
        self.wait(**later)
        return scheduling.materialize(self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    monkeypatch.setattr("runs.scheduling.database_now", timezone.now)  # PostgreSQL's own clock does not stand still
    monkeypatch.setattr("runs.actions.database_now", timezone.now)
    with time_machine.travel(NOW, tick=False) as traveller:
        yield Clock(traveller)


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    ids: list[Any] = []
    monkeypatch.setattr("runs.live.announce", ids.extend)
    return ids


@pytest.fixture
def make(clock: Clock, announced: list[Any]) -> Callable[..., Deployment]:
    def make(*specs: Spec, name: str = "nightly", **fields: Any) -> Deployment:
        values = {"entrypoint": "etl.py:etl", "schedules": specs, **fields}
        declaration = Declaration(flow_name="etl", name=name, **values)
        return actions.deploy(team=Team.default(), user=None, declaration=declaration)[0]

    return make


def waiting(deployment: Deployment) -> list[str]:
    """The times for which a run waits."""
    runs = deployment.runs.filter(state_type=StateType.SCHEDULED).order_by("scheduled_for")
    return [f"{run.scheduled_for:%H:%M}" for run in runs]


def states(deployment: Deployment) -> dict[str, str]:
    return {f"{run.scheduled_for:%H:%M}": run.state_name for run in deployment.runs.order_by("scheduled_for")}


@pytest.mark.django_db
def test_saving_a_schedule_makes_its_next_runs(make: Callable[..., Deployment]) -> None:
    deployment = make(MINUTELY, parameters={"day": 1, "kept": True}, tags=["a"], version="2")
    assert waiting(deployment) == ["10:01", "10:02", "10:03", "10:04", "10:05"]
    run = deployment.runs.first()
    assert (run.trigger, run.expected_start, run.flow, run.queue) == (
        "schedule",
        run.scheduled_for,
        deployment.flow,
        deployment.queue,
    )
    assert (run.parameters, run.tags, run.version) == ({"day": 1, "kept": True}, ["a"], "2")
    assert "-" in run.name


@pytest.mark.django_db
def test_parameters_of_a_schedule_lie_over_those_of_its_deployment(make: Callable[..., Deployment]) -> None:
    deployment = make(Spec("cron", "0 * * * *", parameters={"day": 2}), parameters={"day": 1, "kept": True})
    assert deployment.runs.first().parameters == {"day": 2, "kept": True}


@pytest.mark.django_db
def test_each_tick_adds_what_came_due_and_nothing_twice(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(MINUTELY)
    assert clock.tick(seconds=2) == []
    made = clock.tick(seconds=30)
    assert [f"{run.scheduled_for:%H:%M}" for run in made] == ["10:06"]
    assert made == list(FlowRun.objects.filter(pk__in=[run.pk for run in made]))
    assert clock.tick(seconds=1) == []
    assert deployment.runs.count() == 6


@pytest.mark.django_db
def test_times_beyond_the_horizon_wait_until_they_are_within(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(Spec("cron", "0 0 1 * *"))
    assert waiting(deployment) == []
    assert clock.tick(days=20) == []
    [run] = clock.tick(days=1)
    assert run.scheduled_for == datetime(2027, 2, 1, tzinfo=UTC)
    assert clock.tick(days=1) == []


@pytest.mark.django_db
def test_every_second_has_its_run_before_it_is_due(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(Spec("interval", "1"))
    for _ in range(20):
        clock.tick(seconds=settings.TICK_SECONDS)
        ahead = deployment.runs.filter(scheduled_for__gt=clock.now).count()
        assert ahead >= 2 * settings.TICK_SECONDS
    times = list(deployment.runs.order_by("scheduled_for").values_list("scheduled_for", flat=True))
    assert times == [NOW + timedelta(seconds=n + 1) for n in range(len(times))]


@pytest.mark.django_db
def test_schedule_that_ends_is_not_looked_at_again(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(Spec("rrule", "DTSTART:20270104T100100\nRRULE:FREQ=MINUTELY;COUNT=2"))
    assert waiting(deployment) == ["10:01", "10:02"]
    for _ in range(3):
        assert clock.tick(minutes=1) == []
    assert deployment.schedules.get().tick_at is None


@pytest.mark.django_db
def test_schedule_that_cannot_be_read_stops_no_other(make: Callable[..., Deployment], clock: Clock) -> None:
    broken, sound = make(MINUTELY, name="broken"), make(MINUTELY, name="sound")
    broken.schedules.update(expression="nonsense")
    assert {run.deployment for run in clock.tick(seconds=32)} == {sound}
    assert clock.tick(seconds=1) == []


# Missed times


@pytest.mark.django_db
def test_after_an_outage_only_the_latest_missed_time_runs(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(MINUTELY)
    made = clock.tick(hours=1)
    assert states(deployment) == {
        **{f"10:0{n}": "Skipped" for n in range(1, 6)},
        "11:00": "Late",
        **{f"11:0{n}": "Scheduled" for n in range(1, 6)},
    }
    late = deployment.runs.get(state_name="Late")
    assert late in made
    assert late.state_message == "59 earlier times were missed while no scheduler ran; only the latest runs."
    assert Log.objects.get(flow_run=late).message == late.state_message
    skipped = deployment.runs.filter(state_name="Skipped").first()
    assert (skipped.state_type, skipped.end_time) == (StateType.CANCELLED, clock.now)
    assert clock.tick(seconds=2) == []


@pytest.mark.django_db
def test_waiting_run_of_the_latest_missed_time_is_the_one_that_runs(
    make: Callable[..., Deployment], clock: Clock
) -> None:
    deployment = make(HOURLY)
    clock.tick(hours=2, minutes=10)
    assert states(deployment) == {
        "11:00": "Skipped",
        "12:00": "Late",
        "13:00": "Scheduled",
        "14:00": "Scheduled",
        "15:00": "Scheduled",
        "16:00": "Scheduled",
        "17:00": "Scheduled",
    }
    assert deployment.runs.get(state_name="Late").state_message == (
        "1 earlier time was missed while no scheduler ran; only the latest runs."
    )


@pytest.mark.django_db
def test_one_missed_time_runs_late_and_says_so(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(HOURLY)
    clock.tick(hours=1, minutes=1)
    assert deployment.runs.get(state_name="Late").state_message == "No scheduler ran at its time; it runs late."


@pytest.mark.django_db
def test_runs_that_only_wait_for_a_worker_are_not_missed(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(MINUTELY)
    for _ in range(150):
        clock.tick(seconds=2)
    assert waiting(deployment) == [f"10:{n:02}" for n in range(1, 11)]
    assert set(states(deployment).values()) == {"Scheduled"}


@pytest.mark.django_db
def test_runs_that_workers_took_during_the_outage_are_left_alone(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(MINUTELY)
    deployment.runs.filter(scheduled_for__lte=NOW + timedelta(minutes=2)).update(
        state_type=StateType.COMPLETED, state_name="Completed", attempt=1
    )
    clock.tick(minutes=4)
    assert states(deployment) == {
        "10:01": "Completed",
        "10:02": "Completed",
        "10:03": "Skipped",
        "10:04": "Late",
        **{f"10:{n:02}": "Scheduled" for n in range(5, 10)},
    }
    assert deployment.runs.get(state_name="Late").state_message.startswith("1 earlier time was missed")


@pytest.mark.django_db
def test_catch_up_of_all_runs_every_time_in_bounded_steps(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(Spec("cron", "* * * * *", catchup="all"))
    made = clock.tick(hours=5)
    assert len(made) == scheduling.MAX_CAUGHT_UP
    for _ in range(4):
        clock.tick(seconds=2)
    times = list(deployment.runs.order_by("scheduled_for").values_list("scheduled_for", flat=True))
    assert times == [NOW.replace(second=0) + timedelta(minutes=n + 1) for n in range(305)]
    assert set(states(deployment).values()) == {"Scheduled"}


@pytest.mark.django_db
def test_catch_up_of_none_runs_nothing_and_leaves_a_mark(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(Spec("cron", "* * * * *", catchup="none"))
    clock.tick(minutes=30)
    assert waiting(deployment) == ["10:31", "10:32", "10:33", "10:34", "10:35"]
    mark = deployment.runs.get(scheduled_for=NOW.replace(minute=30, second=0))
    assert (mark.state_name, mark.state_message) == (
        "Skipped",
        "This and 29 earlier times were missed while no scheduler ran; none runs.",
    )


@pytest.mark.django_db
def test_week_of_missed_seconds_is_settled_at_once(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(Spec("interval", "1"))
    clock.tick(days=7)
    assert deployment.runs.get(state_name="Late").state_message.startswith("More than 999 earlier times were missed")
    assert deployment.runs.count() < 40


@pytest.mark.django_db
def test_worker_leaves_old_times_alone_until_a_tick_has_looked(make: Callable[..., Deployment], clock: Clock) -> None:
    """A worker is up before beat after an outage: it must not run what the policy skips."""
    make(MINUTELY)
    worker = Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=NOW, heartbeat_at=NOW)
    clock.wait(minutes=3, seconds=50)
    on_time = claims.claim(worker, now=clock.now)
    assert on_time is not None
    assert on_time.run.scheduled_for >= clock.now - MISSED_AFTER
    assert claims.claim(worker, now=clock.now) is None
    clock.tick(seconds=1)
    clock.wait(minutes=1)
    later = claims.claim(worker, now=clock.now)
    assert later is not None
    assert later.run.scheduled_for > on_time.run.scheduled_for


@pytest.mark.django_db
def test_run_that_waited_long_for_a_place_is_claimed(make: Callable[..., Deployment], clock: Clock) -> None:
    make(HOURLY)
    worker = Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=NOW, heartbeat_at=NOW)
    for _ in range(62):
        clock.tick(minutes=1)
    clock.wait(minutes=10)
    claim = claims.claim(worker, now=clock.now)
    assert claim is not None
    assert f"{claim.run.scheduled_for:%H:%M}" == "11:00"


# Changes


@pytest.mark.django_db
def test_pause_takes_upcoming_runs_away_and_resume_catches_nothing_up(
    make: Callable[..., Deployment], clock: Clock
) -> None:
    deployment = make(MINUTELY)
    clock.tick(seconds=31)
    actions.pause_deployment(deployment)
    assert states(deployment) == {"10:01": "Skipped"}
    assert clock.tick(hours=1) == []
    actions.resume_deployment(deployment)
    clock.tick(seconds=1)
    assert waiting(deployment) == ["11:02", "11:03", "11:04", "11:05", "11:06"]
    assert deployment.runs.filter(state_name="Late").count() == 0


@pytest.mark.django_db
def test_changed_schedule_replaces_its_upcoming_runs(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(MINUTELY)
    clock.tick(seconds=31)
    schedule = actions.change_schedule(deployment.schedules.get(), expression="30 * * * *")
    assert waiting(deployment) == ["10:01", "10:30", "11:30", "12:30", "13:30", "14:30"]
    actions.change_schedule(schedule, active=False)
    assert states(deployment) == {"10:01": "Skipped"}
    actions.change_schedule(schedule, active=True)
    assert len(waiting(deployment)) == 5
    actions.delete_schedule(schedule)
    assert waiting(deployment) == []
    assert clock.tick(hours=1) == []


@pytest.mark.django_db
def test_changed_deployment_gives_its_upcoming_runs_what_changed(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY)
    actions.update_deployment(deployment, parameters={"day": 5}, queue="heavy", tags=["b"])
    run = deployment.runs.first()
    assert (run.parameters, run.queue.name, run.tags) == ({"day": 5}, "heavy", ["b"])
    assert len(waiting(deployment)) == 5


@pytest.mark.django_db
def test_setting_schedules_keeps_the_rows_that_stay(make: Callable[..., Deployment]) -> None:
    deployment = make(MINUTELY, HOURLY)
    minutely = deployment.schedules.get(expression=MINUTELY.expression)
    hourly = deployment.schedules.get(expression=HOURLY.expression)
    daily, kept = actions.set_schedules(deployment, [Spec("cron", "@daily"), HOURLY])
    assert kept == hourly
    assert set(deployment.schedules.all()) == {daily, hourly}
    assert not Schedule.objects.filter(pk=minutely.pk).exists()
    assert {run.schedule_id for run in deployment.runs.all()} == {daily.pk, hourly.pk}


@pytest.mark.django_db
def test_claimed_run_survives_a_change(make: Callable[..., Deployment]) -> None:
    deployment = make(MINUTELY)
    run = deployment.runs.order_by("scheduled_for").first()
    FlowRun.objects.filter(pk=run.pk).update(state_type=StateType.PENDING, state_name="Pending", attempt=1)
    actions.set_schedules(deployment, [])
    assert list(deployment.runs.all()) == [run]


@pytest.mark.django_db
def test_deleting_a_deployment_keeps_its_history(make: Callable[..., Deployment], clock: Clock) -> None:
    deployment = make(MINUTELY)
    clock.tick(seconds=31)
    done = deployment.runs.get(scheduled_for__lte=clock.now)
    FlowRun.objects.filter(pk=done.pk).update(state_type=StateType.COMPLETED, state_name="Completed", attempt=1)
    actions.delete_deployment(deployment)
    assert [(run.state_name, run.deployment) for run in FlowRun.objects.all()] == [("Completed", None)]


# What it costs, and two at once


@pytest.mark.django_db
def test_tick_with_nothing_to_do_is_one_query_over_its_index(make: Callable[..., Deployment], clock: Clock) -> None:
    make(MINUTELY)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert clock.tick(seconds=1) == []
    [query] = queries
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            assert "schedule_tick" in str(cursor.fetchall())


@pytest.mark.django_db
def test_queries_do_not_grow_with_the_number_of_schedules(make: Callable[..., Deployment], clock: Clock) -> None:
    make(MINUTELY, name="a")
    with CaptureQueriesContext(connection) as one:
        clock.tick(seconds=31)
    for name in "bcdefgh":
        make(MINUTELY, name=name)
    with CaptureQueriesContext(connection) as eight:
        clock.tick(minutes=1)
    assert len(eight) == len(one) <= 12


def in_threads(count: int, work: Callable[[], object]) -> list[object]:
    """Call the work in several threads at the same moment, each over a connection of its own."""
    start = threading.Barrier(count)
    results: list[object] = []

    def call() -> None:
        close_old_connections()
        start.wait()
        try:
            results.append(work())
        except Exception as error:
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.django_db(transaction=True)
def test_four_ticks_at_once_make_each_run_once(make: Callable[..., Deployment], clock: Clock) -> None:
    deployments = [make(MINUTELY, Spec("interval", "30"), name=f"d{n}") for n in range(30)]
    for step in [31, 29, 3600, 2]:
        clock.wait(seconds=step)
        results = in_threads(4, lambda: scheduling.materialize(clock.now))
        assert not [result for result in results if isinstance(result, Exception)]
        made = [run.pk for result in results for run in result]
        assert len(made) == len(set(made)) == FlowRun.objects.filter(pk__in=made).count()
    scheduling.materialize(clock.now)
    for deployment in deployments:
        for schedule in deployment.schedules.all():
            times = list(schedule.runs.values_list("scheduled_for", flat=True))
            assert len(times) == len(set(times))
            assert schedule.runs.filter(scheduled_for__gt=clock.now).count() == settings.SCHEDULE_AHEAD
            assert schedule.runs.filter(state_name="Late").count() == 1, "an outage was settled twice"


@pytest.mark.django_db(transaction=True)
def test_ticks_and_changes_at_once_leave_what_a_quiet_tick_would(make: Callable[..., Deployment], clock: Clock) -> None:
    deployments = [make(MINUTELY, name=f"d{n}") for n in range(4)]
    turns = iter([*range(24)])
    lock = threading.Lock()

    def change() -> None:
        with lock:
            turn = next(turns)
        deployment = deployments[turn % 4]
        if turn % 3 == 0:
            scheduling.materialize(clock.now)
        elif turn % 3 == 1:
            actions.set_schedules(deployment, [MINUTELY, HOURLY] if turn % 2 else [MINUTELY])
        else:
            actions.update_deployment(deployment, tags=[str(turn)])

    clock.wait(minutes=1)
    for _ in range(4):
        results = in_threads(6, change)
        assert results == [None] * 6
    for deployment in deployments:
        deployment.refresh_from_db()
        for schedule in deployment.schedules.all():
            upcoming = schedule.runs.filter(scheduled_for__gt=clock.now).order_by("scheduled_for")
            assert [run.scheduled_for for run in upcoming] == Spec.of(schedule).next_times(clock.now, 5)
            assert all(run.tags == deployment.tags for run in upcoming)


@pytest.mark.django_db
def test_changes_are_announced_to_the_team(
    make: Callable[..., Deployment], announced: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        deployment = make(MINUTELY)
    assert set(announced) & set(deployment.runs.values_list("pk", flat=True))


@pytest.fixture(autouse=True)
def _no_open_transaction() -> Iterator[None]:
    yield
    assert transaction.get_connection().needs_rollback is False


def test_flow_actions_know_nothing_of_runs() -> None:
    assert not any(name.startswith("runs") for name in vars(flow_actions))


@pytest.mark.django_db
def test_many_schedules_catch_up_together_within_what_a_tick_makes(
    make: Callable[..., Deployment], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "MAX_CAUGHT_UP_TOGETHER", 60)
    deployments = [make(Spec("cron", "* * * * *", catchup="all"), name=f"d{number}") for number in range(4)]
    made = clock.tick(hours=1)
    assert len(made) == 60
    assert {run.deployment_id for run in made} == {one.pk for one in deployments}, "none waits for another"
    for _ in range(6):
        clock.tick(seconds=2)
    for deployment in deployments:
        times = list(deployment.runs.order_by("scheduled_for").values_list("scheduled_for", flat=True))
        assert times == [NOW.replace(second=0) + timedelta(minutes=n + 1) for n in range(65)]


@pytest.mark.django_db
def test_a_schedule_that_is_changed_meanwhile_is_backfilled_as_it_is_now(
    make: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = make(Spec("cron", "0 * * * *"))
    lock = scheduling.lock

    def changed_first(locked: Deployment) -> Any:
        """Somebody else's change is committed while the backfill waits for the lock."""
        Schedule.objects.filter(deployment=deployment).update(expression="30 * * * *")
        return lock(locked)

    monkeypatch.setattr(scheduling, "lock", changed_first)
    _, runs = actions.backfill(deployment, start=NOW - timedelta(hours=3))
    assert {run.scheduled_for.minute for run in runs} == {30}
