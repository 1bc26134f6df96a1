"""The pages of notifications: what they say, whose rows, at what cost, and what their forms do with what is typed."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.events import Event
from notifications.models import Delivery, Destination, Message, Mute, Policy
from teams.models import Membership, Role, Team, User
from tests.notifications.conftest import make, receiver
from tests.notifications.making import Make
from tests.notifications.receiving import Receiver, Reply
from tests.pages import sample, told

__all__ = ["make", "receiver"]
NEW = "/notifications/policies/new/"
TYPED = {"events": ["FAILED"], "log_lines": "5", "burst_limit": "10", "unit": "minutes"}


@pytest.fixture
def made(db: None) -> dict[str, Any]:
    rows = sample.typical()
    return rows | told.told(rows["team"])


def text(response: Any) -> str:
    """What is read on a page."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def pages(made: dict[str, Any]) -> list[str]:
    """Every page."""
    deployment = made["deployments"]["flights"].id
    return [
        "/notifications/", NEW, "/notifications/destinations/new/", "/notifications/deliveries/", *about(made),
        *(f"/notifications/deliveries/?status={status}" for status in Delivery.Status.values),
        f"/deployments/{deployment}/mute/",
    ]  # fmt: skip


def about(made: dict[str, Any]) -> list[str]:
    """Every page about a row."""
    rows = [
        *(f"policies/{made[name].id}/{page}" for name in ("policy", "other") for page in ("", "delete/")),
        *(f"destinations/{made[name].id}/{page}" for name in ("alerts", "hook", "gone") for page in ("", "delete/")),
        *(f"deliveries/{made[name].id}/" for name in ("sent", "refused", "waiting", "held", "muted")),
        f"deliveries/{made['gathered'][0].id}/",
        f"deliveries/{made['sent'].id}/send-again/",
    ]
    return [f"/notifications/{row}" for row in rows]


def signed_in(role: str, team: Team, name: str = "somebody") -> Client:
    user = User.objects.create_user(name, password="x")
    Membership.objects.create(user=user, team=team, role=role)
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200, address
    return len(captured)


# ── who sees what ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_page_answers_and_shows_no_address(reader: Client, made: dict[str, Any]) -> None:
    for address in pages(made):
        response = reader.get(address)
        assert response.status_code == 200, address
        assert "CCCCCCCC" not in response.content.decode(), address
        assert "whsec_A" not in response.content.decode(), address


def test_pages_need_a_sign_in(client: Client, made: dict[str, Any]) -> None:
    for address in pages(made):
        assert client.get(address, headers={"host": "localhost"}).url.startswith("/sign-in/?next="), address


def test_rows_of_other_teams_are_not_there(made: dict[str, Any]) -> None:
    stranger = signed_in(Role.ADMIN, Team.objects.create(name="other"))
    for address in ("/notifications/", "/notifications/deliveries/", NEW):
        assert "ops-hook" not in stranger.get(address).content.decode(), address
    for address in about(made):
        assert stranger.get(address).status_code == 404, address
    verbs = {
        "policies": ("policy", "pause resume test delete"),
        "destinations": ("gone", "pause resume test delete dismiss"),
        "deliveries": ("refused", "send-again"),
    }
    for kind, (name, words) in verbs.items():
        for word in words.split():
            assert stranger.post(f"/notifications/{kind}/{made[name].id}/{word}/").status_code == 404, word
    deployment = made["deployments"]["flights"].id
    assert stranger.post(f"/deployments/{deployment}/mute/", {"length": "1h"}).status_code == 404
    assert stranger.post(f"/deployments/{deployment}/unmute/").status_code == 404
    preview = {**TYPED, "policy": str(made["policy"].id), "run": str(made["run"].id)}
    assert stranger.post("/notifications/policies/preview/", preview).status_code == 404
    del preview["policy"]
    assert made["run"].name not in stranger.post("/notifications/policies/preview/", preview).content.decode()
    saved = stranger.post(NEW, {**TYPED, "destinations": [str(made["alerts"].id)]})
    assert saved.status_code == 422
    assert Policy.objects.filter(team__name="other").count() == 0


def test_who_is_in_no_team_is_told_so(db: None) -> None:
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_user("alone", password="x"))
    assert client.get("/notifications/").status_code == 200
    assert client.get(NEW).status_code == 403


