"""Deployments over REST: declared, changed, run, paused, duplicated, scheduled."""

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from flows.models import Deployment, Schedule
from runs.models import FlowRun
from teams.models import Membership, Team, User
from tests.api.conftest import SCHEMA

MONDAYS = {"kind": "weekly", "expression": "MO 08:00", "timezone": "Europe/Paris"}
DECLARATION = {"flow": "etl_job", "name": "nightly", "entrypoint": "etl.py:etl_job", "parameter_schema": SCHEMA}


def test_a_request_that_names_a_team_of_the_callers_acts_for_it(api: APIClient, user: User, team: Team) -> None:
    other = Team.objects.create(name="ops")
    declared = {"flow": "etl", "name": "x", "entrypoint": "etl.py:etl", "directory": "/srv", "parameter_schema": SCHEMA}
    refused = api.post("/api/deployments/", declared, headers={"Orchestrator-Team": "ops"})
    assert (refused.status_code, refused.data["field"]) == (400, "Orchestrator-Team")
    membership = Membership.objects.create(user=user, team=other, role="viewer")
    for name in ("ops", str(other.pk)):
        refused = api.post("/api/deployments/", declared, headers={"Orchestrator-Team": name})
        assert (refused.status_code, "editor in team ops" in refused.data["message"]) == (403, True)
    Membership.objects.filter(pk=membership.pk).update(role="editor")
    assert api.post("/api/deployments/", declared, headers={"Orchestrator-Team": "ops"}).status_code == 201
    assert Deployment.objects.get(name="x").team == other


def test_declaring_makes_a_deployment_and_again_updates_it(api: APIClient, team: Team) -> None:
    made = api.post("/api/deployments/", {**DECLARATION, "schedules": [MONDAYS], "parameters": {"limit": 1}})
    same = api.post("/api/deployments/", {**DECLARATION, "schedules": [MONDAYS], "parameters": {"limit": 1}})
    other = api.post("/api/deployments/", {**DECLARATION, "name": "nightly", "parameters": {"limit": 2}})

    assert made.status_code == 201
    assert made.data["name"] == "etl_job/nightly"
    assert len(made.data["schedules"][0]["next_times"]) == 5
    assert "Monday" in made.data["schedules"][0]["description"]
    assert (same.status_code, same.data["changes"]) == (200, {})
    assert other.data["changes"] == {"parameters": [{"limit": 1}, {"limit": 2}]}
    assert len(other.data["schedules"]) == 1, "schedules of which nothing is said stay"
    assert Deployment.objects.get().team == team


def test_declaring_again_says_what_it_keeps(api: APIClient) -> None:
    said = {**DECLARATION, "schedules": [MONDAYS], "parameters": {"limit": 1}, "tags": ["a", " a "]}
    made = api.post("/api/deployments/", said)
    address = f"/api/deployments/{made.data['id']}/"
    unchanged = api.post("/api/deployments/", said)
    api.put(f"{address}schedules/", [{**MONDAYS, "timezone": "Asia/Tokyo"}])
    api.patch(address, {"parameters": {"limit": 2}, "queue": "big"})

    again = api.post("/api/deployments/", said)

    assert (made.data["kept"], unchanged.data["kept"]) == ([], [])
    assert again.data["changes"] == {}
    assert again.data["kept"] == ["queue", "parameters.limit", "schedules"]


def test_isolation_is_declared_or_set_elsewhere(api: APIClient) -> None:
    made = api.post("/api/deployments/", DECLARATION)
    address = f"/api/deployments/{made.data['id']}/"
    assert made.data["isolation"] == "process"
    assert api.patch(address, {"isolation": "worker"}).data["isolation"] == "worker"
    assert api.patch(address, {"crash_retries": 3}).data["crash_retries"] == 3
    deployment = Deployment.objects.get()
    del deployment.declared["crash_retries"]
    del deployment.declared["infrastructure"]  # as an earlier version left it
    deployment.save()
    kept = api.post("/api/deployments/", DECLARATION)
    assert (kept.data["isolation"], kept.data["kept"]) == ("worker", ["infrastructure", "crash_retries"])
    assert kept.data["crash_retries"] == 3
    declared = api.post("/api/deployments/", {**DECLARATION, "isolation": "worker", "crash_retries": 3})
    assert (declared.data["changes"], declared.data["kept"]) == ({}, [])


