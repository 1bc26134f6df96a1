"""Deliveries are written with the end that they tell, once, whatever brings the end."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Schedule
from notifications import bells, outbox
from notifications.events import Event
from notifications.models import Delivery, Mute
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import actions
from runs.clock import database_now
from runs.ingest import abandon
from runs.models import Attempt, FlowRun, Journal, Pulse, Trigger, Worker
from runs.reaper import PULSE, reap
from tests.notifications.making import Make
from tests.runs.scripts import Process, error

pytestmark = pytest.mark.django_db

Told = list[set[UUID]]
RING = bells.ring


@pytest.fixture(autouse=True)
def rung(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The destinations that were rung, bell by bell."""
    rung: Told = []
    monkeypatch.setattr(bells, "ring", lambda ids: rung.append(set(ids)) if ids else None)
    return rung


def failing(flow: str = "new_thing", **created: Any) -> Process:
    """A script whose run fails."""
    process = Process().begin(flow=flow, **created)
    process.log("about to fail")
    process.state("FAILED", message="ValueError: boom", error=error())
    process.end()
    return process


def completing(flow: str = "new_thing") -> Process:
    process = Process().begin(flow=flow)
    process.state("COMPLETED")
    process.end()
    return process


def told() -> list[tuple[str, str]]:
    """Events with their states' names, in the order of their writing."""
    return list(Delivery.objects.order_by("id").values_list("event", "state_name"))


# Once, at the final state


def test_a_failure_is_written_for_each_policy_and_destination(make: Make, rung: Told) -> None:
    first, second = make.destination(), make.destination()
    policies = [make.policy(first, second), make.policy(first, second)]
    process = failing()
    process.ingest()
    rows = Delivery.objects.all()
    assert {(row.policy, row.destination) for row in rows} == {(p, d) for p in policies for d in (first, second)}
    run = FlowRun.objects.get()
    for row in rows:
        assert (row.team, row.flow_run, row.attempt, row.event) == (make.team, run, 1, Event.FAILED)
        assert (row.state_name, row.reason, row.occurred_at) == ("Failed", "ValueError: boom", run.end_time)
        assert (row.subject, row.repeats, row.muted, row.message) == (run.flow_id, False, False, None)
        assert row.due_at is not None
    assert rung == [{first.pk, second.pk}]


def test_a_retry_within_the_process_tells_nothing_until_the_last_attempt_ends(make: Make) -> None:
    make.policy(make.destination())
    process = Process().begin(flow="new_thing")
    process.state("SCHEDULED", "AwaitingRetry", message="ValueError: boom")
    process.ingest()
    assert told() == []
    process.state("RUNNING", attempt=2)
    process.ingest()
    assert told() == []
    process.state("FAILED", attempt=2)
    process.ingest()
    assert [(row.event, row.attempt) for row in Delivery.objects.all()] == [("FAILED", 2)]


def test_a_retry_that_completes_is_no_recovery(make: Make) -> None:
    make.policy(make.destination(), events=["FAILED", "RECOVERED"])
    process = Process().begin(flow="new_thing")
    process.state("SCHEDULED", "AwaitingRetry")
    process.state("RUNNING", attempt=2)
    process.state("COMPLETED", attempt=2)
    process.ingest()
    assert told() == []


def test_the_same_batch_again_and_late_facts_tell_nothing_more(make: Make, rung: Told) -> None:
    make.policy(make.destination())
    process = failing()
    process.ingest()
    process.ingest()
    process.log("a thread that went on")
    process.ingest()
    assert told() == [("FAILED", "Failed")]
    assert len(rung) == 1


def test_a_policy_made_after_the_failure_hears_nothing_of_it(make: Make) -> None:
    process = failing()
    process.ingest()
    make.policy(make.destination())
    process.log("a thread that went on")
    process.ingest()
    assert told() == []


def test_a_paused_policy_and_one_without_destinations_write_nothing(make: Make) -> None:
    make.policy(make.destination(), paused=True)
    make.policy()
    failing().ingest()
    assert told() == []


def test_what_a_paused_destination_is_to_be_told_waits(make: Make, rung: Told) -> None:
    make.policy(make.destination(paused_at=timezone.now()))
    failing().ingest()
    assert Delivery.objects.get().due_at is not None
    assert rung == []


def test_names_are_known_by_their_slugs(make: Make) -> None:
    make.policy(make.destination(), flows=["new-th*"])
    failing("new_thing").ingest()
    failing("other_thing").ingest()
    assert [row.flow_run.flow.name for row in Delivery.objects.all()] == ["new_thing"]


