"""Flow runs over REST: lists, filters, pages, one run with its logs and task runs, and what can be done to it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from flows.models import Deployment, Flow
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.models import Attempt, FlowRun, Log, TaskRun, TaskRunAttempt
from teams.models import Team
from tests.api.conftest import RunMaker

AUTHENTICATION = 3  # the token with its user, when it was used, the roles and shares that the user has


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.data
    return [row["id"] for row in answer.data["results"]]


def test_list_is_newest_first_and_has_the_promised_fields(
    api: APIClient, make_run: RunMaker, deployment: Deployment
) -> None:
    old, new = make_run(20), make_run(10, deployment=deployment, end_time=timezone.now(), tags=["a"])

    rows = api.get("/api/flow-runs/").data["results"]

    assert [row["id"] for row in rows] == [str(new.id), str(old.id)]
    assert set(rows[0]) == {
        "id", "name", "flow", "deployment", "state_type", "state_name", "state_message", "start_time", "end_time",
        "created_at", "expected_start", "scheduled_for", "attempt", "tags", "trigger", "duration_seconds",
    }  # fmt: skip
    assert rows[0]["flow"] == "etl_job"
    assert rows[0]["deployment"] == "etl_job/nightly"
    assert rows[0]["start_time"].endswith("Z")
    assert rows[0]["duration_seconds"] == pytest.approx(10, abs=2)
    assert rows[1]["deployment"] is None


def test_pages_follow_a_cursor_without_gaps_and_repetitions(api: APIClient, make_run: RunMaker) -> None:
    same = timezone.now() - timedelta(minutes=1)
    made = [make_run(n) for n in range(3)] + [make_run(expected_start=same) for _ in range(4)]
    wanted = [str(run.id) for run in sorted(made, key=lambda run: (run.expected_start, run.id), reverse=True)]

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get("/api/flow-runs/", {"limit": 2, "cursor": cursor})
        seen += ids(page)
        cursor = page.data["next"]

    assert seen == wanted


def test_the_last_page_that_is_full_has_no_next(api: APIClient, make_run: RunMaker) -> None:
    make_run(), make_run()

    assert api.get("/api/flow-runs/", {"limit": 2}).data["next"] is None


@pytest.mark.parametrize("query", [{"cursor": "nonsense"}, {"cursor": "WzFd"}, {"limit": "0"}, {"limit": "many"}])
def test_a_bad_page_is_refused(api: APIClient, query: dict[str, str]) -> None:
    answer = api.get("/api/flow-runs/", query)

    assert answer.status_code == 400
    assert answer.data["field"] in query


def test_runs_that_a_schedule_will_start_later_are_listed_when_asked_for(api: APIClient, make_run: RunMaker) -> None:
    later = make_run(-3600, StateType.SCHEDULED, attempt=0, start_time=None)
    due = make_run(1, StateType.SCHEDULED, attempt=0, start_time=None)
    retried = make_run(-60, StateType.SCHEDULED, attempt=1, state_name="AwaitingRetry")

    assert ids(api.get("/api/flow-runs/")) == [str(retried.id), str(due.id)]
    assert ids(api.get("/api/flow-runs/", {"state": "SCHEDULED"})) == [str(due.id), str(retried.id), str(later.id)]
    first = api.get("/api/flow-runs/", {"state": "Scheduled,AwaitingRetry", "limit": 1})
    second = api.get("/api/flow-runs/", {"state": "Scheduled,AwaitingRetry", "cursor": first.data["next"]})
    assert ids(first) + ids(second) == [str(due.id), str(retried.id), str(later.id)]


def test_filters(api: APIClient, make_run: RunMaker, deployment: Deployment, team: Team) -> None:
    other = Flow.objects.create(team=team, name="other")
    failed = make_run(1, StateType.FAILED, name="sad-newt")
    late = make_run(2, StateType.SCHEDULED, state_name="Late")
    deployed = make_run(3, deployment=deployment, tags=["daily", "x"])
    elsewhere = make_run(4, flow=other, parent=deployed)
    make_run(5)

    def found(**query: Any) -> list[str]:
        return ids(api.get("/api/flow-runs/", query))

    assert found(state="FAILED") == [str(failed.id)]
    assert found(state=["failed", "late"]) == [str(failed.id), str(late.id)]
    assert found(state="FAILED,Late") == [str(failed.id), str(late.id)]
    assert found(deployment="etl-job/nightly") == [str(deployed.id)]
    assert found(deployment=str(deployment.id)) == [str(deployed.id)]
    assert found(flow="other") == found(flow=str(other.id)) == [str(elsewhere.id)]
    assert found(tag="daily") == [str(deployed.id)]
    assert found(tag="dail") == []
    assert found(name="sad-newt") == [str(failed.id)]
    assert found(parent=str(deployed.id)) == [str(elsewhere.id)]
    assert found(id_prefix=failed.id.hex[:30]) == [str(failed.id)]
    assert api.get("/api/flow-runs/", {"state": "BROKEN"}).data["field"] == "state"
    assert api.get("/api/flow-runs/", {"id_prefix": "0123"}).data["field"] == "id_prefix"


def test_lists_cost_the_same_number_of_queries_for_many_rows(
    api: APIClient, make_run: RunMaker, deployment: Deployment, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(30):
        make_run(n, deployment=deployment)
    api.get("/api/flow-runs/")  # the token is marked as used

    with django_assert_num_queries(AUTHENTICATION - 1 + 1):
        assert len(ids(api.get("/api/flow-runs/", {"limit": 30}))) == 30


def test_an_inspected_run_says_more(
    api: APIClient, make_run: RunMaker, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "…"}
    run = make_run(9, StateType.FAILED, parameters={"limit": 3}, error=error)
    now = timezone.now()
    for number in (1, 2):
        Attempt.objects.create(flow_run=run, number=number, created_at=now, state_type=StateType.FAILED)
    for type_ in (StateType.COMPLETED, StateType.COMPLETED, StateType.FAILED):
        TaskRun.objects.create(flow_run=run, task="t", key="m.t", name="t-0", state_type=type_, created_at=now)
    api.get("/api/flow-runs/")

    with django_assert_num_queries(AUTHENTICATION - 1 + 3):
        found = api.get(f"/api/flow-runs/{run.id}/").data

    assert found["parameters"] == {"limit": 3}
    assert found["task_run_counts"] == {"COMPLETED": 2, "FAILED": 1}
    assert found["error"] == error
    assert [attempt["number"] for attempt in found["attempts"]] == [1, 2]


def test_logs_come_in_order_and_go_on_after_a_line(
    api: APIClient, make_run: RunMaker, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run, task_run = make_run(), uuid7()
    for n in range(5):
        owner = task_run if n == 3 else None
        Log.objects.create(flow_run=run, time=timezone.now(), message=f"line {n}", task_run_id=owner, logger="stdout")
    api.get("/api/flow-runs/")

    with django_assert_num_queries(AUTHENTICATION - 1 + 2):
        first = api.get(f"/api/flow-runs/{run.id}/logs/", {"limit": 3}).data
    rest = api.get(f"/api/flow-runs/{run.id}/logs/", {"after": first["next"]}).data
    of_task = api.get(f"/api/flow-runs/{run.id}/logs/", {"task_run": str(task_run)}).data

    assert [line["message"] for line in first["results"]] == ["line 0", "line 1", "line 2"]
    assert first["results"][0]["level_name"] == "INFO"
    assert [line["message"] for line in rest["results"]] == ["line 3", "line 4"]
    assert rest["next"] is None
    assert [line["message"] for line in of_task["results"]] == ["line 3"]


def test_a_page_of_long_log_lines_is_bounded_in_bytes(api: APIClient, make_run: RunMaker) -> None:
    run = make_run()
    for _ in range(8):
        Log.objects.create(flow_run=run, time=timezone.now(), message="x" * 1024 * 1024)

    page = api.get(f"/api/flow-runs/{run.id}/logs/", {"limit": 1000}).data

    assert 4 <= len(page["results"]) < 8
    assert page["next"] == page["results"][-1]["id"]


def test_task_runs_with_their_earlier_attempts(
    api: APIClient, make_run: RunMaker, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run, now = make_run(), timezone.now()
    made = [
        TaskRun.objects.create(
            flow_run=run, task="t", key="m.t", index=n, name=f"t-{n}", created_at=now, attempt=2, state_type="FAILED"
        )
        for n in range(4)
    ]
    for row in made:
        TaskRunAttempt.objects.create(task_run=row, number=1, state_type="FAILED", state_name="Failed")
    api.get("/api/flow-runs/")

    with django_assert_num_queries(AUTHENTICATION - 1 + 3):
        page = api.get(f"/api/flow-runs/{run.id}/task-runs/", {"limit": 3, "state": "FAILED"}).data
    rest = api.get(f"/api/flow-runs/{run.id}/task-runs/", {"cursor": page["next"]}).data

    assert [row["name"] for row in page["results"] + rest["results"]] == ["t-0", "t-1", "t-2", "t-3"]
    assert page["results"][0]["earlier_attempts"][0]["number"] == 1
    assert api.get(f"/api/flow-runs/{run.id}/task-runs/", {"state": "RUNNING"}).data["results"] == []


def test_cancel_a_run_that_waits_and_refuse_one_that_has_ended(api: APIClient, make_run: RunMaker) -> None:
    waiting, ended = make_run(1, StateType.SCHEDULED, attempt=0), make_run(2)

    assert api.post(f"/api/flow-runs/{waiting.id}/cancel/").data["state_type"] == "CANCELLED"
    refused = api.post(f"/api/flow-runs/{ended.id}/cancel/")
    assert refused.status_code == 409
    assert refused.data["code"] == "conflict"
    assert "Completed" in refused.data["message"]


def test_retry_is_the_same_run_and_rerun_a_new_one(api: APIClient, make_run: RunMaker, deployment: Deployment) -> None:
    run = make_run(1, StateType.FAILED, deployment=deployment, queue=deployment.queue, trigger="api")

    retried = api.post(f"/api/flow-runs/{run.id}/retry/")
    rerun = api.post(f"/api/flow-runs/{run.id}/rerun/")

    assert (retried.status_code, retried.data["id"], retried.data["state_name"]) == (200, str(run.id), "AwaitingRetry")
    assert rerun.status_code == 201
    assert FlowRun.objects.get(id=rerun.data["id"]).rerun_of_id == run.id
    assert api.post(f"/api/flow-runs/{make_run().id}/rerun/").status_code == 409


def test_why_names_the_gate_that_blocks(api: APIClient, make_run: RunMaker, deployment: Deployment) -> None:
    waiting = make_run(
        state_type="SCHEDULED", state_name="Scheduled", attempt=0, deployment=deployment, queue=deployment.queue
    )
    answer = api.get(f"/api/flow-runs/{waiting.id}/why/")
    assert (answer.status_code, answer.data["waits"], answer.data["blocked_by"]) == (200, True, "workers")
    blocking = next(gate for gate in answer.data["gates"] if gate["name"] == "workers")
    assert blocking["sentence"] == answer.data["answer"]
    ended = api.get(f"/api/flow-runs/{make_run(end_time=timezone.now(), state_type='COMPLETED').id}/why/").data
    assert (ended["waits"], ended["blocked_by"], ended["gates"]) == (False, None, [])