# ── what it costs ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_pages_cost_the_same_however_much_is_told(reader: Client, made: dict[str, Any]) -> None:
    addresses = [
        "/notifications/", NEW, f"/notifications/policies/{made['policy'].id}/", "/notifications/deliveries/",
        f"/notifications/destinations/{made['alerts'].id}/", f"/notifications/deliveries/{made['gathered'][0].id}/",
    ]  # fmt: skip
    before = {address: queries(reader, address) for address in addresses}
    told.overfull(made["team"])
    after = {address: queries(reader, address) for address in addresses}
    assert all(after[address] <= before[address] for address in addresses), (before, after)
    assert before["/notifications/"] <= 15, before
    assert before["/notifications/deliveries/"] <= 9, before
    assert all(number <= 24 for number in before.values()), before


def test_a_long_list_is_parted(reader: Client, made: dict[str, Any]) -> None:
    told.overfull(made["team"])
    first = reader.get("/notifications/")
    assert first.content.decode().count('aria-label="Pause ') == 50
    second = reader.get("/notifications/?from=50").content.decode()
    assert re.search('aria-label="Pause |aria-label="Resume ', second)
    assert len(first.content) < 400_000
    rows = reader.get("/notifications/deliveries/")
    following = re.search(r'href="([^"]+cursor=[^"]+)"', rows.content.decode())
    assert following
    keys = [set(re.findall(r'data-key="([^"]+)"', page)) for page in (
        rows.content.decode(), reader.get(html.unescape(following[1])).content.decode()
    )]  # fmt: skip
    assert len(keys[0]) == 50
    assert keys[1]
    assert not keys[0] & keys[1]


def test_the_banner_costs_admins_one_query_and_others_none(made: dict[str, Any]) -> None:
    editor = signed_in(Role.EDITOR, made["team"], "editor")
    admin = signed_in(Role.ADMIN, made["team"], "admin-of-team")
    assert queries(admin, "/flows/") == queries(editor, "/flows/") + 1
    assert "gone is paused" in text(admin.get("/flows/"))
    assert "gone is paused" not in text(editor.get("/flows/"))


def test_a_run_says_whom_it_told_with_one_query(reader: Client, made: dict[str, Any]) -> None:
    address = f"/runs/{made['run'].id}/"
    before = queries(reader, address)
    assert re.search(r"Notified #data-alerts at [\d:]+ \(sent\)", text(reader.get(address)))
    Delivery.objects.filter(flow_run=made["run"]).delete()
    assert "Notified" not in text(reader.get(address))
    assert queries(reader, address) == before


# ── the overview ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_page_says_what_a_policy_is_and_what_to_type(reader: Client) -> None:
    said = text(reader.get("/notifications/"))
    assert "A policy says which events of which runs are told, where, and in which words." in said
    assert "orchestrator notification create --to slack:https://hooks.slack.com/… --state FAILED" in said
    assert reader.get("/notifications/").content.decode().count("button primary") == 1


def test_what_is_wrong_comes_first_and_policies_are_said_in_words(reader: Client, made: dict[str, Any]) -> None:
    said = text(reader.get("/notifications/"))
    assert "Failed or crashed runs of new-*" in said
    assert re.search(r"tagged warehouse → to flaky, gone \(paused\)", said)
    assert said.index("gone was paused because it kept failing") < said.index("flaky fails") < said.index("Policies")
    assert "1 delivery waits for it" in said
    assert "no worker sends" not in said


def test_what_no_worker_sends_is_said(reader: Client, made: dict[str, Any]) -> None:
    Make(made["team"]).delivery(made["policy"], made["alerts"], at=timezone.now() - timedelta(minutes=3))
    assert re.search(r"1 delivery waits since [\w: ]+: no worker sends them", text(reader.get("/notifications/")))
    Destination.objects.filter(id=made["alerts"].id).update(lease_expires_at=timezone.now() + timedelta(seconds=9))
    assert "no worker sends" not in text(reader.get("/notifications/"))


# ── policies ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_policy_is_made_with_its_destination_and_the_secret_is_shown_once(reader: Client, receiver: Receiver) -> None:
    typed = {
        **TYPED, "events": ["FAILED", "RECOVERED"], "flows_more": "etl-*, reports-*", "long_running": "1.5",
        "unit": "hours", "new_kind": "webhook", "new_address": receiver.url + "/hook", "new_name": "ops",
    }  # fmt: skip
    answer = reader.post(NEW, typed, follow=True)
    policy = Policy.objects.get()
    assert answer.redirect_chain[0][0] == f"/notifications/policies/{policy.id}/"
    assert "whsec_" in text(answer)
    assert "whsec_" not in text(reader.get(f"/notifications/policies/{policy.id}/"))
    assert policy.flows == ["etl-*", "reports-*"]
    assert policy.long_running_seconds == 5400
    assert [destination.name for destination in policy.destinations.all()] == ["ops"]
    assert receiver.received == []


