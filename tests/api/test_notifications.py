"""Notifications over REST: policies, destinations, deliveries and mutes, against a real local receiver."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from flows.models import Deployment, Flow
from notifications.models import Delivery, Destination, Message, Mute, Policy
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.models import Attempt, FlowRun
from teams.models import Team
from tests.api.conftest import RunMaker
from tests.notifications.receiving import Receiver, Reply

POLICIES, DESTINATIONS, DELIVERIES, MUTES = (
    f"/api/{name}/" for name in ("notification-policies", "destinations", "deliveries", "mutes")
)
SECRET_PART = "T000/B000/s3cr3tpart"


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def to(receiver: Receiver) -> str:
    """Where a Slack-like receiver is, as `to`; its path is secret."""
    return f"slack:{receiver.url}/services/{SECRET_PART}"


@pytest.fixture
def destination(api: APIClient, receiver: Receiver) -> dict[str, Any]:
    address = f"{receiver.url}/services/{SECRET_PART}"
    made = api.post(DESTINATIONS, {"kind": "slack", "address": address, "name": "#data"})
    assert made.status_code == 201, made.data
    return made.json()


@pytest.fixture
def policy(api: APIClient, destination: dict[str, Any], flow: Flow) -> dict[str, Any]:
    made = api.post(POLICIES, {"destinations": ["#data"], "flows": ["etl_job"], "name": "broken"})
    assert made.status_code == 201, made.data
    return made.json()


@pytest.fixture
def failed_run(make_run: RunMaker) -> FlowRun:
    return make_run(60, StateType.FAILED, state_message="ValueError: no rows", end_time=timezone.now())


@pytest.fixture
def deliver(policy: dict[str, Any], failed_run: FlowRun, team: Team) -> Any:
    """Makes a delivery of the policy, with a message of a state where one is given."""

    def make(state: str = "", **fields: Any) -> Delivery:
        there = {"policy_id": policy["id"], "destination_id": policy["destinations"][0]["id"], "team": team}
        message = None
        if state:
            answers = [{"at": "2026-01-01T00:00:00Z", "ok": state == "sent", "text": f"said {state}", "seconds": 0.1}]
            content = {"title": "calm-owl failed", "text": "It failed."}
            message = Message.objects.create(**there, state=state, content=content, answers=answers, tries=1)
        event = {"event": "FAILED", "occurred_at": timezone.now(), "subject": failed_run.flow_id}
        number = Delivery.objects.count() + 1
        return Delivery.objects.create(
            **there, **event, **{"flow_run": failed_run, "attempt": number, "message": message, **fields}
        )

    return make


# Destinations


def test_a_destination_is_made_and_its_secrets_never_come_back(
    api: APIClient, destination: dict[str, Any], receiver: Receiver
) -> None:
    assert (destination["name"], destination["kind"], destination["paused"]) == ("#data", "slack", False)
    assert destination["shown_once"] == ""
    answers = [api.get(DESTINATIONS), api.get(f"{DESTINATIONS}{destination['id']}/"), api.get(POLICIES)]
    said = json.dumps([destination, *(answer.json() for answer in answers)])
    assert "s3cr3tpart" not in said
    assert "config" not in said
    assert "s3cr3tpart" not in Destination.objects.get().config.stored


def test_an_address_may_say_its_kind(api: APIClient, receiver: Receiver) -> None:
    made = api.post(DESTINATIONS, {"address": f"slack:{receiver.url}/services/{SECRET_PART}"})

    assert made.status_code == 201, made.data
    assert made.data["kind"] == "slack"
    refused = api.post(DESTINATIONS, {"address": "https://example.com/hook"})
    assert (refused.status_code, refused.data["field"]) == (400, "address")
    assert "webhook:https://example.com/hook" in refused.data["message"]


def test_a_webhooks_signing_secret_is_answered_once_and_not_cached(api: APIClient, receiver: Receiver) -> None:
    made = api.post(DESTINATIONS, {"kind": "webhook", "address": f"{receiver.url}/hook"})

    assert made.status_code == 201, made.data
    assert made.data["shown_once"].startswith("whsec_")
    assert made.headers["Cache-Control"] == "no-store"
    again = api.get(f"{DESTINATIONS}{made.data['id']}/")
    renamed = api.patch(f"{DESTINATIONS}{made.data['id']}/", {"name": "hook"})
    moved = api.patch(f"{DESTINATIONS}{made.data['id']}/", {"address": f"{receiver.url}/moved"})
    for answer in (again, renamed, moved):
        assert answer.status_code == 200, answer.data
        assert made.data["shown_once"] not in json.dumps(answer.json())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "address"),
        ({"kind": "pigeon", "address": "x"}, "kind"),
        ({"kind": "slack", "address": "no address"}, "address"),
        ({"kind": "slack", "adress": "x"}, "adress"),
    ],
)
def test_a_bad_destination_is_refused_by_field(api: APIClient, body: dict[str, str], field: str) -> None:
    answer = api.post(DESTINATIONS, body)

    assert (answer.status_code, answer.data["field"]) == (400, field)
    assert not Destination.objects.exists()


def test_a_test_shows_the_services_own_answer(api: APIClient, destination: dict[str, Any], receiver: Receiver) -> None:
    receiver.then(Reply(), Reply(404, b"no_service"), path=f"/services/{SECRET_PART}")

    took = api.post(f"{DESTINATIONS}{destination['id']}/test/")
    refused = api.post(f"{DESTINATIONS}{destination['id']}/test/")

    assert (took.status_code, took.data["ok"]) == (200, True)
    assert (refused.status_code, refused.data["ok"]) == (200, False)
    assert "404" in refused.data["text"]
    assert "no_service" in refused.data["text"]
    assert api.get(f"{DESTINATIONS}{destination['id']}/").data["last_answer"] == refused.data["text"]
    assert len(receiver.received) == 2


def test_a_destination_is_changed_paused_resumed_and_deleted(
    api: APIClient, destination: dict[str, Any], policy: dict[str, Any]
) -> None:
    path = f"{DESTINATIONS}{destination['id']}/"

    assert api.patch(path, {"name": "#alerts"}).data["name"] == "#alerts"
    assert api.post(f"{path}pause/").data["paused"] is True
    assert api.post(f"{path}resume/").data["paused"] is False
    assert api.get(path).data["policies"] == ["broken"]
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    assert api.get(f"{POLICIES}{policy['id']}/").data["destinations"] == []


# Policies


def test_a_policy_has_sensible_values_for_what_is_left_out(policy: dict[str, Any]) -> None:
    assert policy["events"] == ["FAILED", "CRASHED"]
    assert policy["flows"] == ["etl-job"]
    assert (policy["log_lines"], policy["burst_limit"], policy["paused"]) == (5, 10, False)
    assert [one["name"] for one in policy["destinations"]] == ["#data"]


def test_a_policy_makes_the_destinations_that_it_names_by_address(api: APIClient, to: str, receiver: Receiver) -> None:
    made = api.post(POLICIES, {"destinations": [to, f"webhook:{receiver.url}/hook"], "events": ["RECOVERED"]})

    assert made.status_code == 201, made.data
    assert Destination.objects.count() == 2
    (shown,) = made.data["shown_once"]
    assert shown["secret"].startswith("whsec_")
    assert shown["destination"] in {one["name"] for one in made.data["destinations"]}
    assert made.headers["Cache-Control"] == "no-store"

    again = api.post(POLICIES, {"destinations": [to], "name": "second"})
    assert again.status_code == 201
    assert Destination.objects.count() == 2  # the one with that address


def test_a_refused_policy_leaves_no_destination_behind(api: APIClient, to: str, team: Team) -> None:
    answer = api.post(POLICIES, {"destinations": [to], "message": "a\n{{ flow.nmae }}"})

    assert (answer.status_code, answer.data["field"]) == (400, "message")
    assert "line 2" in answer.data["message"]
    assert not Destination.objects.exists()


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"destinations": []}, "destinations", "destination"),
        ({"destinations": ["#nowhere"]}, "destinations", "#nowhere"),
        ({"destinations": ["01a20520-ec8c-7ebc-9556-01dc5825feab"]}, "destinations", "01a20520"),
        ({"events": ["EARLY"]}, "events", "EARLY"),
        ({"flows": ["etl-jbo"]}, "flows", "etl-job"),
        ({"deployments": ["etl-job"]}, "deployments", "flow-name/deployment-name"),
        ({"timezone": "Mars/Olympus"}, "timezone", "Mars"),
        ({"log_lines": 21}, "log_lines", "20"),
        ({"burst_limit": 0}, "burst_limit", "1"),
        ({"long_running_seconds": 0}, "long_running_seconds", "1"),
        ({"state": ["FAILED"]}, "state", "events"),
    ],
)
def test_a_bad_policy_is_refused_by_field(
    api: APIClient, destination: dict[str, Any], flow: Flow, body: dict[str, Any], field: str, words: str
) -> None:
    answer = api.post(POLICIES, {"destinations": ["#data"], **body})

    assert (answer.status_code, answer.data["field"]) == (400, field), answer.data
    assert words in answer.data["message"]
    assert not Policy.objects.exists()


def test_patch_changes_the_given_fields_only(api: APIClient, policy: dict[str, Any]) -> None:
    path = f"{POLICIES}{policy['id']}/"

    changed = api.patch(path, {"tags": ["prod"], "long_running_seconds": 2700})

    assert changed.status_code == 200, changed.data
    rest = {name: value for name, value in policy.items() if name not in {"tags", "long_running_seconds", "updated_at"}}
    assert {name: changed.json()[name] for name in rest} == rest
    assert (changed.data["tags"], changed.data["long_running_seconds"]) == (["prod"], 2700)
    assert api.patch(path, {"flows": ["nothing-like-it"]}).status_code == 400
    assert api.patch(path, {"flows": ["etl-*"], "long_running_seconds": None}).data["long_running_seconds"] is None


def test_a_policy_is_paused_resumed_and_deleted(api: APIClient, policy: dict[str, Any]) -> None:
    path = f"{POLICIES}{policy['id']}/"

    assert api.post(f"{path}pause/").data["paused"] is True
    assert api.post(f"{path}resume/").data["paused"] is False
    assert api.delete(path).status_code == 204
    assert api.get(POLICIES).data["results"] == []
    assert Destination.objects.count() == 1


def test_a_policy_is_tested_on_a_past_run(
    api: APIClient, policy: dict[str, Any], failed_run: FlowRun, receiver: Receiver
) -> None:
    answer = api.post(f"{POLICIES}{policy['id']}/test/", {"flow_run": str(failed_run.id)})

    assert answer.status_code == 200, answer.data
    (said,) = answer.data["results"]
    assert said["ok"] is True
    assert said["destination"]["name"] == "#data"
    assert "calm-owl" in receiver.wait(1)[0].body.decode()


def test_a_preview_is_of_a_real_run_and_sends_nothing(
    api: APIClient, policy: dict[str, Any], failed_run: FlowRun, receiver: Receiver
) -> None:
    usual = api.post(f"{POLICIES}preview/", {"policy": policy["id"], "flow_run": str(failed_run.id)})
    tried = api.post(f"{POLICIES}preview/", {"policy": policy["id"], "message": "{{ flow.name }}: {{ reason }}"})
    fresh = api.post(f"{POLICIES}preview/", {"flows": ["etl-*"], "timezone": "America/New_York"})

    assert usual.status_code == 200, usual.data
    assert usual.data["text"].startswith("The calm-owl run of the etl_job flow entered a failed state at ")
    assert "ValueError: no rows" in usual.data["text"]
    assert str(failed_run.id) in usual.data["url"] or usual.data["url"] == ""
    assert tried.data["text"] == "etl_job: ValueError: no rows"
    assert fresh.data["text"].split(" at ")[1].split("\n")[0].split()[-1] in {"EST", "EDT"}
    assert Policy.objects.get().message == ""
    assert receiver.received == []


def test_a_bad_preview_says_what_is_wrong(api: APIClient, policy: dict[str, Any]) -> None:
    refused = api.post(f"{POLICIES}preview/", {"message": "{% for"})
    assert (refused.status_code, refused.data["field"]) == (400, "message")
    assert api.post(f"{POLICIES}preview/", {"timezone": "Mars"}).data["field"] == "timezone"
    gone = "01a20520-ec8c-7ebc-9556-01dc5825feab"
    assert api.post(f"{POLICIES}preview/", {"flow_run": gone}).data["field"] == "flow_run"
    assert api.post(f"{POLICIES}preview/", {"policy": gone}).data["field"] == "policy"


# Deliveries


def test_deliveries_are_listed_newest_first_by_status(api: APIClient, deliver: Any, failed_run: FlowRun) -> None:
    now = timezone.now()
    made = {
        "sent": deliver("sent"),
        "failed": deliver("failed"),
        "held": deliver(due_at=now, held_for="burst"),
        "muted": deliver(muted=True),
    }
    waiting = [deliver(due_at=now), deliver("waiting")]

    rows = api.get(DELIVERIES).data["results"]
    assert [row["id"] for row in rows] == [str(one.id) for one in [*waiting[::-1], *list(made.values())[::-1]]]
    for status, delivery in made.items():
        (row,) = api.get(DELIVERIES, {"status": status}).data["results"]
        assert (row["id"], row["status"]) == (str(delivery.id), status)
    assert {row["id"] for row in api.get(DELIVERIES, {"status": "waiting"}).data["results"]} == {
        str(one.id) for one in waiting
    }
    assert api.get(DELIVERIES, {"status": "lost"}).status_code == 400
    assert rows[0]["flow_run"]["name"] == "calm-owl"
    assert rows[-1]["last_answer"] == "said sent"


def test_deliveries_are_narrowed_and_paged(
    api: APIClient, deliver: Any, policy: dict[str, Any], failed_run: FlowRun
) -> None:
    mine = [deliver("sent") for _ in range(3)]

    there = {"policy": policy["id"], "destination": policy["destinations"][0]["id"], "flow_run": str(failed_run.id)}
    for name, value in there.items():
        assert len(api.get(DELIVERIES, {name: value}).data["results"]) == 3
        assert api.get(DELIVERIES, {name: "01a20520-ec8c-7ebc-9556-01dc5825feab"}).data["results"] == []
    first = api.get(DELIVERIES, {"limit": 2, "status": "sent"}).data
    second = api.get(DELIVERIES, {"limit": 2, "status": "sent", "cursor": first["next"]}).data
    assert [row["id"] for row in first["results"] + second["results"]] == [str(one.id) for one in mine[::-1]]
    assert api.get(DELIVERIES, {"id_prefix": str(mine[0].id)[:23]}).data["results"]


def test_the_list_of_deliveries_is_one_query_however_long(
    api: APIClient, deliver: Any, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        deliver("sent")

    with django_assert_max_num_queries(3):  # the token, the teams, the list
        api.get(DELIVERIES)


def test_a_delivery_is_inspected_with_every_answer(api: APIClient, deliver: Any) -> None:
    delivery = deliver("failed")

    found = api.get(f"{DELIVERIES}{delivery.id}/").data

    message = found["message"]
    assert set(message) >= {"id", "kind", "count", "state", "tries", "answers", "text", "sent_at"}
    assert (message["state"], message["text"]) == ("failed", "It failed.")
    assert [answer["text"] for answer in message["answers"]] == ["said failed"]


def test_a_message_is_sent_again(api: APIClient, deliver: Any) -> None:
    again = api.post(f"{DELIVERIES}{deliver('failed').id}/send-again/")

    assert again.status_code == 200, again.data
    assert (again.data["status"], again.data["message"]["tries"]) == ("waiting", 0)
    assert api.post(f"{DELIVERIES}{again.data['id']}/send-again/").status_code == 409
    for other in (deliver(due_at=timezone.now()), deliver(muted=True)):
        refused = api.post(f"{DELIVERIES}{other.id}/send-again/")
        assert (refused.status_code, refused.data["code"]) == (409, "conflict")


# Mutes


def test_a_deployment_is_muted_and_unmuted(api: APIClient, deployment: Deployment) -> None:
    made = api.post(MUTES, {"deployment": "etl-job/nightly", "seconds": 7200, "reason": "moving"})

    assert made.status_code == 201, made.data
    assert made.data["deployment"] == {"id": str(deployment.id), "name": "etl_job/nightly"}
    assert Mute.objects.get().until == pytest.approx(timezone.now() + timedelta(hours=2), abs=timedelta(minutes=1))
    until = timezone.now() + timedelta(days=1)
    assert api.post(MUTES, {"deployment": str(deployment.id), "until": until.isoformat()}).status_code == 201
    (listed,) = api.get(MUTES, {"deployment": "etl_job/nightly"}).data["results"]
    assert (listed["until"], listed["by"]) == (until.isoformat().replace("+00:00", "Z"), "ada")
    assert api.delete(f"{MUTES}{deployment.id}/").status_code == 204
    assert api.get(MUTES).data["results"] == []
    assert api.delete(f"{MUTES}{deployment.id}/").status_code == 404


def test_a_mute_that_is_over_is_not_listed(api: APIClient, deployment: Deployment) -> None:
    Mute.objects.create(deployment=deployment, until=timezone.now() - timedelta(seconds=1))

    assert api.get(MUTES).data["results"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"seconds": 60}, "deployment"),
        ({"deployment": "etl-job/nihgtly", "seconds": 60}, "deployment"),
        ({"deployment": "nightly"}, "seconds"),
        ({"deployment": "nightly", "seconds": 60, "until": "2027-01-01T00:00:00Z"}, "seconds"),
        ({"deployment": "nightly", "until": "2020-01-01T00:00:00Z"}, "until"),
        ({"deployment": "nightly", "seconds": 1_000_000_000}, "until"),
        ({"deployment": "nightly", "seconds": 10**12}, "seconds"),
    ],
)
def test_a_bad_mute_is_refused(api: APIClient, deployment: Deployment, body: dict[str, Any], field: str) -> None:
    answer = api.post(MUTES, body)

    assert (answer.status_code, answer.data["field"]) == (400, field), answer.data


# Who may


def test_other_teams_and_nobody_see_nothing(
    strange_api: APIClient, policy: dict[str, Any], deliver: Any, deployment: Deployment
) -> None:
    delivery = deliver("failed")
    Mute.objects.create(deployment=deployment, until=timezone.now() + timedelta(hours=1))

    for path in (POLICIES, DESTINATIONS, DELIVERIES, MUTES):
        assert strange_api.get(path).data["results"] == []
        assert APIClient().get(path).status_code == 401
    destination = policy["destinations"][0]["id"]
    assert strange_api.get(f"{DESTINATIONS}{destination}/").status_code == 404
    for path in (
        f"{DESTINATIONS}{destination}/test/",
        f"{POLICIES}{policy['id']}/test/",
        f"{POLICIES}{policy['id']}/pause/",
        f"{DELIVERIES}{delivery.id}/send-again/",
    ):
        assert strange_api.post(path).status_code == 404, path
    assert strange_api.delete(f"{MUTES}{deployment.id}/").status_code == 404
    for destinations in ([destination], ["#data"]):
        assert strange_api.post(POLICIES, {"destinations": destinations}).status_code == 400
    assert strange_api.post(MUTES, {"deployment": str(deployment.id), "seconds": 60}).status_code == 400
    assert strange_api.post(f"{POLICIES}preview/", {"policy": policy["id"]}).status_code == 400
    assert strange_api.post(f"{POLICIES}preview/", {"flow_run": str(delivery.flow_run_id)}).status_code == 400


def test_a_runs_token_reaches_none_of_it(make_run: RunMaker, policy: dict[str, Any], deliver: Any) -> None:
    running = make_run(1, StateType.RUNNING)
    attempt = Attempt.objects.create(flow_run=running, number=1, created_at=timezone.now(), state_type="RUNNING")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {run_token(attempt)}")

    for path in (POLICIES, DESTINATIONS, DELIVERIES, MUTES):
        assert client.get(path).status_code == 403, path
    for path in (
        POLICIES,
        DESTINATIONS,
        MUTES,
        f"{POLICIES}preview/",
        f"{POLICIES}{policy['id']}/test/",
        f"{DESTINATIONS}{policy['destinations'][0]['id']}/test/",
        f"{DELIVERIES}{deliver('failed').id}/send-again/",
    ):
        assert client.post(path, {}).status_code == 403, path