def test_another_teams_policy_is_not_asked(make: Make) -> None:
    from teams.models import Team

    elsewhere = Make(Team.objects.create(name="elsewhere"), make.address)
    elsewhere.policy(elsewhere.destination())
    failing().ingest()
    assert told() == []


def test_tags_of_a_script_are_looked_at(make: Make) -> None:
    make.policy(make.destination(), tags=["prod"])
    failing(tags=["prod"]).ingest()
    failing(tags=["test"]).ingest()
    assert told() == [("FAILED", "Failed")]


# Subflows


def nested() -> Process:
    process = Process().begin(flow="new_thing")
    child = process.create(flow="inner", run=str(uuid7()), parent=process.run)
    process.state("RUNNING", run=child)
    process.state("FAILED", run=child)
    process.state("FAILED")
    process.end()
    return process


def test_a_failure_that_passes_through_a_subflow_is_told_once(make: Make) -> None:
    make.policy(make.destination())
    nested().ingest()
    assert [row.flow_run.flow.name for row in Delivery.objects.all()] == ["new_thing"]


def test_a_policy_that_names_the_subflows_flow_hears_of_it(make: Make) -> None:
    make.policy(make.destination(), flows=["inner"])
    nested().ingest()
    assert [row.flow_run.flow.name for row in Delivery.objects.all()] == ["inner"]


def test_a_subflow_that_was_closed_with_its_parent_is_told_where_it_is_named(make: Make) -> None:
    make.policy(make.destination(), flows=["inner"])
    process = Process().begin(flow="new_thing")
    child = process.create(flow="inner", run=str(uuid7()), parent=process.run)
    process.state("RUNNING", run=child)
    process.ingest()
    abandon(process.header)
    assert told() == [("CRASHED", "Crashed")]


# Crashes and cancellations


def test_a_process_that_died_is_told(make: Make) -> None:
    make.policy(make.destination())
    process = Process().begin()
    process.ingest()
    abandon(process.header)
    abandon(process.header)
    assert told() == [("CRASHED", "Crashed")]


def lapsed() -> tuple[Process, datetime]:
    """A worker's run whose lease lapsed, and the time of the tick."""
    now = database_now()
    Pulse.objects.create(name=PULSE, at=now - timedelta(seconds=2))
    process = Process().begin()
    process.ingest()
    before = now - timedelta(seconds=1)
    worker = Worker.objects.create(name="w", host="h", pid=7, places=1, started_at=before, heartbeat_at=before)
    FlowRun.objects.filter(id=process.run).update(lease_expires_at=before)
    Attempt.objects.filter(flow_run=process.run).update(worker=worker)
    return process, now


def test_a_lapsed_lease_is_told_and_so_is_what_the_run_says_afterwards(make: Make) -> None:
    make.policy(make.destination(), events=["CRASHED", "COMPLETED"])
    process, now = lapsed()
    reap(now)
    reap(now)
    assert told() == [("CRASHED", "Crashed")]
    process.state("COMPLETED")
    process.ingest()
    assert told() == [("CRASHED", "Crashed"), ("COMPLETED", "Completed")]


def test_a_run_that_was_told_as_crashed_and_completes_has_recovered(make: Make) -> None:
    make.policy(make.destination(), events=["CRASHED", "RECOVERED"])
    process, now = lapsed()
    reap(now)
    process.log("still here")
    process.ingest()
    process.state("COMPLETED")
    process.ingest()
    assert told() == [("CRASHED", "Crashed"), ("RECOVERED", "Completed")]


def test_a_supervisors_word_on_a_crash_that_was_told_is_no_news(make: Make) -> None:
    process, now = lapsed()
    reap(now)
    make.policy(make.destination(), events=["CRASHED"])
    process.exited(signal=9)
    process.ingest()
    assert FlowRun.objects.get().state_message == "Crashed: killed by signal 9 (SIGKILL)"
    assert told() == []


def test_a_lease_that_lapses_while_it_is_cancelled_is_a_cancellation(make: Make) -> None:
    make.policy(make.destination(), events=["CRASHED", "CANCELLED"])
    process, now = lapsed()
    FlowRun.objects.filter(id=process.run).update(state_type="CANCELLING", state_name="Cancelling")
    reap(now)
    assert told() == [("CANCELLED", "Cancelled")]


def test_a_run_that_is_cancelled_while_it_waits_is_told(make: Make) -> None:
    make.policy(make.destination(), events=["CANCELLED"])
    deployment = make.deployment()
    run, _ = actions.create_flow_run(deployment, trigger=Trigger.API)
    actions.cancel_flow_run(run)
    assert told() == [("CANCELLED", "Cancelled")]