def test_what_was_typed_stays_when_it_is_refused_and_nothing_is_made(reader: Client, made: dict[str, Any]) -> None:
    typed = {
        **TYPED, "message": "one\n{{ flow_run.nme }}", "flows_more": "no-such-flow", "log_lines": "9",
        "new_kind": "slack", "new_address": told.SLACK, "new_name": "another",
    }  # fmt: skip
    answer = reader.post(NEW, typed)
    assert answer.status_code == 422
    page = html.unescape(answer.content.decode())
    assert "line 2: there is no “flow_run.nme”; did you mean “flow_run.name”?" in page
    assert "no-such-flow" in page
    assert f'value="{told.SLACK}"' in page
    assert 'value="another"' in page
    assert not Destination.objects.filter(name="another").exists()
    wrong = text(reader.post(NEW, {**TYPED, "burst_limit": "many", "long_running": "soon"}))
    assert "Write a whole number, as in 5." in wrong
    assert "Write how long, as in 15" in wrong
    nowhere = reader.post(NEW, TYPED)
    assert nowhere.status_code == 422
    assert 'id="destinations-about"><span class="wrong"' in nowhere.content.decode()
    bad_address = reader.post(NEW, {**TYPED, "new_kind": "slack", "new_address": "ftp://x"})
    assert 'id="new_address-about"><span class="wrong"' in bad_address.content.decode()


@pytest.mark.parametrize("name", ["name", "message", "flows_more", "timezone", "new_address", "new_name", "log_lines"])
@pytest.mark.parametrize(
    "value", ["\0", "x" * 1_000_000, "<script>alert(1)</script>", "\ud800".encode("utf-8", "replace")]
)
def test_hostile_values_are_refused_in_words(reader: Client, made: dict[str, Any], name: str, value: Any) -> None:
    answer = reader.post(NEW, {**TYPED, "destinations": [str(made["alerts"].id)], name: value})
    assert answer.status_code in {302, 400, 422}, answer.status_code
    assert b"<script>alert" not in answer.content
    assert len(answer.content) < 400_000


def test_a_policy_is_changed_paused_resumed_and_deleted(reader: Client, made: dict[str, Any]) -> None:
    policy = made["policy"]
    address = f"/notifications/policies/{policy.id}/"
    page = reader.get(address).content.decode()
    assert "{{ flow_run.name }} is down" in page
    assert re.search(r'name="events" value="CRASHED" checked', page)
    reader.post(address, {**TYPED, "name": "Renamed", "flows": ["new-thing"], "destinations": [str(made["hook"].id)]})
    policy.refresh_from_db()
    assert (policy.name, policy.flows, policy.message) == ("Renamed", ["new-thing"], "")
    assert [destination.name for destination in policy.destinations.all()] == ["ops-hook"]
    paused = reader.post(f"{address}pause/", follow=True).content.decode()
    assert f'formaction="{address}resume/"' in paused
    policy.refresh_from_db()
    assert policy.paused
    reader.post(f"{address}resume/")
    asked = text(reader.get(f"{address}delete/"))
    assert "Delete Renamed?" in asked
    assert reader.post(f"{address}delete/").url == "/notifications/"
    assert not Policy.objects.filter(id=policy.id).exists()
    assert "a policy that is no more" in text(reader.get("/notifications/deliveries/"))


def test_the_preview_shows_a_matching_run_or_the_mistake_by_its_line(reader: Client, made: dict[str, Any]) -> None:
    def preview(**typed: Any) -> str:
        return text(reader.post("/notifications/policies/preview/", {**TYPED, **typed}))

    assert "The " in (shown := preview(flows=["flights"]))
    assert "run of the flights flow entered a failed state at" in shown
    wanted = made["failed"]
    assert f"<< {wanted.name} >>" in preview(flows=["flights"], run=str(wanted.id), message="<< {{ flow_run.name }} >>")
    assert "line 1: there is no “flow_run.nme”" in preview(message="{{ flow_run.nme }}")
    assert "It matches no run yet" in preview(tags_more="no-such-tag")
    assert "Write a whole number" in preview(log_lines="x")


