"""Facts become rows, once, whatever way and in whatever pieces they come."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from flows.models import Flow
from orchestrator.sdk.events import Header, TaskRunState, encode
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.reader import Batch
from runs import bulk, claims
from runs import ingest as ingest_module
from runs.authentication import attempt_of, run_token
from runs.bounds import moment
from runs.ingest import MAX_REJECTED, abandon, ingest, parse_batch
from runs.loading import UnusableBatch
from runs.models import Attempt, FlowRun, Journal, Log, TaskRun, TaskRunAttempt, Worker
from teams.models import Team
from tests.runs.scripts import START, STEP, Process, error, pieces

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """What was announced; no broker here."""
    told: list[UUID] = []
    monkeypatch.setattr(settings, "AFTER_INGEST", f"{__name__}.hear")
    monkeypatch.setattr("tests.runs.test_ingest.HEARD", told)
    return told


HEARD: list[UUID] = []


def hear(run_ids: Any) -> None:
    HEARD.extend(run_ids)


def the_run() -> FlowRun:
    return FlowRun.objects.get()


def claimed(process: Process, *, worker: bool = True, **fields: Any) -> FlowRun:
    """A run that the server made and a worker claimed for this process."""
    team = Team.default()
    flow = Flow.objects.get_or_create(team=team, name="etl")[0]
    now = timezone.now()
    values = {"state_type": "PENDING", "state_name": "Pending", "attempt": 1, **fields}
    run = FlowRun.objects.create(
        id=UUID(process.run), team=team, flow=flow, name="r", state_time=now, expected_start=now,
        lease_expires_at=now + timedelta(seconds=20), **values,
    )  # fmt: skip
    made = None
    if worker:
        made = Worker.objects.create(name="w", host="h", pid=1, places=1, started_at=now, heartbeat_at=now)
    Attempt.objects.create(
        flow_run=run, number=values["attempt"], worker=made, journal=process.header.journal, created_at=now
    )
    return run


# A run of a script


def test_a_script_becomes_a_run_with_its_flow_attempt_tasks_and_logs(told: list[UUID]) -> None:
    script = Process()
    script.begin(parameters={"day": "Mon"}, tags=["a"], version="1", entrypoint="etl.py:etl", description="Loads.")
    task = script.task(tags=["x"], inputs={"rows": ["1"]}, max_retries=2, name="load-0")
    script.log("hello", task_run=task, task_attempt=1, logger="stdout")
    script.task_state(task, "COMPLETED")
    script.state("COMPLETED")
    script.end()

    outcome = script.ingest()

    assert (outcome.taken, outcome.unknown, outcome.late, outcome.sequence) == (7, 0, 0, 7)
    run = the_run()
    assert (run.name, run.flow.name, run.flow.description, run.team) == ("swift-otter", "etl", "Loads.", Team.default())
    assert (run.parameters, run.tags, run.trigger, run.version) == ({"day": "Mon"}, ["a"], "script", "1")
    assert (run.state_type, run.state_name, run.ended_by, run.attempt, run.revision) == (
        "COMPLETED", "Completed", "run", 1, 1,
    )  # fmt: skip
    assert (run.expected_start, run.start_time, run.end_time) == tuple(
        moment(START + STEP * step) for step in (1, 2, 6)
    )
    attempt = run.attempts.get()
    assert (attempt.number, attempt.journal, attempt.pid, attempt.state_type, attempt.end_time) == (
        1, UUID(script.header.journal), 4242, "COMPLETED", run.end_time,
    )  # fmt: skip
    row = run.task_runs.get()
    assert (row.id, row.task, row.key, row.name, row.tags) == (UUID(task), "load", "etl.load", "load-0", ["x"])
    assert (row.inputs, row.max_retries, row.attempt, row.flow_attempt) == ({"rows": ["1"]}, 2, 1, 1)
    assert (row.state_type, row.start_time, row.end_time) == (
        "COMPLETED", moment(START + 3 * STEP), moment(START + 5 * STEP),
    )  # fmt: skip
    assert row.attempt_start_time == row.created_at == row.start_time
    log = run.logs.get()
    assert (log.message, log.task_run_id, log.logger, log.time) == (
        "hello", UUID(task), "stdout", moment(START + 4 * STEP),
    )  # fmt: skip
    assert Journal.objects.get().ended


@pytest.mark.django_db(transaction=True)
def test_changed_runs_are_announced_after_the_commit(told: list[UUID]) -> None:
    script = Process().begin()
    script.ingest()
    script.ingest()
    assert told == [UUID(script.run)]


@pytest.mark.django_db(transaction=True)
def test_an_error_of_the_announcement_is_logged_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settings, "AFTER_INGEST", "no.such.module")
    assert Process().begin().ingest().taken == 2
    assert "no.such.module failed" in caplog.text


def test_rows_written_in_bulk_read_like_rows_that_django_wrote() -> None:
    script = Process(start=START - 3 * STEP).begin()
    task = script.task()  # at a whole second: no fraction in SQLite's text
    script.ingest()
    row = TaskRun.objects.get(id=task)
    values = {field.attname: getattr(row, field.attname) for field in TaskRun._meta.concrete_fields}
    TaskRun.objects.filter(id=task).delete()
    TaskRun.objects.create(**values)
    again = TaskRun.objects.get(id=task, created_at=row.created_at, start_time=row.start_time, flow_run=script.run)
    assert {name: getattr(again, name) for name in values} == values
    with connection.cursor() as cursor:
        cursor.execute("SELECT tags, inputs, error FROM runs_taskrun")
        assert [json.loads(value) if value else value for value in cursor.fetchone()] == [[], {}, None]


def test_names_that_differ_by_a_dash_are_one_flow() -> None:
    for name in ("my_flow", "my-flow"):
        Process().begin(flow=name).ingest()
    assert Flow.objects.get().name == "my_flow"


def test_the_run_and_its_task_runs_may_change_over_many_batches() -> None:
    script = Process().begin()
    task = script.task("PENDING")
    script.task_state(task, "RUNNING")
    script.task_state(task, "COMPLETED")
    script.state("COMPLETED")
    for fact in script.facts:
        ingest(script.batch([fact]))
    row = TaskRun.objects.get()
    assert (row.state_type, row.start_time, row.end_time) == (
        "COMPLETED", moment(START + 4 * STEP), moment(START + 5 * STEP),
    )  # fmt: skip
    assert the_run().revision == len(script.facts)


# Once


def test_a_batch_that_comes_twice_changes_nothing() -> None:
    script = Process().begin()
    script.task()
    script.log("a")
    script.ingest()
    again = script.ingest()
    assert (again.taken, again.repeated, again.sequence) == (0, 4, 4)
    assert (TaskRun.objects.count(), Log.objects.count(), the_run().revision) == (1, 1, 1)


def test_a_number_seen_twice_in_a_batch_counts_once() -> None:
    script = Process().begin()
    script.log("a")
    ingest(script.batch([*script.facts, script.facts[-1]]))
    assert Log.objects.count() == 1


def test_gaps_in_the_numbers_are_fine() -> None:
    script = Process().begin()
    script.facts[-1].n = 900
    script.ingest()
    assert Journal.objects.get().sequence == 900


def test_a_flow_run_created_twice_is_one_run() -> None:
    script = Process().begin()
    script.create(flow="other")
    script.ingest()
    assert FlowRun.objects.get().flow.name == "etl"


def test_log_ids_sort_in_the_order_of_the_facts_over_batches_and_clocks_set_back() -> None:
    script = Process().begin()
    for number, t in enumerate([START, START, START, START - 50_000_000, START + 9_000_000, START, START + 9_000_000]):
        script.log(str(number), t=t)
    for piece in pieces(script.facts, [4, 6]):
        ingest(script.batch(piece))
    assert list(Log.objects.order_by("id").values_list("message", flat=True)) == [str(number) for number in range(7)]


# Attempts of a task run


def test_each_attempt_of_a_task_run_is_kept_with_its_times_and_error() -> None:
    script = Process().begin()
    task = script.task(max_retries=2)  # 3
    script.task_state(task, "SCHEDULED", "AwaitingRetry", error=error("one"), until=START + 99 * STEP)  # 4
    script.task_state(task, "RUNNING", "Retrying", task_attempt=2)  # 5
    script.task_state(task, "SCHEDULED", "AwaitingRetry", task_attempt=2, error=error("two"))  # 6
    script.task_state(task, "RUNNING", "Retrying", task_attempt=3)  # 7
    script.task_state(task, "COMPLETED", task_attempt=3)  # 8
    for piece in pieces(script.facts, [4, 7]):
        ingest(script.batch(piece))
    row = TaskRun.objects.get()
    assert (row.attempt, row.state_type, row.error, row.next_attempt_at) == (3, "COMPLETED", None, None)
    assert (row.start_time, row.attempt_start_time, row.end_time) == tuple(moment(START + STEP * n) for n in (3, 7, 8))
    kept = TaskRunAttempt.objects.order_by("number")
    assert [(a.number, a.state_type, a.error["message"], a.start_time, a.end_time) for a in kept] == [
        (1, "FAILED", "one", moment(START + 3 * STEP), moment(START + 4 * STEP)),
        (2, "FAILED", "two", moment(START + 5 * STEP), moment(START + 6 * STEP)),
    ]


def test_a_task_run_waiting_for_its_retry_says_when() -> None:
    script = Process().begin()
    task = script.task()
    script.task_state(task, "SCHEDULED", "AwaitingRetry", error=error(), until=START + 99 * STEP)
    script.ingest()
    row = TaskRun.objects.get()
    assert (row.state_name, row.next_attempt_at, row.error["type"]) == (
        "AwaitingRetry", moment(START + 99 * STEP), "ValueError",
    )  # fmt: skip


def test_an_error_is_the_same_whether_it_comes_with_the_task_run_or_later() -> None:
    script = Process().begin()
    task = script.task()
    script.ingest()
    script.task_state(task, "FAILED", error=error())
    script.ingest()
    script.task_state(task, "RUNNING", "Retrying", task_attempt=2)
    script.ingest()
    expected = {"type": "ValueError", "message": "boom", "traceback": "Traceback …"}
    assert TaskRunAttempt.objects.get().error == expected
    script.task_state(task, "FAILED", task_attempt=2, error=error())
    script.ingest()
    assert TaskRun.objects.get().error == expected


def test_a_failure_followed_by_the_next_attempt_is_kept_too() -> None:
    script = Process().begin()
    task = script.task()
    script.task_state(task, "FAILED", "TimedOut", error=error())
    script.task_state(task, "RUNNING", "Retrying", task_attempt=2)
    script.ingest()
    assert list(TaskRunAttempt.objects.values_list("number", "state_name")) == [(1, "TimedOut")]


def test_a_final_task_run_is_not_left_by_a_late_fact() -> None:
    script = Process().begin()
    task = script.task()
    script.task_state(task, "COMPLETED")
    script.task_state(task, "RUNNING")
    outcome = script.ingest()
    assert outcome.late == 1
    assert TaskRun.objects.get().state_type == "COMPLETED"


# Endings


@pytest.mark.parametrize(
    ("ending", "expected"),
    [("COMPLETED", "CANCELLED"), ("FAILED", "CANCELLED"), ("CANCELLED", "CANCELLED"), ("CRASHED", "CRASHED")],
)
def test_what_had_not_ended_is_closed_with_its_flow_run(ending: str, expected: str) -> None:
    script = Process().begin()
    parent_task = script.task()
    child = script.create(flow="sub", run=str(uuid7()), parent=script.run, parent_task_run=parent_task)
    script.state("RUNNING", run=child)
    inner = script.task(run=child)
    done = script.task()
    script.task_state(done, "FAILED", error=error())
    script.ingest()
    script.state(ending)
    script.ingest()
    states = dict(TaskRun.objects.values_list("id", "state_type"))
    assert states == {UUID(parent_task): expected, UUID(inner): expected, UUID(done): "FAILED"}
    subflow = FlowRun.objects.get(id=child)
    assert (subflow.state_type, subflow.trigger, subflow.parent_id) == (expected, "subflow", UUID(script.run))
    assert subflow.end_time == FlowRun.objects.get(id=script.run).end_time
    assert subflow.attempts.get().state_type == expected


def test_a_task_run_that_outlives_its_flow_run_still_says_how_it_ended() -> None:
    script = Process().begin()
    first, second = script.task(), script.task()
    script.state("COMPLETED")
    script.ingest()
    script.task_state(first, "COMPLETED")
    script.task_state(second, "SCHEDULED", "AwaitingRetry")
    script.ingest()
    states = dict(TaskRun.objects.values_list("id", "state_type"))
    assert states == {UUID(first): "COMPLETED", UUID(second): "CANCELLED"}


def test_a_killed_process_makes_a_crash_with_its_cause() -> None:
    script = Process().begin()
    task = script.task()
    script.exited(signal=9)
    script.end()
    script.ingest()
    run = the_run()
    assert (run.state_type, run.ended_by) == ("CRASHED", "exit")
    assert run.state_message == "Crashed: killed by signal 9 (SIGKILL)"
    assert TaskRun.objects.get(id=task).state_type == "CRASHED"
    assert (run.attempts.get().signal, run.lease_expires_at) == (9, None)


def test_an_exit_after_the_runs_own_ending_changes_no_state() -> None:
    script = Process().begin()
    script.state("FAILED", error=error())
    script.exited(exit_code=1)
    script.ingest()
    run = the_run()
    assert (run.state_type, run.ended_by, run.attempts.get().exit_code) == ("FAILED", "run", 1)


def test_a_process_that_ended_leaves_no_run_running() -> None:
    script = Process().begin()
    script.end()
    script.ingest()
    run = the_run()
    assert (run.state_type, run.ended_by) == ("CRASHED", "exit")
    assert "ended without an ending" in run.state_message


def test_a_suspended_run_outlives_its_process() -> None:
    script = Process().begin()
    script.state("PAUSED", "Suspended")
    script.end()
    script.ingest()
    assert the_run().state_type == "PAUSED"


def test_an_abandoned_journal_crashes_its_runs_once() -> None:
    script = Process().begin()
    script.task()
    script.ingest()
    assert abandon(script.header).changed == {UUID(script.run)}
    run = the_run()
    assert (run.state_type, run.end_time) == ("CRASHED", moment(START + 3 * STEP))  # its last fact's time
    assert TaskRun.objects.get().state_type == "CRASHED"
    assert not abandon(script.header).changed


def test_a_process_that_died_before_its_first_fact_crashes_the_run_it_was_claimed_for() -> None:
    process = Process()
    claimed(process)
    abandon(process.header, at=START)
    run = the_run()
    assert (run.state_type, run.lease_expires_at) == ("CRASHED", None)


def test_a_forked_childs_end_is_not_its_parents() -> None:
    script = Process().begin()
    script.ingest()
    child = Process(run=script.run)
    task = child.task()
    child.state("CRASHED")  # SystemExit in the child
    child.end()
    outcome = child.ingest()
    assert outcome.late == 1
    assert the_run().state_type == "RUNNING"
    assert TaskRun.objects.get().id == UUID(task)


def test_a_run_that_goes_on_in_a_new_journal_ends_itself_there() -> None:
    script = Process().begin()
    script.end()
    script.ingest()
    later = Process(run=script.run)
    later.state("COMPLETED")
    later.ingest()
    assert (the_run().state_type, the_run().ended_by) == ("COMPLETED", "run")


# Cancelling


def test_an_exit_while_cancelling_is_the_cancellation() -> None:
    process = Process()
    claimed(process, state_type="CANCELLING", state_name="Cancelling")
    process.state("RUNNING")
    process.exited(signal=15)
    process.ingest()
    run = the_run()
    assert (run.state_type, run.state_message) == ("CANCELLED", "Cancelled: killed by signal 15 (SIGTERM)")
    assert run.attempts.get().state_type == "CANCELLED"


def test_a_run_that_is_being_cancelled_does_not_go_back_to_running() -> None:
    process = Process()
    claimed(process, state_type="CANCELLING", state_name="Cancelling")
    process.state("RUNNING")
    process.ingest()
    assert (the_run().state_type, the_run().start_time) == ("CANCELLING", moment(START + STEP))


@pytest.mark.parametrize(
    ("own", "shown"),
    [("COMPLETED", "COMPLETED"), ("FAILED", "FAILED"), ("CANCELLED", "CANCELLED"), ("CRASHED", "CANCELLED")],
)
def test_the_runs_own_ending_beats_cancelling_and_a_crash_is_the_cancellation(own: str, shown: str) -> None:
    process = Process()
    claimed(process, state_type="CANCELLING", state_name="Cancelling")
    process.state(own)
    process.ingest()
    assert (the_run().state_type, the_run().lease_expires_at) == (shown, None)


def test_a_run_cancelled_before_it_started_stays_cancelled() -> None:
    process = Process()
    claimed(process, state_type="CANCELLED", state_name="Cancelled")
    Attempt.objects.update(state_type="CANCELLED", ended_by="")
    process.state("RUNNING")
    assert process.ingest().late == 1
    assert the_run().state_type == "CANCELLED"


# Attempts of a flow run


def test_a_retry_within_the_process_is_the_next_attempt() -> None:
    script = Process().begin()
    left = script.task()
    script.state("SCHEDULED", "AwaitingRetry", error=error())
    script.ingest()
    run = the_run()
    assert (run.state_type, run.state_name) == ("RUNNING", "AwaitingRetry")  # it holds its place: not for workers

    script.state("RUNNING", "Retrying", attempt=2)
    again = script.task(attempt=2)
    script.task_state(again, "COMPLETED", attempt=2)
    script.state("COMPLETED", attempt=2)
    script.end()
    script.ingest()

    run = the_run()
    assert (run.state_type, run.attempt, run.error, run.start_time) == (
        "COMPLETED", 2, None, moment(START + 2 * STEP),
    )  # fmt: skip
    first, second = run.attempts.order_by("number")
    assert (first.state_type, first.error["message"], first.journal) == ("FAILED", "boom", second.journal)
    assert (second.state_type, second.start_time) == ("COMPLETED", moment(START + 5 * STEP))
    states = dict(TaskRun.objects.values_list("id", "state_type"))
    assert states == {UUID(left): "CANCELLED", UUID(again): "COMPLETED"}


def test_a_worker_keeps_a_run_that_retries_within_its_process() -> None:
    process = Process()
    run = claimed(process)
    token = run_token(run.attempts.get())
    process.state("RUNNING")
    process.state("SCHEDULED", "AwaitingRetry", error=error())
    process.ingest()
    assert claims.renew({run.id: 1}).lost == frozenset()
    process.state("RUNNING", "Retrying", attempt=2)
    process.ingest()
    assert claims.renew({run.id: 1}).lost == frozenset()
    assert attempt_of(token) == run.attempts.get(number=1)
    Attempt.objects.filter(number=2).update(journal=uuid7())
    assert claims.renew({run.id: 1}).lost == {run.id}
    assert attempt_of(token) is None


def test_a_failure_followed_by_a_retry_within_the_process_goes_on() -> None:
    script = Process().begin()
    script.state("FAILED", error=error())
    script.state("RUNNING", "Retrying", attempt=2)
    script.ingest()
    run = the_run()
    assert (run.state_type, run.attempt, run.end_time, run.ended_by) == ("RUNNING", 2, None, "")


def test_an_exit_is_about_the_attempt_that_the_process_had_come_to() -> None:
    process = Process()
    claimed(process)
    process.state("RUNNING")
    process.state("RUNNING", "Retrying", attempt=2)
    process.exited(attempt=1, signal=9)
    process.ingest()
    run = the_run()
    assert (run.state_type, run.attempt) == ("CRASHED", 2)
    assert list(run.attempts.order_by("number").values_list("state_type", flat=True)) == ["FAILED", "CRASHED"]
    assert run.attempts.get(number=2).worker_id == run.attempts.get(number=1).worker_id


def test_a_superseded_process_changes_only_its_own_attempt() -> None:
    old = Process()
    run = claimed(old)
    old.state("RUNNING")
    old.ingest()
    old_attempt = run.attempts.get()
    old_attempt.state_type, old_attempt.ended_by = "CRASHED", "lapse"
    old_attempt.save()
    FlowRun.objects.update(state_type="RUNNING", state_name="Running", attempt=2)
    Attempt.objects.create(flow_run=run, number=2, journal=uuid7(), created_at=timezone.now(), state_type="RUNNING")

    old.task()
    old.state("COMPLETED")
    old.state("RUNNING", "Retrying", attempt=2)  # numbered like the attempt that superseded it
    stray = old.task(attempt=2)
    outcome = old.ingest()

    assert outcome.late == 2
    assert (the_run().state_type, the_run().attempt) == ("RUNNING", 2)
    assert run.attempts.get(number=1).state_type == "COMPLETED"
    assert run.attempts.get(number=2).state_type == "RUNNING"
    assert not TaskRun.objects.filter(id=stray).exists()


@pytest.mark.parametrize("own", ["COMPLETED", "FAILED", "RUNNING"])
def test_a_lapse_yields_to_the_attempts_own_later_facts(own: str) -> None:
    process = Process()
    run = claimed(process)
    process.state("RUNNING")
    process.ingest()
    crashed = {"state_type": "CRASHED", "ended_by": "lapse", "end_time": moment(START)}
    FlowRun.objects.update(**crashed, lease_expires_at=None)
    Attempt.objects.update(**crashed)
    process.state(own)
    process.ingest()
    run.refresh_from_db()
    assert (run.state_type, run.attempts.get().state_type) == (own, own)
    assert (run.end_time is None, run.lease_expires_at is not None) == (own == "RUNNING", own == "RUNNING")


def test_a_run_that_goes_on_after_a_lapse_and_ends_in_one_batch_holds_no_lease() -> None:
    process = Process()
    run = claimed(process)
    process.state("RUNNING")
    process.ingest()
    crashed = {"state_type": "CRASHED", "ended_by": "lapse", "end_time": moment(START)}
    FlowRun.objects.update(**crashed, lease_expires_at=None)
    Attempt.objects.update(**crashed)
    process.state("RUNNING")
    process.state("COMPLETED")
    process.ingest()
    run.refresh_from_db()
    assert (run.state_type, run.lease_expires_at) == ("COMPLETED", None)


@pytest.mark.parametrize("late", ["COMPLETED", "FAILED", "RUNNING", "own retry", "exit", "end", "work", "abandoned"])
@pytest.mark.parametrize("decided", ["SCHEDULED", "CANCELLED"])
def test_a_decision_after_a_lapse_stands_whatever_the_old_process_still_says(decided: str, late: str) -> None:
    process = Process()
    run = claimed(process)
    process.state("RUNNING")
    process.ingest()
    Attempt.objects.update(state_type="CRASHED", ended_by="lapse", end_time=moment(START))
    # a person retried it, and in the second case cancelled it while it waited (`runs.actions`)
    FlowRun.objects.update(state_type=decided, state_name="Decided", ended_by="", lease_expires_at=None)

    if late == "own retry":
        process.state("RUNNING", "Retrying", attempt=2)
        process.task(attempt=2)
    elif late == "exit":
        process.exited(signal=9)
    elif late == "end":
        process.end()
    elif late == "work":
        process.log("still here")
    elif late != "abandoned":
        process.state(late)
    process.ingest()
    if late == "abandoned":
        abandon(process.header)

    run.refresh_from_db()
    assert (run.state_type, run.state_name, run.attempt, run.lease_expires_at) == (decided, "Decided", 1, None)
    assert list(run.attempts.values_list("number", flat=True)) == [1]
    if late in {"COMPLETED", "FAILED"}:
        assert run.attempts.get().state_type == late


def test_work_done_after_a_lapse_shows_that_the_run_lives() -> None:
    process = Process()
    claimed(process)
    process.state("RUNNING")
    process.ingest()
    crashed = {"state_type": "CRASHED", "ended_by": "lapse", "end_time": moment(START + 2 * STEP)}
    FlowRun.objects.update(**crashed, lease_expires_at=None)
    Attempt.objects.update(**crashed)
    process.log("before it", t=START + STEP)
    process.ingest()
    assert the_run().state_type == "CRASHED"
    process.log("after it", t=START + 5 * STEP)
    process.ingest()
    assert (the_run().state_type, the_run().lease_expires_at is None) == ("RUNNING", False)


def test_a_run_that_was_never_claimed_takes_no_facts() -> None:
    process = Process()
    run = claimed(process, state_type="SCHEDULED", attempt=0)
    run.attempts.all().delete()
    process.state("RUNNING")
    process.task()
    assert process.ingest().late == 2
    assert the_run().state_type == "SCHEDULED"


# What is not there, and what does not fit


def test_facts_about_runs_that_are_not_there_are_dropped_and_counted() -> None:
    script = Process()
    script.state("RUNNING")
    task = script.task()
    script.task_state(task, "COMPLETED")
    script.log("x")
    outcome = script.ingest()
    assert (outcome.taken, outcome.unknown, outcome.sequence) == (4, 4, 4)
    assert not FlowRun.objects.exists()


def test_facts_are_held_while_another_journal_may_bring_their_run() -> None:
    script = Process().begin()
    child = Process(run=script.run)
    child.log("from the child")
    assert child.ingest(hold_unknown=True).held
    assert not Journal.objects.exists()
    script.ingest()
    assert child.ingest(hold_unknown=True).taken == 1
    assert Log.objects.count() == 1


def test_a_task_run_cannot_be_moved_to_another_run() -> None:
    script, other = Process().begin(), Process().begin()
    task = script.task()
    other.task_state(task, "FAILED")
    other.task(id_=task)
    script.ingest()
    other.ingest()
    assert (TaskRun.objects.get().flow_run_id, TaskRun.objects.get().state_type) == (UUID(script.run), "RUNNING")


def test_absurd_values_are_cut_and_do_no_harm() -> None:
    script = Process()
    script.begin(flow="f" * 999 + "\0", parameters={"a\0": ["\0", "\ud800", 10**30]}, tags=["t\0" * 500] * 500)
    task = script.task(index=-5, name="n" * 999, max_retries=2**60, tags=["\0"], inputs={"\0": ["\ud800"]})
    script.task_state(task, "FAILED", "N" * 99, message="m\0" * 99_999, error=error("\0\ud800" * 99_999))
    script.log("l\0\ud800", level=10**9, logger="g" * 999, task_run="no id", task_attempt=-1)
    script.log("é" * 1_000_000)
    script.facts[-1].t = -(2**62)
    script.log("x")
    script.facts[-1].t = 2**62
    script.state("COMPLETED", message="\0", error=error("\ud800"))
    outcome = script.ingest()
    assert (outcome.rejected, outcome.unknown, outcome.late) == (0, 0, 0)
    run = the_run()
    assert run.state_type == "COMPLETED"
    assert run.parameters == {"a�": ["�", "?", 10**30]}
    assert len(run.tags) == 100
    assert TaskRun.objects.get().state_name == "N" * 31 + "…"
    cut = Log.objects.get(message__contains="1 MB")
    assert (len(cut.message.encode()) < 1024 * 1024 + 100, cut.time) == (True, moment(0))


def test_parameters_that_are_too_large_leave_a_note() -> None:
    script = Process().begin(parameters={"blob": "x" * 600_000})
    script.ingest()
    assert the_run().parameters == {"…": "Parameters of 600,011 bytes were not recorded; at most 524,288 are."}


@pytest.mark.parametrize("type_", ["BANANA", ""])
def test_states_that_do_not_exist_are_passed_over(type_: str) -> None:
    script = Process().begin()
    task = script.task()
    script.task_state(task, type_)
    script.state(type_)
    script.task(type_)
    script.ingest()
    assert (the_run().state_type, TaskRun.objects.get().state_type) == ("RUNNING", "RUNNING")


def test_ids_that_are_none_are_passed_over() -> None:
    script = Process().begin()
    script.create(run="no id")
    script.task(id_="no id")
    script.task_state("no id", "RUNNING")
    script.state("RUNNING", run="no id")
    outcome = script.ingest()
    assert (outcome.unknown, outcome.rejected) == (4, 0)


def test_a_fact_that_cannot_be_stored_is_set_aside_and_the_others_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("runs.bounds._MAX_TAGS", 10)
    script = Process().begin()
    for number in range(20):
        script.log(str(number))
    _refuse_log(monkeypatch, {"13"})
    outcome = script.ingest()
    assert (outcome.taken, outcome.rejected, outcome.sequence) == (21, 1, 22)
    messages = list(Log.objects.order_by("id").values_list("message", flat=True))
    assert messages == [str(number) for number in range(20) if number != 13]
    aside = json.loads((settings.HOME.journals / f"rejected-{UUID(script.header.journal).hex}.txt").read_text())
    assert (aside["fact"]["message"], aside["reason"]) == ("13", "ValueError: poison")
    assert script.ingest().taken == 0


def test_a_fault_of_ours_does_not_set_a_whole_journal_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Process().begin()
    for number in range(50):
        script.log(str(number))
    _refuse_log(monkeypatch, {str(number) for number in range(50)})
    with pytest.raises(ValueError, match="poison"):
        script.ingest()
    assert Journal.objects.get().sequence == 2 + MAX_REJECTED


def _refuse_log(monkeypatch: pytest.MonkeyPatch, messages: set[str]) -> None:
    insert_logs = bulk.insert_logs

    def refuse(rows: list[tuple[Any, ...]]) -> None:
        if any(row[-1] in messages for row in rows):
            raise ValueError("poison")
        insert_logs(rows)

    monkeypatch.setattr(bulk, "insert_logs", refuse)


def test_a_database_that_cannot_be_used_is_no_fault_of_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise OperationalError("disk full")

    monkeypatch.setattr(ingest_module, "write", fail)
    with pytest.raises(OperationalError):
        Process().begin().ingest()
    assert not Journal.objects.exists()


# Requests


def test_a_request_is_the_lines_of_a_journal() -> None:
    script = Process().begin()
    script.log("a")
    data = b"\n".join([encode(script.header), *map(encode, script.facts), b"torn", b""])
    batch = parse_batch(data)
    assert (batch.header.journal, [fact.n for fact in batch.facts], batch.skipped) == (
        script.header.journal, [1, 2, 3], 1,
    )  # fmt: skip
    assert ingest(batch).taken == 3


@pytest.mark.parametrize("data", [b"", b"{}", b"nonsense\n", encode(TaskRunState(run="", id="", type="", name=""))])
def test_a_request_without_a_header_is_refused(data: bytes) -> None:
    with pytest.raises(UnusableBatch):
        parse_batch(data)


def test_a_request_that_is_too_large_is_refused() -> None:
    with pytest.raises(UnusableBatch, match="at most 10 bytes"):
        parse_batch(b"x" * 11, max_bytes=10)


def test_a_header_without_a_journal_is_refused() -> None:
    with pytest.raises(UnusableBatch, match="no journal's id"):
        ingest(Batch(Header(journal="../etc"), []))


def test_facts_belong_to_the_senders_team_and_reach_no_other() -> None:
    ours, theirs = Team.objects.create(name="ours"), Team.objects.create(name="theirs")
    script = Process().begin()
    script.ingest(team=ours)
    assert FlowRun.objects.get().team == ours
    intruder = Process(run=script.run)
    intruder.log("mine")
    assert intruder.ingest(team=theirs).unknown == 1
    with pytest.raises(UnusableBatch, match="another team"):
        script.ingest(team=theirs)


def test_a_run_token_reaches_its_run_and_its_subflows_only() -> None:
    script, other = Process().begin(), Process().begin()
    other.ingest()
    child = script.create(run=str(uuid7()), parent=script.run)
    grandchild = script.create(run=str(uuid7()), parent=child)
    script.ingest()
    script.log("run")
    script.log("grandchild", run=grandchild)
    script.log("other", run=other.run)
    outcome = script.ingest(team=Team.default(), within=UUID(script.run))
    assert outcome.unknown == 1
    assert set(Log.objects.values_list("message", flat=True)) == {"run", "grandchild"}


def test_a_run_token_makes_no_runs_but_subflows_of_its_run() -> None:
    script, other = Process().begin(), Process().begin()
    script.ingest()
    other.ingest()
    stray, below = str(uuid7()), str(uuid7())
    script.create(run=stray)
    script.state("RUNNING", run=stray)
    script.create(run=str(uuid7()), parent=other.run)
    script.create(run=below, parent=script.run)
    script.create(run=str(uuid7()), parent=below)
    outcome = script.ingest(team=Team.default(), within=UUID(script.run))
    assert outcome.unknown == 3
    assert FlowRun.objects.count() == 4
    assert not FlowRun.objects.filter(id=stray).exists()


# Cost


def test_a_batch_costs_the_same_queries_whatever_its_length() -> None:
    Process().begin().ingest()
    counts = []
    for tasks in (1, 500):
        script = Process().begin()
        for _ in range(tasks):
            script.task_state(script.task(), "COMPLETED")
            script.log("x")
        with CaptureQueriesContext(connection) as queries:
            script.ingest()
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 20
    assert TaskRun.objects.filter(state_type="COMPLETED").count() == 501


# Whatever the pieces and their order


def story(choices: list[int]) -> tuple[Process, Process]:
    """A script and its forked child, whose facts are chosen by numbers."""
    script = Process(run=str(uuid7()))
    script.begin()
    child = Process(run=script.run, start=START + 500 * STEP)
    tasks: dict[int, list[tuple[str, int]]] = {0: [], 1: []}
    for choice in choices:
        which = choice % 2
        process = (script, child)[which]
        kind = choice // 2 % 7
        own = tasks[which]
        if kind == 0 or not own:
            own.append((process.task(("PENDING", "RUNNING")[choice % 3 == 0]), 1))
            continue
        task, attempt = own[choice // 14 % len(own)]
        if kind == 1:
            process.task_state(task, "RUNNING", task_attempt=attempt)
        elif kind == 2:
            process.task_state(task, "COMPLETED", task_attempt=attempt)
        elif kind == 3:
            process.task_state(task, "SCHEDULED", "AwaitingRetry", task_attempt=attempt, error=error(str(choice)))
        elif kind == 4:
            own[own.index((task, attempt))] = (task, attempt + 1)
            process.task_state(task, "RUNNING", "Retrying", task_attempt=attempt + 1)
        elif kind == 5:
            process.task_state(task, "FAILED", task_attempt=attempt, error=error())
        else:
            process.log(f"line {choice}", task_run=task)
    child.end()
    return script, child


def rows() -> list[Any]:
    """Everything that ingest wrote, without what differs by the number of commits."""
    return [
        list(FlowRun.objects.order_by("id").values_list("id", "state_type", "state_message", "start_time", "end_time")),
        list(Attempt.objects.order_by("number").values_list("number", "state_type", "ended_by", "end_time")),
        list(TaskRun.objects.order_by("id").values()),
        list(TaskRunAttempt.objects.order_by("task_run_id", "number").values_list()[:]),
        list(Log.objects.order_by("id").values()),
        list(Journal.objects.order_by("id").values_list("id", "sequence", "clock", "ended")),
    ]


def without_serials(everything: list[Any]) -> list[Any]:
    everything[3] = [row[1:] for row in everything[3]]
    return everything


class TestAnyPieces(TestCase):
    @hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        choices=st.lists(st.integers(0, 1000), max_size=40),
        ending=st.sampled_from(["COMPLETED", "FAILED", "CRASHED", "end", ""]),
        cuts=st.lists(st.integers(0, 60), max_size=6),
        child_cuts=st.lists(st.integers(0, 60), max_size=6),
        order=st.lists(st.booleans(), max_size=12),
        again=st.lists(st.integers(0, 20), max_size=6),
    )
    def test_pieces_repetitions_and_turns_give_the_same_rows(
        self,
        choices: list[int],
        ending: str,
        cuts: list[int],
        child_cuts: list[int],
        order: list[bool],
        again: list[int],
    ) -> None:
        script, child = story(choices)
        if ending == "end":
            script.end()
        elif ending:
            script.state(ending)
        script.ingest(tell=False)
        child.ingest(tell=False)
        expected = without_serials(rows())
        for model in (Log, TaskRunAttempt, TaskRun, Attempt, FlowRun, Journal):
            model.objects.all().delete()

        waiting = [
            [(script, piece) for piece in pieces(script.facts, cuts)],
            [(child, piece) for piece in pieces(child.facts, child_cuts)],
        ]
        delivered = []
        while any(waiting):
            which = order.pop() if order else False
            queue = waiting[which] or waiting[not which]
            process, piece = queue[0]
            if ingest(process.batch(piece), hold_unknown=bool(waiting[0]) and process is child, tell=False).held:
                order.append(False)
                continue
            delivered.append(queue.pop(0))
            if again:
                process, piece = delivered[again.pop() % len(delivered)]
                assert ingest(process.batch(piece), tell=False).taken == 0
        assert without_serials(rows()) == expected