def test_what_waits_is_told_as_cancelled_when_its_deployment_is_deleted_and_what_is_skipped_is_not(make: Make) -> None:
    make.policy(make.destination(), events=["CANCELLED"], deployments=["new-thing/*"])
    deployment = make.deployment()
    run, _ = actions.create_flow_run(deployment, trigger=Trigger.API)
    schedule = Schedule.objects.create(deployment=deployment, kind="cron", expression="* * * * *")
    skipped = make.run(
        StateType.SCHEDULED, deployment=deployment, schedule=schedule, attempt=0, trigger=Trigger.SCHEDULE,
        scheduled_for=timezone.now() - timedelta(seconds=5), start_time=None,
    )  # fmt: skip
    actions.pause_deployment(deployment)
    skipped.refresh_from_db()
    assert skipped.state_name == "Skipped"
    assert told() == []
    actions.delete_deployment(deployment)
    assert list(Delivery.objects.values_list("flow_run", "event")) == [(run.pk, "CANCELLED")]


# Recoveries and repeats


@pytest.mark.parametrize("broken", [StateType.FAILED, StateType.CRASHED])
def test_the_first_success_after_a_failure_is_a_recovery(make: Make, broken: StateType) -> None:
    make.policy(make.destination(), events=["RECOVERED"])
    before = timezone.now() - timedelta(days=400)
    make.run(StateType.COMPLETED, ended=before - timedelta(hours=2))
    make.run(broken, ended=before - timedelta(hours=1))
    make.run(StateType.CANCELLED, ended=before)
    completing().ingest()
    completing().ingest()
    assert told() == [("RECOVERED", "Completed")]


def test_a_policy_on_both_hears_of_a_recovery_only(make: Make) -> None:
    make.policy(make.destination(), events=["COMPLETED", "RECOVERED"])
    make.policy(make.destination(), events=["COMPLETED"])
    make.run(StateType.FAILED, ended=timezone.now() - timedelta(days=400))
    completing().ingest()
    assert sorted(told()) == [("COMPLETED", "Completed"), ("RECOVERED", "Completed")]


def test_a_manual_retry_that_completes_is_a_recovery(make: Make) -> None:
    make.policy(make.destination(), events=["RECOVERED"])
    first = failing()
    first.ingest()
    Attempt.objects.create(
        flow_run_id=first.run, number=2, journal=(journal := uuid7()), created_at=timezone.now(), state_type="PENDING"
    )
    FlowRun.objects.filter(id=first.run).update(attempt=2, state_type="PENDING", state_name="Pending", ended_by="")
    second = Process(run=first.run, journal=str(journal))
    second.state("RUNNING", attempt=2)
    second.state("COMPLETED", attempt=2)
    second.ingest()
    assert told() == [("RECOVERED", "Completed")]


def scheduled_run(make: Make, ended: datetime, before: StateType | None) -> Process:
    """A scheduled run that a worker runs, after one that ended so."""
    deployment = make.deployment()
    schedule = Schedule.objects.create(deployment=deployment, kind="cron", expression="* * * * *")
    if before is not None:
        make.run(before, deployment=deployment, schedule=schedule, ended=ended - timedelta(days=300))
    run = make.run(
        StateType.RUNNING, deployment=deployment, schedule=schedule, ended=ended, end_time=None, state_name="Running"
    )
    process = Process(run=str(run.pk))
    Attempt.objects.filter(flow_run=run).update(journal=process.header.journal, state_type="RUNNING", end_time=None)
    return process


@pytest.mark.parametrize(
    ("before", "repeats"),
    [(None, False), (StateType.COMPLETED, False), (StateType.FAILED, True), (StateType.CRASHED, True)],
)
def test_a_scheduled_failure_after_a_failure_repeats(make: Make, before: StateType | None, repeats: bool) -> None:
    make.policy(make.destination())
    process = scheduled_run(make, timezone.now() - timedelta(days=1), before)
    process.state("FAILED")
    process.ingest()
    row = Delivery.objects.get()
    assert (row.repeats, row.subject) == (repeats, make.deployment().pk)


def test_what_people_start_by_hand_does_not_repeat(make: Make) -> None:
    make.policy(make.destination())
    make.run(StateType.FAILED, ended=timezone.now() - timedelta(days=400))
    failing().ingest()
    assert Delivery.objects.get().repeats is False


# Mutes