def test_the_preview_needs_no_more_queries_with_more_runs(reader: Client, made: dict[str, Any]) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            reader.post("/notifications/policies/preview/", {**TYPED, "flows_more": "*"})
        return len(captured)

    before = cost()
    told.failing_runs(made["team"], 50)
    assert cost() <= before <= 16


def test_without_scripts_the_preview_is_a_button(reader: Client, made: dict[str, Any]) -> None:
    answer = reader.post(NEW, {**TYPED, "message": "It is {{ flow_run.name }}", "do": "preview"})
    assert answer.status_code == 200
    assert re.search(r"It is \w+-\w+", text(answer))
    assert Policy.objects.count() == 3


def test_a_test_shows_each_services_own_answer(reader: Client, make: Make, receiver: Receiver) -> None:
    receiver.then(Reply(404, b"no_service"), path="/gone")
    good, gone = make.destination(name="good"), make.destination(receiver.url + "/gone", "slack", name="gone")
    address = f"/notifications/policies/{make.policy(good, gone).id}/test/"
    shown = text(reader.post(address, headers={"hx-request": "true"}))
    assert re.search(r"Taken\s+good\s+200", shown)
    assert re.search(r"Refused\s+gone\s+404 no_service", shown)
    plain = text(reader.post(address, follow=True))
    assert "good took the test: 200" in plain
    assert len(receiver.received) == 4


# ── destinations ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_destination_is_made_changed_tested_and_deleted(reader: Client, receiver: Receiver) -> None:
    new = "/notifications/destinations/new/"
    refused = reader.post(new, {"kind": "slack", "address": "nonsense", "name": "kept"})
    assert refused.status_code == 422
    assert 'value="kept"' in refused.content.decode()
    reader.post(new, {"kind": "slack", "address": receiver.url + "/first", "name": "chat"})
    destination = Destination.objects.get()
    address = f"/notifications/destinations/{destination.id}/"
    reader.post(address, {"name": "talk", "address": ""})
    reader.post(f"{address}test/")
    reader.post(address, {"name": "talk", "address": receiver.url + "/second"})
    assert "took the test: 200 ok" in text(reader.post(f"{address}test/", follow=True))
    assert [request.path for request in receiver.received] == ["/first", "/second"]
    assert "/second" not in reader.get(address).content.decode()
    wrong = reader.post(address, {"name": "talk", "address": "ftp://typed"})
    assert wrong.status_code == 422
    assert 'value="ftp://typed"' in wrong.content.decode()
    assert reader.post(f"{address}delete/").url == "/notifications/"
    assert not Destination.objects.exists()


def test_deleting_a_destination_names_the_policies_that_tell_it(reader: Client, made: dict[str, Any]) -> None:
    said = text(reader.get(f"/notifications/destinations/{made['hook'].id}/delete/"))
    assert "2 policies tell it" in said
    assert "Failures of new things" in said
    assert "Long ones" in said


def test_a_destination_that_gave_up_is_resumed_from_its_page(reader: Client, made: dict[str, Any]) -> None:
    address = f"/notifications/destinations/{made['gone'].id}/"
    assert "because it kept failing" in text(reader.get(address))
    reader.post(f"{address}resume/")
    assert Destination.objects.get(id=made["gone"].id).paused_at is None
    assert "kept failing" not in text(reader.get(address))


def test_the_banner_is_dismissed(reader: Client, made: dict[str, Any]) -> None:
    said = text(reader.get("/"))
    assert re.search(r"gone is paused: it has taken no messages since [\w: ]+ \. Its last answer: 404 no_service", said)
    reader.post(f"/notifications/destinations/{made['gone'].id}/dismiss/", {"next": "/"})
    assert "gone is paused" not in text(reader.get("/"))


# ── deliveries ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_delivery_says_what_became_of_it_and_why(reader: Client, made: dict[str, Any]) -> None:
    told.mute(made["deployments"]["flights"], made["admin"])

    def rows(**query: str) -> str:
        return text(reader.get("/notifications/deliveries/", query)).partition("Clear")[2]

    assert re.search(r"Held back .* until [\d:]+: more than 10 in a minute", rows(status="held"))
    assert "its deployment was muted" in rows(status="muted")
    assert re.search(r"Not delivered .* tried 1 time 410 Gone", rows(status="failed"))
    assert "in a message of 37" in rows(status="sent")
    waiting = rows(status="waiting")
    assert re.search(r"tried 1 time, again at [\d:]+ 503 Service Unavailable", waiting)
    assert "until gone is resumed" in waiting
    assert "#data-alerts" not in rows(destination=str(made["hook"].id))
    assert made["run"].name in rows(run=str(made["run"].id))
    assert "No delivery matches" in rows(policy=str(made["other"].id), status="sent")
    assert "Clear" in text(reader.get("/notifications/deliveries/?policy=nonsense&cursor=nonsense"))


