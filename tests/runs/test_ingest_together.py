"""Batches of several journals in one transaction: as if each had been taken by itself, for far fewer queries."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from orchestrator.sdk.reader import Batch
from runs import bulk
from runs.ingest import ingest, ingest_together
from runs.models import FlowRun, Journal, Log, TaskRun
from tests.runs.scripts import Process

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "AFTER_INGEST", "builtins.len")  # no broker here


def script(flow: str = "etl") -> Process:
    """A whole script: its run, a task run, a line and the end."""
    process = Process()
    process.begin(flow=flow)
    task = process.task()
    process.log("hello", task_run=task)
    process.task_state(task, "COMPLETED")
    process.state("COMPLETED")
    process.end()
    return process


def rows() -> list[tuple[Any, ...]]:
    """What is recorded, without what differs between two tries by itself."""
    return [
        *FlowRun.objects.order_by("id").values_list("id", "state_type", "ended_by", "end_time", "flow__name"),
        *TaskRun.objects.order_by("id").values_list("id", "state_type", "end_time", "ended_by"),
        *Log.objects.order_by("id").values_list("id", "flow_run_id", "task_run_id", "message"),
        *Journal.objects.order_by("id").values_list("id", "sequence", "clock", "ended"),
    ]


def test_together_gives_the_rows_that_one_by_one_gives() -> None:
    batches = [script().batch() for _ in range(3)] + [script("other").batch(), Process().begin().batch()]
    outcomes = ingest_together(batches)
    together = rows()
    FlowRun.objects.all().delete()
    Journal.objects.all().delete()
    singly = [ingest(batch) for batch in batches]

    assert outcomes is not None
    assert [(one.taken, one.sequence) for one in outcomes] == [(one.taken, one.sequence) for one in singly]
    assert together == rows()
    assert outcomes[0].changed == frozenset(FlowRun.objects.values_list("id", flat=True))


def test_what_came_before_is_passed_over_and_what_follows_is_taken() -> None:
    first, second, third = script(), script(), script()
    ingest(first.batch())
    ingest(second.batch(second.facts[:3]))
    outcomes = ingest_together([first.batch(), second.batch(), third.batch()])
    assert outcomes is not None
    assert [(one.taken, one.repeated, one.sequence) for one in outcomes] == [(0, 7, 7), (4, 3, 7), (7, 0, 7)]
    assert set(FlowRun.objects.values_list("state_type", flat=True)) == {"COMPLETED"}
    assert Log.objects.count() == 3


def test_twice_as_many_journals_cost_hardly_more_queries() -> None:
    def queries(count: int) -> int:
        processes = [Process().begin() for _ in range(count)]
        assert ingest_together([process.batch() for process in processes]) is not None
        for process in processes:
            process.state("COMPLETED")
            process.end()
        with CaptureQueriesContext(connection) as captured:
            assert ingest_together([process.batch(process.facts[2:]) for process in processes]) is not None
        return len([query for query in captured if not query["sql"].startswith("UPDATE")])  # prepared: a row each

    assert queries(8) == queries(4)


def test_an_end_closes_what_is_below_it_in_each_journal() -> None:
    processes = [Process().begin() for _ in range(2)]
    for process in processes:
        process.task()
        process.state("RUNNING", run=process.create(run=Process().run, parent=process.run))
    assert ingest_together([process.batch() for process in processes]) is not None
    for process in processes:
        process.state("COMPLETED")
    assert ingest_together([process.batch(process.facts[-1:]) for process in processes]) is not None
    assert not FlowRun.objects.exclude(state_type__in=["COMPLETED", "CANCELLED", "CRASHED"]).exists()
    assert not TaskRun.objects.filter(state_type="RUNNING").exists()


def of_one_run() -> list[Batch]:
    parent = Process().begin()
    child = Process(run=parent.run)
    child.log("from a fork")
    return [parent.batch(), child.batch()]


def of_an_unknown_run() -> list[Batch]:
    stranger = Process()
    stranger.log("whose?")
    return [script().batch(), stranger.batch()]


def of_no_journal() -> list[Batch]:
    broken = script()
    broken.header.journal = "none"
    return [script().batch(), broken.batch()]


@pytest.mark.parametrize("batches", [of_one_run, of_an_unknown_run, of_no_journal])
def test_what_does_not_go_together_is_left_as_it_was(batches: Callable[[], list[Batch]]) -> None:
    assert ingest_together(batches(), hold_unknown=True) is None
    assert rows() == []


def test_one_that_cannot_be_stored_leaves_all_to_be_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = script(), script()
    ingest(bad.batch(bad.facts[:2]))
    before = rows()
    monkeypatch.setattr(bulk, "insert_logs", _refuse)
    assert ingest_together([good.batch(), bad.batch()]) is None
    assert rows() == before


def test_a_database_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "insert_logs", _away)
    with pytest.raises(OperationalError):
        ingest_together([script().batch(), script().batch()])
    assert rows() == []


def _refuse(_rows: Any) -> None:
    raise ValueError("a line that no database takes")


def _away(_rows: Any) -> None:
    raise OperationalError("the server closed the connection")


def test_a_run_of_another_journal_is_not_touched() -> None:
    foreign, own = Process().begin(), script()
    ingest(foreign.batch())
    late = Process(run=foreign.run)
    late.state("FAILED")
    outcomes = ingest_together([own.batch(), late.batch()])
    assert outcomes is not None
    assert outcomes[1].late == 1
    assert FlowRun.objects.get(id=UUID(foreign.run)).state_type == "RUNNING"