@pytest.mark.parametrize(("hours", "muted"), [(1, True), (-1, False)])
def test_a_muted_deployments_failure_is_written_down_and_not_told(
    make: Make, rung: Told, hours: int, muted: bool
) -> None:
    make.policy(make.destination())
    Mute.objects.create(deployment=make.deployment(), until=timezone.now() + timedelta(hours=hours))
    process = scheduled_run(make, timezone.now() - timedelta(days=1), None)
    process.state("FAILED")
    process.ingest()
    row = Delivery.objects.get()
    assert (row.muted, row.due_at is None) == (muted, muted)
    assert bool(rung) is not muted


# Faults


def test_an_outbox_that_fails_to_write_loses_no_fact(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make.policy(make.destination())
    monkeypatch.setattr("notifications.outbox._rows", lambda *_: 1 / 0)
    failing().ingest()
    assert FlowRun.objects.get().state_type == "FAILED"
    assert told() == []
    assert "ZeroDivisionError" in caplog.text


def test_a_policy_that_cannot_be_read_keeps_no_other_from_being_heard(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make.policy(make.destination(), events="FAILED", name="broken")
    make.policy(make.destination())
    failing().ingest()
    assert told() == [("FAILED", "Failed")]
    assert "is passed over" in caplog.text


@pytest.mark.parametrize("column", ["reason", "team_id"])
def test_rows_that_the_database_refuses_cost_no_fact(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    make.policy(make.destination())
    place = [name for name, _ in outbox.DELIVERIES.columns].index(column)
    rows = outbox._rows

    def without(*arguments: Any) -> Any:
        return ((*row[:place], None, *row[place + 1 :]) for row in rows(*arguments))

    monkeypatch.setattr(outbox, "_rows", without)
    process = failing()
    process.ingest()
    assert (FlowRun.objects.get().state_type, FlowRun.objects.get().logs.count()) == ("FAILED", 1)
    assert Journal.objects.get().sequence == len(process.facts)
    assert told() == []
    assert "1 deliveries were not written" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_bells_ring_after_the_commit_and_not_for_what_is_rolled_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: Told = []
    monkeypatch.setattr(bells, "ring", RING)
    monkeypatch.setattr(bells, "_send", lambda ids: rung.append(set(ids)))
    policy = make.policy(make.destination())
    with transaction.atomic():
        failing().ingest()
        assert told() == [("FAILED", "Failed")]
        transaction.set_rollback(True)
    assert (told(), rung) == ([], [])
    assert not FlowRun.objects.exists()
    with transaction.atomic():
        failing().ingest()
        assert rung == []
    assert rung == [set(policy.destinations.values_list("id", flat=True))]


def test_every_column_of_a_delivery_is_written(make: Make) -> None:
    written = {name for name, _ in outbox.DELIVERIES.columns}
    assert {field.column for field in Delivery._meta.concrete_fields} - written == {"message_id"}
    policy = make.policy(make.destination())
    failing().ingest()
    row = Delivery.objects.get()
    again = Delivery.objects.filter(
        policy=policy, flow_run=row.flow_run, occurred_at=row.flow_run.end_time, due_at=row.created_at, muted=False
    )
    assert again.get() == row


def test_without_a_server_deliveries_are_written_and_nobody_is_rung(make: Make, rung: Told) -> None:
    make.policy(make.destination())
    failing().ingest(tell=False)
    assert told() == [("FAILED", "Failed")]
    assert rung == []


@pytest.mark.django_db(transaction=True)
def test_two_that_bring_in_the_same_ending_at_once_tell_it_once(make: Make) -> None:
    make.policy(make.destination())
    process = failing()
    ready = threading.Barrier(4)
    failures: list[BaseException] = []

    def bring_in() -> None:
        ready.wait()
        try:
            process.ingest()
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=bring_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert told() == [("FAILED", "Failed")]


# What it costs


def queries(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


def test_endings_cost_one_query_where_nobody_watches_and_what_goes_on_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing().ingest()  # the flow is there from now on
    monkeypatch.setattr(settings, "STATE_OUTBOX", f"{__name__}.nobody")
    running, ended = queries(Process().begin(flow="new_thing").ingest), queries(failing().ingest)
    monkeypatch.undo()
    assert queries(Process().begin(flow="new_thing").ingest) == running
    assert queries(failing().ingest) == ended + 1


def nobody(runs: Any, *, tell: bool = True) -> None:
    """An outbox that keeps nothing."""


def test_fifty_policies_that_match_cost_as_many_queries_as_one(make: Make) -> None:
    destination = make.destination()
    make.policy(destination)
    failing().ingest()
    one = queries(failing().ingest)
    for _ in range(49):
        make.policy(destination)
    assert queries(failing().ingest) == one