def test_who_muted_is_said(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    told.mute(deployment, made["admin"])
    Make(made["team"]).delivery(made["policy"], made["alerts"], made["failed"], muted=True)
    assert re.search(r"Muted .* by admin until", text(reader.get("/notifications/deliveries/?status=muted")))


def test_one_delivery_shows_its_message_its_answers_and_its_company(reader: Client, made: dict[str, Any]) -> None:
    said = text(reader.get(f"/notifications/deliveries/{made['refused'].id}/"))
    assert "entered a failed state" in said
    assert re.search(r"Refused 410 Gone [\d:]+ 42 ms", said)
    company = reader.get(f"/notifications/deliveries/{made['gathered'][0].id}/")
    assert "37 deliveries" in text(company)
    following = re.search(r'href="([^"]+cursor=[^"]+)" rel="next"', company.content.decode())
    assert following
    assert "Newest" in text(reader.get(html.unescape(following[1])))
    assert "It is written when it is sent" in text(reader.get(f"/notifications/deliveries/{made['held'].id}/"))


def test_send_again_asks_where_it_was_sent_before(reader: Client, made: dict[str, Any]) -> None:
    address = f"/notifications/deliveries/{made['sent'].id}/send-again/"
    asked = reader.post(address)
    assert "#data-alerts took this message already" in text(asked)
    assert Message.objects.get(id=made["sent"].message_id).state == Message.State.SENT
    assert reader.post(address, {"sure": "1"}).status_code == 302
    assert Message.objects.get(id=made["sent"].message_id).state == Message.State.WAITING
    refused = made["refused"]
    reader.post(f"/notifications/deliveries/{refused.id}/send-again/")
    assert Message.objects.get(id=refused.message_id).state == Message.State.WAITING
    again = text(reader.post(f"/notifications/deliveries/{refused.id}/send-again/", follow=True))
    assert "waits to be sent already" in again
    assert reader.post(f"/notifications/deliveries/{made['held'].id}/send-again/").status_code == 404


# ── mutes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("length", "hours"), [("1h", (0.9, 1.1)), ("4h", (3.9, 4.1)), ("7d", (167, 169)), ("morning", (7, 34))]
)
def test_a_deployment_is_muted_from_its_page(
    reader: Client, made: dict[str, Any], length: str, hours: tuple[float, float]
) -> None:
    deployment = made["deployments"]["flights"]
    page = f"/deployments/{deployment.id}/"
    assert "Mute notifications" in text(reader.get(page))
    muted = reader.post(f"{page}mute/", {"length": length, "reason": "the warehouse moves"}, follow=True)
    ahead = (Mute.objects.get().until - timezone.now()).total_seconds() / 3600
    assert hours[0] <= ahead <= hours[1]
    assert re.search(r"Muted until [\w: ]+ by admin \(the warehouse moves\)", text(muted))
    assert f'formaction="{page}unmute/"' in muted.content.decode()
    reader.post(f"{page}unmute/")
    assert "Mute notifications" in text(reader.get(page))


def test_a_mute_that_is_refused_keeps_what_was_typed(reader: Client, made: dict[str, Any]) -> None:
    page = f"/deployments/{made['deployments']['flights'].id}/mute/"
    past = {"length": "until", "until": "2020-01-01T08:00", "reason": "kept"}
    for typed in (past, {**past, "until": ""}, {**past, "until": "nonsense"}, {**past, "until": "9999-12-31T23:59"}):
        answer = reader.post(page, typed)
        assert answer.status_code == 422
        assert 'value="kept"' in answer.content.decode()
        assert 'id="mute-until-about"><span class="wrong"' in answer.content.decode()
    assert not Mute.objects.exists()


def test_policies_say_all_events(reader: Client, made: dict[str, Any]) -> None:
    page = reader.get(NEW).content.decode()
    for event in Event:
        assert html.escape(event.meaning) in page
