"""Backfills: runs for past times that have none yet."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone

from flows import calendar_actions
from flows.declarations import Declaration
from flows.models import Deployment
from flows.schedules import Spec
from orchestrator.sdk.states import StateType
from runs import actions, backfill, claims, scheduling
from runs.models import FlowRun, Trigger, Worker
from teams.models import Team
from tests.runs.test_scheduling import in_threads

NOW = datetime(2027, 1, 4, 10, 0, 30, tzinfo=UTC)  # a Monday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURLY = Spec("cron", "0 * * * *")
DAILY = Spec("cron", "0 8 * * *")


@pytest.fixture(autouse=True)
def traveller(monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    for module in ("scheduling", "backfill", "actions"):
        monkeypatch.setattr(f"runs.{module}.database_now", timezone.now)
    monkeypatch.setattr("runs.live.announce", lambda ids: None)
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def make(db: None) -> Callable[..., Deployment]:
    def make(*specs: Spec, name: str = "nightly", **fields: Any) -> Deployment:
        declaration = Declaration(flow_name="etl", name=name, entrypoint="etl.py:etl", schedules=specs, **fields)
        return actions.deploy(team=Team.default(), user=None, declaration=declaration)[0]

    return make


def hours(runs: list[FlowRun]) -> list[str]:
    return [f"{run.scheduled_for:%H}" for run in runs]


def test_each_time_without_a_run_gets_one_oldest_first(
    make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployment = make(HOURLY, parameters={"day": 1}, tags=["a"])
    there = actions.backfill(deployment, start=NOW - 5 * HOUR, end=NOW - 4 * HOUR)[1]
    assert hours(there) == ["06"]
    traveller.shift(timedelta(seconds=1))
    planned, made = actions.backfill(deployment, start=NOW - 8 * HOUR)
    assert hours(made) == ["03", "04", "05", "07", "08", "09", "10"]
    assert (planned.there, planned.more_from) == (1, None)
    for run in made:
        assert (run.trigger, run.parameters, run.tags) == (Trigger.BACKFILL, {"day": 1}, ["a", planned.tag])
        assert run.expected_start >= NOW
    worker = Worker.objects.create(name="w", host="h", pid=1, places=9, started_at=NOW, heartbeat_at=NOW)
    claimed = [claims.claim(worker, timezone.now() + timedelta(seconds=1)) for _ in range(3)]
    assert [claim.run.scheduled_for.hour for claim in claimed] == [6, 3, 4], "the first call's was asked for first"


def test_twice_makes_nothing_twice(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY)
    assert len(actions.backfill(deployment, start=NOW - DAY)[1]) == 24
    planned, made = actions.backfill(deployment, start=NOW - DAY)
    assert (made, planned.there) == ([], 24)
    assert actions.plan_backfill(deployment, start=NOW - DAY).slots == []


def test_plan_changes_nothing(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY)
    before = FlowRun.objects.count()
    assert len(actions.plan_backfill(deployment, start=NOW - DAY).slots) == 24
    assert FlowRun.objects.count() == before


def test_window_includes_both_of_its_ends(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY)
    start = NOW.replace(hour=3, second=0)
    assert hours(actions.backfill(deployment, start=start, end=start + 2 * HOUR)[1]) == ["03", "04", "05"]


def test_missed_time_that_was_skipped_is_brought_back(
    make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployment = make(HOURLY)
    traveller.shift(5 * HOUR)
    scheduling.materialize(timezone.now())
    skipped = deployment.runs.filter(state_name="Skipped").order_by("scheduled_for")
    ids = [run.pk for run in skipped]
    assert len(ids) == 4
    made = actions.backfill(deployment, start=NOW, end=NOW + 5 * HOUR)[1]
    assert [run.pk for run in made] == ids
    for run in made:
        assert (run.state_type, run.state_name, run.trigger) == (StateType.SCHEDULED, "Scheduled", Trigger.BACKFILL)
        assert run.end_time is None
        assert run.revision > 0
    assert [run.expected_start for run in made] == sorted(run.expected_start for run in made)


def test_run_that_somebody_cancelled_is_not_made_again(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY)
    [run, *_] = actions.backfill(deployment, start=NOW - 2 * HOUR)[1]
    actions.cancel_flow_run(run)
    assert actions.backfill(deployment, start=NOW - 2 * HOUR)[1] == []


def test_paused_deployment_and_switched_off_schedule_are_backfilled_and_keep_their_runs(
    make: Callable[..., Deployment],
) -> None:
    deployment = make(HOURLY)
    actions.change_schedule(deployment.schedules.get(), active=False)
    actions.pause_deployment(deployment)
    made = actions.backfill(deployment, start=NOW - 3 * HOUR)[1]
    assert len(made) == 3
    scheduling.materialize(timezone.now())
    actions.resume_deployment(deployment)
    assert FlowRun.objects.scheduled().filter(pk__in=[run.pk for run in made]).count() == 3


def test_outage_does_not_skip_what_was_backfilled(
    make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployment = make(HOURLY)
    traveller.shift(7 * HOUR)  # beyond the runs that were made ahead
    made = actions.backfill(deployment, start=NOW + 5 * HOUR, end=NOW + 6 * HOUR)[1]
    assert len(made) == 1
    scheduling.materialize(timezone.now())
    made[0].refresh_from_db()
    assert made[0].state_type == StateType.SCHEDULED


def test_one_of_several_schedules_can_be_named(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY, Spec("cron", "30 * * * *", parameters={"half": True}))
    half = deployment.schedules.get(expression="30 * * * *")
    made = actions.backfill(deployment, start=NOW - 2 * HOUR, schedule=half.pk)[1]
    assert [(run.scheduled_for.minute, run.parameters) for run in made] == [(30, {"half": True})] * 2
    both = actions.plan_backfill(deployment, start=NOW - 4 * HOUR)
    assert [slot.time.minute for slot in both.slots] == [30, 0, 30, 0, 0, 0]


def test_time_that_a_deleted_schedule_ran_is_not_run_again(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY)
    actions.backfill(deployment, start=NOW - 2 * HOUR)
    actions.set_schedules(deployment, [Spec("cron", "*/30 * * * *")])
    planned = actions.plan_backfill(deployment, start=NOW - 2 * HOUR)
    assert [slot.time.minute for slot in planned.slots] == [30, 30]
    assert planned.there == 2


def test_days_off_have_no_times_to_backfill(make: Callable[..., Deployment]) -> None:
    calendar_actions.create_calendar(Team.default(), name="office")
    deployment = make(Spec("cron", "0 8 * * *", calendar="office"))
    made = actions.backfill(deployment, start=NOW - 7 * DAY)[1]
    assert [f"{run.scheduled_for:%a}" for run in made] == ["Tue", "Wed", "Thu", "Fri", "Mon"]


def test_call_is_bounded_and_says_where_to_go_on(make: Callable[..., Deployment]) -> None:
    deployment = make(Spec("interval", "60"))
    planned, made = actions.backfill(deployment, start=NOW - 2 * DAY)
    assert len(made) == backfill.MAX_RUNS
    assert planned.more_from == planned.slots[-1].time + timedelta(seconds=60)
    _, more = actions.backfill(deployment, start=NOW - 2 * DAY)
    assert more[0].scheduled_for == planned.more_from, "the same window goes on where it was"


def test_what_was_looked_at_is_bounded_too(make: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "MAX_LOOKED_AT", 50)
    deployment = make(HOURLY)
    actions.backfill(deployment, start=NOW - 50 * HOUR, end=NOW)
    planned = actions.plan_backfill(deployment, start=NOW - 60 * HOUR)
    assert planned.more_from is not None


@pytest.mark.parametrize(
    ("window", "field"),
    [
        ({"start": NOW - HOUR, "end": NOW + HOUR}, "end"),
        ({"start": NOW, "end": NOW - HOUR}, "start"),
        ({"start": NOW + HOUR}, "start"),
    ],
)
def test_window_that_is_not_in_the_past_is_refused(
    make: Callable[..., Deployment], window: dict[str, datetime], field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        actions.backfill(make(HOURLY), **window)
    assert list(caught.value.message_dict) == [field]


def test_deployment_without_a_schedule_has_no_past(make: Callable[..., Deployment]) -> None:
    with pytest.raises(ValidationError, match="no schedule"):
        actions.backfill(make(), start=NOW - HOUR)


@pytest.mark.django_db(transaction=True)
def test_backfills_at_once_make_each_run_once(make: Callable[..., Deployment]) -> None:
    deployment = make(HOURLY)
    results = in_threads(4, lambda: len(actions.backfill(deployment, start=NOW - 2 * DAY)[1]))
    assert not [result for result in results if isinstance(result, Exception)]
    assert sorted(results) == [0, 0, 0, 48]
    times = list(deployment.runs.filter(trigger=Trigger.BACKFILL).values_list("scheduled_for", flat=True))
    assert len(times) == len(set(times)) == 48


def test_undo_leaves_out_what_has_not_begun_and_nothing_else(
    make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployment = make(HOURLY)
    other = actions.backfill(deployment, start=NOW - 9 * HOUR, end=NOW - 7 * HOUR)[0]
    mine, runs = actions.backfill(deployment, start=NOW - 6 * HOUR)
    assert mine.tag != other.tag
    begun = runs[0]
    FlowRun.objects.filter(pk=begun.pk).update(state_type=StateType.RUNNING, state_name="Running", attempt=1)
    assert backfill.waiting(deployment) == {other.tag: len(other.slots), mine.tag: len(runs) - 1}
    assert actions.undo_backfill(deployment, mine.tag) == len(runs) - 1
    assert actions.undo_backfill(deployment, mine.tag) == 0, "asking twice is harmless"
    assert backfill.waiting(deployment) == {other.tag: len(other.slots)}
    begun.refresh_from_db()
    assert begun.state_type == StateType.RUNNING
    again, back = actions.backfill(deployment, start=NOW - 6 * HOUR)
    assert {run.pk for run in back} == {run.pk for run in runs[1:]}, "the same rows wait again"
    assert all(run.tags == [again.tag] for run in back)


def test_a_rule_is_followed_over_decades(make: Callable[..., Deployment]) -> None:
    deployment = make(Spec("rrule", "FREQ=YEARLY;BYMONTH=6;BYMONTHDAY=1;BYHOUR=8;BYMINUTE=0;BYSECOND=0"))
    planned = actions.plan_backfill(deployment, start=NOW - 45 * 365 * DAY)
    assert [slot.time.year for slot in planned.slots] == list(range(2000, 2027))
