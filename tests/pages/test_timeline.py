"""The timeline of a run: rows, bars and waits, groups, attempts."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from flows.models import Flow
from runs.models import FlowRun, TaskRun
from runs.timeline import MAX_GROUPS, Timeline, timeline
from teams.models import Team
from tests.pages import sample


@pytest.fixture
def flow(db: None) -> Flow:
    return Flow.objects.create(team=Team.default(), name="flights")


def of(run: FlowRun, **values: Any) -> Timeline:
    return timeline(run.task_runs.all(), run.start_time, run.end_time, timezone.now(), **values)


def test_a_retried_task_is_one_row_of_attempts_and_waits(flow: Flow) -> None:
    run = sample.make_flights_run(flow, timezone.now() - timedelta(minutes=2), "COMPLETED")
    row = next(row for row in of(run).rows if row.name == "connect_warehouse")
    assert [bar.css for bar in row.bars] == ["failed", "wait", "completed"]
    assert row.duration == "8.8 s"
    assert row.label == "Completed, 8.8 s, Failed 4.3 s, waited 3.2 s, Completed 1.3 s"
    ends = [(bar.x, round(bar.x + bar.width, 1)) for bar in row.bars]
    assert all(end == pytest.approx(begin, abs=0.2) for (_, end), (begin, _) in itertools.pairwise(ends))


def test_mapped_tasks_are_a_group_that_opens(flow: Flow) -> None:
    run = sample.make_flights_run(flow, timezone.now() - timedelta(minutes=2), "COMPLETED")
    closed = [row for row in of(run).rows if row.key == "flights.delays_by_carrier" or "delays" in row.name]
    assert [(row.name, row.times, row.more) for row in closed] == [
        ("delays_by_carrier", 16, 0),
        ("delays_by_carrier-0", 1, 0),
        ("delays_by_carrier-1", 1, 0),
        ("delays_by_carrier-2", 1, 0),
        ("13 more", 1, 13),
    ]
    opened = of(run, opened=["flights.delays_by_carrier"]).rows
    assert sum(row.indent for row in opened) == 16


def test_bars_stay_on_the_axis_and_grow_while_the_run_goes_on(flow: Flow) -> None:
    run = sample.make_flights_run(flow, timezone.now() - timedelta(minutes=2))
    shown = of(run)
    assert shown.seconds == pytest.approx(120, abs=5)
    for row in shown.rows:
        for bar in row.bars:
            assert 0 <= bar.x <= 100
            assert bar.x + bar.width <= 100.01
    assert shown.rows[-1].name == "publish"
    assert shown.rows[-1].bars[-1].x + shown.rows[-1].bars[-1].width == pytest.approx(100, abs=0.1)


def test_failures_of_a_large_group_are_shown(flow: Flow) -> None:
    run = sample.make_run(flow, timezone.now() - timedelta(minutes=1), 50)
    sample.make_task_runs(run, "square", ["COMPLETED"] * 500 + ["FAILED"] * 2, 0.1, 0.01)
    group, first, second, rest = of(run).rows
    assert (group.times, group.note, group.look.css) == (502, "2 failures", "failed")
    assert [first.name, second.name] == ["square-500", "square-501"]
    assert rest.name == "500 more"


def test_many_tasks_leave_out_what_completed_first(flow: Flow) -> None:
    run = sample.make_run(flow, timezone.now() - timedelta(minutes=5), None, "RUNNING")
    for index in range(MAX_GROUPS + 20):
        state = "FAILED" if index == 3 else "COMPLETED"
        sample.make_task_runs(run, f"step_{index:02d}", [state], index, 0.5)
    shown = of(run)
    assert shown.groups_left_out == 20
    assert shown.rows[0].name == "step_03"
    assert shown.rows[-1].name == f"step_{MAX_GROUPS + 19}"


def test_a_run_without_tasks_has_no_rows(flow: Flow) -> None:
    assert of(sample.make_run(flow, timezone.now(), 1)).rows == []


def test_attempts_are_shown_apart(flow: Flow, reader: Any) -> None:
    run = sample.make_run(flow, timezone.now() - timedelta(minutes=5), 60, attempt=2)
    sample.make_task_runs(run, "first_try", ["FAILED"], 1, 1)
    TaskRun.objects.update(flow_attempt=1)
    sample.make_task_runs(run, "second_try", ["COMPLETED"], 30, 1)
    TaskRun.objects.filter(task="second_try").update(flow_attempt=2)
    run.attempts.create(number=2, state_type="COMPLETED", created_at=run.start_time, start_time=run.start_time)
    newest = reader.get(f"/runs/{run.id}/").content.decode()
    assert "second_try" in newest
    assert "first_try" not in newest
    assert "1 task run completed" in newest
    earlier = reader.get(f"/runs/{run.id}/?attempt=1").content.decode()
    assert "first_try" in earlier
    assert "second_try" not in earlier