def test_a_task_runner_is_declared_or_set_elsewhere(api: APIClient) -> None:
    made = api.post("/api/deployments/", {**DECLARATION, "task_runner": "processes:4"})
    address = f"/api/deployments/{made.data['id']}/"
    assert made.data["task_runner"] == "processes:4"
    assert api.patch(address, {"task_runner": "dask:tcp://10.0.0.7:8786"}).status_code == 200
    again = api.post("/api/deployments/", {**DECLARATION, "task_runner": "processes:4"})
    assert (again.data["task_runner"], again.data["kept"]) == ("dask:tcp://10.0.0.7:8786", ["task_runner"])
    copy = api.post(f"{address}duplicate/", {"name": "copy"})
    assert copy.data["task_runner"] == "dask:tcp://10.0.0.7:8786"
    assert api.patch(address, {"task_runner": ""}).data["task_runner"] == ""


def test_a_new_deployment_can_be_paused(api: APIClient) -> None:
    made = api.post("/api/deployments/", {**DECLARATION, "schedules": [MONDAYS], "paused": True})

    assert made.data["paused"] is True
    assert made.data["schedules"][0]["next_times"] == []
    assert not FlowRun.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"entrypoint": "nothing"}, "entrypoint"),
        ({"isolation": "none"}, "isolation"),
        ({"crash_retries": -1}, "crash_retries"),
        ({"task_runner": "proceses"}, "task_runner"),
        ({"task_runner": "processes:many"}, "task_runner"),
        ({"task_runner": "inline:1"}, "task_runner"),
        ({"name": "a/b"}, "name"),
        ({"parameters": {"limit": "many"}}, "parameters.limit"),
        ({"schedules": [{"kind": "cron", "expression": "61 * * * *"}]}, "schedules.0.expression"),
        ({"schedules": [{**MONDAYS, "timezone": "Paris"}]}, "schedules.0.timezone"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_named(api: APIClient, change: dict[str, Any], field: str) -> None:
    answer = api.post("/api/deployments/", {**DECLARATION, **change})

    assert (answer.status_code, answer.data["field"]) == (400, field)
    assert not Deployment.objects.exists()


def test_list_finds_by_name_however_it_is_written(api: APIClient, deployment: Deployment) -> None:
    for name in ("etl_job/nightly", "etl-job/nightly", "nightly"):
        found = api.get("/api/deployments/", {"name": name}).data["results"]
        assert [row["id"] for row in found] == [str(deployment.id)], name
    assert api.get("/api/deployments/", {"name": "etl_job/daily"}).data["results"] == []
    assert (
        len(api.get("/api/deployments/", {"tag": "daily", "flow": "etl-job", "paused": "false"}).data["results"]) == 1
    )


def test_lists_cost_the_same_number_of_queries_for_many_rows(
    api: APIClient, deployment: Deployment, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    Schedule.objects.create(deployment=deployment, kind="interval", expression="60")
    for n in range(9):
        api.post(f"/api/deployments/{deployment.id}/duplicate/", {"name": f"copy-{n}"})

    with django_assert_num_queries(2 + 2):  # the token, teams and shares; the deployments, their schedules
        found = api.get("/api/deployments/").data["results"]

    assert len(found) == 10
    assert all(len(row["schedules"]) == 1 for row in found)


def test_run_answers_201_with_the_run(api: APIClient, deployment: Deployment) -> None:
    answer = api.post(f"/api/deployments/{deployment.id}/runs/", {"parameters": {"day": "2026-11-22"}})

    assert answer.status_code == 201
    assert answer.data["deployment"] == "etl_job/nightly"
    assert (answer.data["state_type"], answer.data["trigger"]) == ("SCHEDULED", "api")
    assert FlowRun.objects.get().parameters == {"limit": 5, "day": "2026-11-22"}
    assert api.post(f"/api/deployments/{deployment.id}/runs/").status_code == 201, "no body is an empty one"


def test_the_same_idempotency_key_answers_the_same_run(api: APIClient, deployment: Deployment) -> None:
    path, key = f"/api/deployments/{deployment.id}/runs/", {"Idempotency-Key": "invoice-7"}

    first, again = (api.post(path, {"parameters": {"limit": n}}, headers=key) for n in (1, 2))
    other = api.post(path, headers={"Idempotency-Key": "invoice-8"})

    assert first.status_code == again.status_code == other.status_code == 201
    assert first.data["id"] == again.data["id"] != other.data["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_key_that_another_deployment_used_is_a_conflict(api: APIClient, deployment: Deployment) -> None:
    copy = api.post(f"/api/deployments/{deployment.id}/duplicate/", {"name": "copy"}).data
    key = {"Idempotency-Key": "k"}
    api.post(f"/api/deployments/{deployment.id}/runs/", headers=key)

    answer = api.post(f"/api/deployments/{copy['id']}/runs/", headers=key)

    assert (answer.status_code, answer.data["code"]) == (409, "conflict")


def test_a_bad_parameter_is_named_and_no_run_is_made(api: APIClient, deployment: Deployment) -> None:
    answer = api.post(f"/api/deployments/{deployment.id}/runs/", {"parameters": {"limit": "many"}})

    assert (answer.status_code, answer.data["field"]) == (400, "parameters.limit")
    assert not FlowRun.objects.exists()


def test_patch_changes_what_is_given(api: APIClient, deployment: Deployment) -> None:
    path = f"/api/deployments/{deployment.id}/"

    changed = api.patch(path, {"tags": ["b"], "queue": "large", "paused": True})

    assert changed.status_code == 200, changed.data
    assert (changed.data["tags"], changed.data["queue"], changed.data["paused"]) == (["b"], "large", True)
    assert changed.data["parameters"] == {"limit": 5}
    assert api.patch(path, {"paused": False}).data["paused"] is False
    assert api.patch(path, {"entry": "x"}).data["field"] == "entry"


def test_pause_resume_duplicate_delete(api: APIClient, deployment: Deployment) -> None:
    path = f"/api/deployments/{deployment.id}/"

    assert api.post(f"{path}pause/").data["paused"] is True
    assert api.post(f"{path}resume/").data["paused"] is False
    copy = api.post(f"{path}duplicate/", {"name": "small", "parameters": {"limit": 1}})
    assert (copy.status_code, copy.data["name"], copy.data["parameters"]) == (201, "etl_job/small", {"limit": 1})
    assert api.post(f"{path}duplicate/", {"name": "small"}).data["field"] == "name"
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_schedules_are_set_added_changed_and_taken_away(api: APIClient, deployment: Deployment) -> None:
    path = f"/api/deployments/{deployment.id}/schedules/"

    (monday,) = api.put(path, [MONDAYS]).data
    added = api.post(path, {"kind": "interval", "expression": 900})
    assert (added.status_code, added.data["expression"]) == (201, "900")
    assert len(api.get(path).data) == 2
    off = api.patch(f"/api/schedules/{monday['id']}/", {"active": False})
    assert (off.data["active"], off.data["next_times"], off.data["expression"]) == (False, [], "MO 08:00")
    assert api.patch(f"/api/schedules/{monday['id']}/", {"expression": "XX 08:00"}).data["field"] == "expression"
    assert api.delete(f"/api/schedules/{monday['id']}/").status_code == 204
    assert api.put(path, []).data == []
    assert not Schedule.objects.exists()


def test_a_schedule_can_be_tried_out(api: APIClient, strange_api: APIClient) -> None:
    shown = api.post("/api/schedules/preview/", {"kind": "cron", "expression": "0 7 * * 1-5"})

    assert shown.status_code == 200
    assert len(shown.data["next_times"]) == 5
    assert api.post("/api/schedules/preview/", {"kind": "hourly", "expression": "1"}).data["field"] == "kind"
    assert not Schedule.objects.exists()


def test_schedules_of_other_teams_are_not_there(strange_api: APIClient, deployment: Deployment) -> None:
    schedule = Schedule.objects.create(deployment=deployment, kind="interval", expression="60")

    assert strange_api.patch(f"/api/schedules/{schedule.id}/", {"active": False}).status_code == 404
    assert strange_api.get(f"/api/deployments/{deployment.id}/schedules/").status_code == 404


def test_time_limits_are_declared_set_and_refused(api: APIClient, deployment: Deployment) -> None:
    address = f"/api/deployments/{deployment.id}/"
    limits = {"late_after_seconds": 300, "expected_seconds": 600, "on_overrun": "cancel", "deadline_seconds": 7200}
    changed = api.patch(address, limits)
    assert changed.status_code == 200, changed.data
    assert {name: changed.data[name] for name in limits} == limits
    assert changed.data["on_deadline"] == "nothing"
    declared = {"flow": "etl_job", "name": "timed", "entrypoint": "etl.py:etl", "expected_seconds": 60}
    assert api.post("/api/deployments/", declared).data["expected_seconds"] == 60
    again = api.post("/api/deployments/", {**declared, "expected_seconds": 90}).data
    assert again["changes"]["expected_seconds"] == [60, 90]
    assert api.patch(address, {"deadline_seconds": 0}).status_code == 400
    assert api.patch(address, {"on_overrun": "shout"}).status_code == 400
