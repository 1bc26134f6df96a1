"""Many runs at once: each by its ordinary verb, in bounded calls; deleting takes all that belongs to a run."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.ids import uuid7
from runs import bulk_verbs, deleting
from runs.models import Attempt, ConcurrencyLimit, FlowRun, Log, Slot, TaskRun, TaskRunAttempt
from teams.models import Membership, Team, User

pytestmark = [pytest.mark.django_db, pytest.mark.database]
Make = Callable[..., FlowRun]
NOW = timezone.now()


@pytest.fixture
def deployment(db: None) -> Deployment:
    team = Team.default()
    flow = Flow.objects.create(team=team, name="etl")
    queue = WorkQueue.default(team)
    return Deployment.objects.create(team=team, flow=flow, name="nightly", entrypoint="etl.py:etl", queue=queue)


@pytest.fixture
def make_run(deployment: Deployment) -> Make:
    def make(state: str = "FAILED", minutes_ago: int = 5, **fields: object) -> FlowRun:
        due = NOW - timedelta(minutes=minutes_ago)
        owned = {"team": deployment.team, "flow": deployment.flow, "deployment": deployment, "queue": deployment.queue}
        values = {"name": "r", "attempt": 1, **owned, **fields}
        return FlowRun.objects.create(
            state_type=state,
            state_name=state.capitalize(),
            state_time=due,
            expected_start=due,
            end_time=NOW if state in ("FAILED", "COMPLETED", "CRASHED", "CANCELLED") else None,
            **values,
        )

    return make


@pytest.fixture
def api(deployment: Deployment) -> APIClient:
    user = User.objects.create_user("ann")
    Membership.objects.create(user=user, team=deployment.team)
    client = APIClient(headers={"host": "localhost"})
    client.force_authenticate(user)
    return client


def bulk(api: APIClient, verb: str, **body: object) -> dict[str, object]:
    answer = api.post("/api/flow-runs/bulk/", {"verb": verb, **body}, format="json")
    assert answer.status_code == 200, answer.data
    return dict(answer.data)


def test_a_filter_is_counted_then_done_and_refusals_say_why(api: APIClient, make_run: Make) -> None:
    waiting, running = make_run("SCHEDULED", attempt=0), make_run("RUNNING", 4)
    part = make_run("RUNNING", 3, trigger="subflow", parent=running, deployment=None, name="part")
    ended = make_run("COMPLETED")
    chosen = {"state": ["SCHEDULED", "RUNNING"], "flow": "etl"}
    assert bulk(api, "cancel", filter=chosen, dry_run=True) == {"count": 3, "more": False}
    assert FlowRun.objects.get(pk=waiting.pk).state_type == "SCHEDULED"
    answer = bulk(api, "cancel", filter=chosen)
    assert (answer["done"], answer["next"]) == (2, None)
    assert [(one["name"], one["id"]) for one in answer["refused"]] == [("part", str(part.pk))]
    assert "part of another run" in answer["refused"][0]["reason"]
    states = dict(FlowRun.objects.values_list("pk", "state_type"))
    assert (states[waiting.pk], states[running.pk], states[ended.pk]) == ("CANCELLED", "CANCELLING", "COMPLETED")


def test_calls_are_bounded_and_meet_each_run_once(
    make_run: Make, monkeypatch: pytest.MonkeyPatch, deployment: Deployment
) -> None:
    made = [make_run(minutes_ago=n // 2) for n in range(7)]  # two of each time
    monkeypatch.setattr(bulk_verbs, "MAX_RUNS", 3)
    runs = FlowRun.objects.filter(flow=deployment.flow)
    done, after, calls = 0, None, 0
    while calls == 0 or after:
        outcome = bulk_verbs.apply("retry", runs, after=after)
        done, after, calls = done + outcome.done, outcome.next, calls + 1
        assert outcome.refused == []
    assert (done, calls) == (7, 3)
    assert set(FlowRun.objects.values_list("state_name", flat=True)) == {"AwaitingRetry"}
    assert FlowRun.objects.count() == len(made)
    with pytest.raises(ValidationError):
        bulk_verbs.apply("retry", runs, after="nowhere")


def test_a_rerun_that_is_repeated_with_its_key_makes_no_second_run(api: APIClient, make_run: Make) -> None:
    make_run("COMPLETED"), make_run("COMPLETED")
    script = make_run("COMPLETED", deployment=None, name="by-script")
    first = bulk(api, "rerun", filter={"state": "COMPLETED"}, key="k")
    again = bulk(api, "rerun", filter={"state": "COMPLETED"}, key="k")
    assert first["done"] == 2
    assert first["made"] == again["made"]
    assert FlowRun.objects.filter(trigger="rerun").count() == 2
    assert [one["id"] for one in first["refused"]] == [str(script.pk)]


def test_deleting_takes_all_that_belongs_to_a_run(api: APIClient, make_run: Make) -> None:
    run, other = make_run("COMPLETED"), make_run("COMPLETED")
    child = make_run("COMPLETED", trigger="subflow", parent=run)
    rerun = make_run("RUNNING", rerun_of=run)
    limit = ConcurrencyLimit.objects.create(team=run.team, tag="db", limit=1)
    for owner in (run, other, child):
        task = TaskRun.objects.create(flow_run=owner, task="t", key="t", name="t-0", created_at=NOW)
        TaskRunAttempt.objects.create(task_run=task, number=1, state_type="FAILED", state_name="Failed")
        Log.objects.create(flow_run=owner, time=NOW, message="x")
        Attempt.objects.create(flow_run=owner, number=1, created_at=NOW)
        Slot.objects.create(limit=limit, flow_run=owner, task_run=uuid7(), asked_at=NOW)
    with pytest.raises(ValidationError, match="goes with it"):
        deleting.delete_flow_run(child)
    assert api.delete(f"/api/flow-runs/{rerun.pk}/").status_code == 409
    assert api.delete(f"/api/flow-runs/{run.pk}/").status_code == 204
    assert api.delete(f"/api/flow-runs/{run.pk}/").status_code == 404
    assert set(FlowRun.objects.values_list("pk", flat=True)) == {other.pk, rerun.pk}
    assert FlowRun.objects.get(pk=rerun.pk).rerun_of is None
    for model in (TaskRun, TaskRunAttempt, Log, Attempt, Slot):
        assert model.objects.count() == 1, model
    going_on = make_run("COMPLETED")
    make_run("RUNNING", trigger="subflow", parent=going_on)
    with pytest.raises(ValidationError, match="Its subflow run r is Running"):
        deleting.delete_flow_run(going_on)


def test_a_filter_has_to_say_something_that_there_is(api: APIClient, make_run: Make) -> None:
    make_run()
    for chosen in ({}, {"state": ""}, {"colour": "red"}, {"state": "MAYBE"}, {"since": "soon"}):
        answer = api.post("/api/flow-runs/bulk/", {"verb": "delete", "filter": chosen}, format="json")
        assert answer.status_code == 400, chosen
    assert api.post("/api/flow-runs/bulk/", {"verb": "shout", "filter": {"name": "r"}}).status_code == 400
    assert FlowRun.objects.count() == 1


def test_runs_of_other_teams_are_not_met(api: APIClient, make_run: Make) -> None:
    theirs = make_run()
    FlowRun.objects.update(team=Team.objects.create(name="others"))
    assert bulk(api, "delete", filter={"state": "FAILED"})["done"] == 0
    assert FlowRun.objects.filter(pk=theirs.pk).exists()


def test_the_page_counts_asks_and_goes_on(
    api: APIClient, make_run: Make, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_verbs, "MAX_RUNS", 2)
    for n in range(3):
        make_run("FAILED", n)
    kept = make_run("COMPLETED")
    client.force_login(User.objects.get())
    address = "/runs/all/delete/"
    asked = client.get(f"{address}?state=failed", headers={"host": "localhost"}).content.decode()
    assert "Delete 3 runs" in asked
    assert FlowRun.objects.count() == 4
    sent = {"query": "state=failed", "number": "3", "key": "k"}
    part = client.post(address, sent, headers={"host": "localhost"})
    assert "<b>2</b> of 3 deleted …" in part.content.decode()
    last = client.post(address, {**sent, "after": part.context["after"], "done": "2"}, headers={"host": "localhost"})
    assert "<b>3</b> of 3 deleted. That is all." in last.content.decode()
    assert list(FlowRun.objects.values_list("pk", flat=True)) == [kept.pk]
    assert client.get("/runs/all/shout/", headers={"host": "localhost"}).status_code == 404


def test_the_page_means_what_the_list_shows_of_the_team_that_is_looked_at(make_run: Make, client: Client) -> None:
    make_run("FAILED", 1)
    other = Team.objects.create(name="other")
    flow = Flow.objects.create(team=other, name="etl")
    make_run("FAILED", 2, team=other, flow=flow, deployment=None, queue=None)
    admin = User.objects.create_superuser("root")
    client.force_login(admin)
    address = "/runs/all/cancel/?state=failed"
    assert "Cancel 2 runs" in client.get(address, headers={"host": "localhost"}).content.decode()
    client.post("/teams/choose/", {"team": str(other.pk)}, headers={"host": "localhost"})
    assert "Cancel 1 run" in client.get(address, headers={"host": "localhost"}).content.decode()
