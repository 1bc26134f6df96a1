"""Verbs on destinations, policies, messages and mutes: what they change, refuse and ring."""

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from pytest_django import Settings

from notifications import actions
from notifications.events import Event
from notifications.models import Delivery, Destination, Message, Mute, Policy, Subscription
from orchestrator.encryption import Secret
from orchestrator.sdk.states import StateType
from teams.actions import create_user
from teams.models import Team, User
from tests.notifications.making import Make
from tests.notifications.receiving import Mailbox, Receiver, Reply

SLACK = "https://hooks.slack.com/services/T0AAA/B0BBB/secretsecret"


@pytest.fixture
def user(db: None) -> User:
    """An editor of the default team."""
    return create_user("ann")


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The destinations whose senders were woken."""
    ids: list[Any] = []
    monkeypatch.setattr("notifications.bells.ring", ids.extend)
    return ids


@pytest.fixture
def other(db: None) -> Team:
    return Team.objects.create(name="other")


@pytest.fixture
def alerts(make: Make) -> Destination:
    return make.destination(name="#alerts")


def refused(verb: Callable[..., Any], *args: Any, **fields: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        verb(*args, **fields)
    found: dict[str, list[str]] = error.value.message_dict
    return found


# ── destinations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_destination_is_made_with_its_secrets_out_of_sight(make: Make, user: User) -> None:
    made, once = actions.create_destination(make.team, user=user, name=" #ops ", kind="Slack", address=f" {SLACK} ")
    assert (made.name, made.kind, once, made.created_by) == ("#ops", "slack", "", user)
    stored = Destination.objects.get(pk=made.pk)
    assert "secretsecret" not in stored.summary + str(stored.config) + repr(stored.config) + stored.config.stored
    assert stored.config.reveal()["url"] == SLACK


def test_a_signing_secret_is_shown_once_and_never_again(make: Make, user: User) -> None:
    address = "https://93.184.216.34/hook"
    made, once = actions.create_destination(make.team, user=user, kind="webhook", address=address)
    assert once.startswith("whsec_")
    changed, again = actions.change_destination(made, user=user, name="hook", address=f"{address}s")
    assert (changed.name, again) == ("hook", "")
    assert changed.config.reveal() == {"url": f"{address}s", "secret": once}
    other = "whsec_" + "A" * 43 + "="
    changed, again = actions.change_destination(made, user=user, secret=other)
    assert again == other
    assert changed.config.reveal() == {"url": f"{address}s", "secret": other}
    assert actions.change_destination(made, user=user, address="", secret="") == (made, "")
    assert Destination.objects.get().config.reveal()["secret"] == other


def test_destinations_are_named_by_kind_and_address_where_nobody_names_them(make: Make, user: User) -> None:
    names = [actions.create_destination(make.team, user=user, kind="slack", address=SLACK)[0].name for _ in range(3)]
    assert len(set(names)) == 3
    assert names[0].startswith("Slack hooks.slack.com")
    assert "secretsecret" not in "".join(names)
    assert names[1:] == [f"{names[0]} 2", f"{names[0]} 3"]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"kind": "slak"}, "kind", "“slak” is no kind of destination. Did you mean “slack”? Write one of slack,"),
        ({"kind": None}, "kind", "is no kind of destination"),
        ({"address": "nonsense"}, "address", ""),
        ({"address": "x" * 3_000}, "address", "at most 2,000 characters"),
        ({"address": "a\0b"}, "address", "Write a text"),
        ({"name": "n" * 101}, "name", "Write a name of 1 to 100 printable characters."),
        ({"name": "a\nb"}, "name", "printable"),
        ({"name": "#alerts"}, "name", "There is a destination called “#alerts” already. Choose another name."),
        ({"kind": "email", "address": "a@b.example"}, "kind", "ORCHESTRATOR_EMAIL_URL"),
    ],
)  # fmt: skip
def test_a_destination_that_cannot_be_is_refused_by_field(
    make: Make, user: User, alerts: Destination, fields: dict[str, Any], field: str, words: str
) -> None:
    given = {"kind": "slack", "address": SLACK, **fields}
    found = refused(actions.create_destination, make.team, user=user, **given)
    assert list(found) == [field]
    assert words in found[field][0]
    assert Destination.objects.count() == 1


def test_a_new_address_begins_without_failures(make: Make, user: User, alerts: Destination, rung: list[Any]) -> None:
    Destination.objects.update(failures=7, failing_since=timezone.now(), retry_at=timezone.now())
    changed, _ = actions.change_destination(alerts, user=user, address="http://127.0.0.1:9/new")
    assert (changed.failures, changed.failing_since, changed.retry_at) == (0, None, None)
    assert changed.summary == "http://127.0.0.1:9/new"
    assert rung == [alerts.pk]


def test_changes_of_a_destination_that_cannot_be_are_refused(make: Make, user: User, alerts: Destination) -> None:
    second = make.destination(name="second")
    assert "already" in refused(actions.change_destination, second, user=user, name="#alerts")["name"][0]
    assert "has no secret" in refused(actions.change_destination, second, user=user, secret="s")["secret"][0]
    unreadable = Secret(Secret.of({"url": "x"}).stored[:-4] + "AAAA")
    Destination.objects.filter(pk=second.pk).update(config=unreadable)
    second.refresh_from_db()
    found = refused(actions.change_destination, second, user=user, secret="s")
    assert "ORCHESTRATOR_SECRET_KEY_FALLBACKS" in found["address"][0]
    changed, _ = actions.change_destination(second, user=user, address="http://127.0.0.1:9/again")
    assert changed.config.reveal() == {"url": "http://127.0.0.1:9/again"}


def test_resuming_forgets_failures_and_wakes_the_sender(user: User, alerts: Destination, rung: list[Any]) -> None:
    now = timezone.now()
    bad = {"paused_at": now, "gave_up": True, "failures": 9, "retry_at": now, "admins_told_at": now}
    Destination.objects.update(**bad, notice_dismissed_at=now, lease_expires_at=now)
    resumed = actions.resume_destination(alerts, user=user)
    assert (resumed.paused_at, resumed.gave_up, resumed.failures, resumed.retry_at) == (None, False, 0, None)
    assert (resumed.admins_told_at, resumed.notice_dismissed_at) == (None, None)
    assert resumed.lease_expires_at == now, "the lease is its holder's"
    assert rung == [alerts.pk]


def test_pausing_and_dismissing_keep_the_first_time(user: User, alerts: Destination) -> None:
    first = actions.pause_destination(alerts, user=user).paused_at
    assert actions.pause_destination(alerts, user=user).paused_at == first is not None
    dismissed = actions.dismiss_notice(alerts, user=user).notice_dismissed_at
    assert actions.dismiss_notice(alerts, user=user).notice_dismissed_at == dismissed is not None


def test_deleting_a_destination_drops_what_waits_and_keeps_what_was_sent(
    make: Make, user: User, alerts: Destination
) -> None:
    sent = waiting_and_sent(make, alerts)
    actions.delete_destination(alerts, user=user)
    assert [one.pk for one in Delivery.objects.all()] == [sent.pk]
    sent.refresh_from_db()
    assert (sent.destination_id, sent.message.destination_id) == (None, None)
    assert Message.objects.count() == 1
    assert Policy.objects.count() == 1


def waiting_and_sent(make: Make, destination: Destination) -> Delivery:
    """A delivery that is due, one in a message that waits, one held, and one that was sent; returns that."""
    policy = make.policy(destination)
    make.delivery(policy, destination)
    make.delivery(policy, destination, held_for="burst", at=timezone.now() + timedelta(minutes=1))
    made = {"team": make.team, "policy": policy, "destination": destination, "content": {}}
    make.delivery(policy, destination, due_at=None, message=Message.objects.create(**made))
    sent = Message.objects.create(**made, state=Message.State.SENT)
    return make.delivery(policy, destination, due_at=None, message=sent)


def test_a_test_is_sent_now_and_its_answer_kept(make: Make, user: User, receiver: Receiver) -> None:
    destination = make.destination(paused_at=timezone.now(), gave_up=True, failures=9)
    answer = actions.test_destination(destination, user=user)
    assert answer.ok
    assert answer.text == "200 ok (It answers again: resume it, and what waits is sent.)"
    assert receiver.received[-1].json["event"] == "TEST"
    destination.refresh_from_db()
    assert (destination.last_answer, destination.gave_up, destination.failures) == ("200 ok", True, 9)
    assert destination.last_answer_at is not None
    receiver.reply = Reply(404, b"no_service")
    answer = actions.test_destination(destination, user=user)
    assert (answer.ok, answer.text) == (False, "404 no_service")
    assert Destination.objects.get().last_answer == "404 no_service"


def test_a_test_whose_address_cannot_be_read_says_so(user: User, alerts: Destination) -> None:
    Destination.objects.update(config=Secret(Secret.of({"url": "x"}).stored[:-4] + "AAAA"))
    alerts.refresh_from_db()
    answer = actions.test_destination(alerts, user=user)
    assert not answer.ok
    assert "ORCHESTRATOR_SECRET_KEY_FALLBACKS" in answer.text


def test_a_test_mail_arrives(make: Make, user: User, mailbox: Mailbox, settings: Settings) -> None:
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mailbox.port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    made, _ = actions.create_destination(make.team, user=user, kind="email", address="a@example.com")
    assert actions.test_destination(made, user=user).ok
    assert "a@example.com" in str(mailbox.wait(1)[-1]["To"])


# ── what a person writes after --to ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        (f"slack:{SLACK}", "slack", SLACK),
        (f" SLACK: {SLACK} ", "slack", SLACK),
        (SLACK, "slack", SLACK),
        ("email:a@b.example", "email", "a@b.example"),
        ("mailto:a@b.example", "email", "a@b.example"),
        ("a@b.example", "email", "a@b.example"),
        ("webhook:https://example.com/x", "webhook", "https://example.com/x"),
        ("discord://id/token", "apprise", "discord://id/token"),
        ("slack://token/a/b", "apprise", "slack://token/a/b"),
        ("apprise:tgram://bot/chat", "apprise", "tgram://bot/chat"),
        ("mailto://user:pass@example.com", "apprise", "mailto://user:pass@example.com"),
    ],
)
def test_what_is_written_says_kind_and_address(text: str, kind: str, address: str) -> None:
    assert actions.parse_to(text) == (kind, address)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://example.com/x", "slack:https://example.com/x or webhook:https://example.com/x"),
        ("slak:https://x", "Did you mean “slack:…”?"),
        ("nonsense", "Write slack:https://hooks.slack.com/…"),
        ("slack:", "Write slack:"),
        ("discord://", "Write slack:"),
        ("", "Write slack:"),
        (None, "Write slack:"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text: Any, words: str) -> None:
    assert words in refused(actions.parse_to, text)["to"][0]


def test_a_destination_is_found_by_name_then_by_address_else_made(make: Make, user: User, alerts: Destination) -> None:
    assert actions.destination_for(make.team, user=user, to="#alerts") == (alerts, "")
    address = "https://93.184.216.34/hook"
    made, once = actions.destination_for(make.team, user=user, to=f"webhook:{address}")
    assert once.startswith("whsec_")
    assert actions.destination_for(make.team, user=user, to=f"webhook:{address}") == (made, ""), "whatever signs it"
    other, _ = actions.destination_for(make.team, user=user, to=f"webhook:{address}/2")
    assert other != made
    named, _ = actions.destination_for(make.team, user=user, to=f"slack:{SLACK}")
    assert actions.destination_for(make.team, user=user, to=SLACK)[0] == named


def test_destinations_of_other_teams_are_not_found(make: Make, user: User, other: Team) -> None:
    theirs, _ = actions.destination_for(other, user=None, to=f"slack:{SLACK}")
    ours, _ = actions.destination_for(make.team, user=user, to=f"slack:{SLACK}")
    assert (theirs.team, ours.team) == (other, make.team)
    assert "cannot be read" in refused(actions.destination_for, make.team, user=user, to="elsewhere")["to"][0]


def test_a_destination_that_is_not_there_names_a_close_one(make: Make, user: User, alerts: Destination) -> None:
    found = refused(actions.destination_for, make.team, user=user, to="#alert")
    assert found == {"to": ["There is no destination “#alert”; did you mean “#alerts”?"]}
    found = refused(actions.destination_for, make.team, user=user, to="slack:nonsense")
    assert list(found) == ["to"]


# ── policies ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_policy_is_made_with_sensible_values(make: Make, user: User, alerts: Destination) -> None:
    policy = Policy.objects.get(pk=actions.create_policy(make.team, user=user, destinations=[alerts]).pk)
    assert policy.name == "Failed, Crashed to #alerts"
    assert policy.events == ["FAILED", "CRASHED"]
    assert (policy.flows, policy.deployments, policy.tags, policy.message) == ([], [], [], "")
    assert (policy.log_lines, policy.burst_limit, policy.long_running_seconds) == (5, 10, None)
    assert list(policy.destinations.all()) == [alerts]
    assert policy.created_by == user
    second = actions.create_policy(make.team, user=user, destinations=["#alerts"])
    assert second.name == "Failed, Crashed to #alerts 2"


def test_everything_that_a_policy_takes_is_kept_in_its_normal_form(make: Make, user: User, alerts: Destination) -> None:
    make.deployment("prod_1", make.flow("my_etl"))
    policy = actions.create_policy(
        make.team,
        user=user,
        events=["long-running", "failed", "Failed", " recovered "],
        destinations=[str(alerts.pk), alerts],
        flows=["my_etl", "my-etl", "etl-*"],
        deployments=["my_etl/prod_1", "*/prod"],
        tags=[" a ", "a", "b"],
        message="{{ flow_run.name }}\r\n!",
        log_lines="20",
        timezone="Europe/Paris",
        burst_limit=1,
        long_running_seconds=60,
    )
    policy.refresh_from_db()
    assert policy.events == ["FAILED", "RECOVERED", "LONG_RUNNING"]
    assert (policy.flows, policy.deployments) == (["my-etl", "etl-*"], ["my-etl/prod-1", "*/prod"])
    assert (policy.tags, policy.message) == (["a", "b"], "{{ flow_run.name }}\n!")
    assert (policy.log_lines, policy.timezone, policy.burst_limit) == (20, "Europe/Paris", 1)
    assert policy.long_running_seconds == 60
    assert policy.name == ("Failed, Recovered, Long-running of my-etl, etl-*, my-etl/prod-1, */prod, a, b to #alerts")


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"events": ["FIALED"]}, "events", "There is no event “FIALED”; did you mean “FAILED”? Write one or more of"),
        ({"events": []}, "events", "Choose at least one of FAILED, CRASHED"),
        ({"events": "FAILED"}, "events", "Write a list of texts."),
        ({"events": [1]}, "events", "Write a list of texts."),
        ({"destinations": []}, "destinations", "Choose at least one destination."),
        ({"destinations": None}, "destinations", "Write a list of destinations."),
        ({"destinations": ["#alert"]}, "destinations", "There is no destination “#alert”; did you mean “#alerts”?"),
        ({"destinations": ["0190a7b2-6f3c-7c1e-9d52-0c7a4f2e8b11"]}, "destinations", "There is no destination"),
        ({"flows": ["etll"]}, "flows", "There is no flow “etll”; did you mean “etl”?"),
        ({"flows": ["x" * 500]}, "flows", "cannot be a name"),
        ({"flows": [f"f{number}*" for number in range(101)]}, "flows", "At most 100 names are taken."),
        ({"flows": 7}, "flows", "Write a list of texts."),
        ({"deployments": ["etl/prd"]}, "deployments", "There is no deployment “etl/prd”; did you mean “etl/prod”?"),
        ({"deployments": ["prod"]}, "deployments", "“prod” is no deployment: write flow-name/deployment-name."),
        ({"tags": "prod"}, "tags", "Write a list of texts."),
        ({"tags": ["x" * 300]}, "tags", "at most 200 characters"),
        ({"message": "{{ nmae }}"}, "message", "line 1: there is no “nmae”; did you mean “flow_run.name”?"),
        ({"message": 7}, "message", "Write a text."),
        ({"log_lines": 21}, "log_lines", "Write a whole number from 0 to 20."),
        ({"log_lines": -1}, "log_lines", "Write a whole number"),
        ({"log_lines": True}, "log_lines", "Write a whole number"),
        ({"log_lines": 1.5}, "log_lines", "Write a whole number"),
        ({"timezone": "Europe/Pariss"}, "timezone", "Write an IANA name such as Europe/Paris."),
        ({"timezone": "../../etc/passwd"}, "timezone", "is no time zone"),
        ({"timezone": 7}, "timezone", "is no time zone"),
        ({"burst_limit": 0}, "burst_limit", "Write a whole number from 1 to 1,000."),
        ({"burst_limit": 1001}, "burst_limit", "Write a whole number from 1 to 1,000."),
        ({"long_running_seconds": 0}, "long_running_seconds", "Write a whole number of seconds from 1 to 2,592,000."),
        ({"long_running_seconds": 2_592_001}, "long_running_seconds", "of seconds"),
        ({"name": "taken"}, "name", "There is a policy called “taken” already. Choose another name."),
        ({"name": "x" * 101}, "name", "Write a name of 1 to 100 printable characters."),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused_by_field_when_made_and_when_changed(
    make: Make, user: User, alerts: Destination, fields: dict[str, Any], field: str, words: str
) -> None:
    make.deployment("prod", make.flow("etl"))
    make.policy(alerts, name="taken")
    found = refused(actions.create_policy, make.team, user=user, **{"destinations": [alerts], **fields})
    assert list(found) == [field]
    assert words in found[field][0]
    assert Policy.objects.count() == 1
    if fields != {"destinations": None}:
        changed = make.policy(alerts, name="changed")
        assert refused(actions.update_policy, changed, user=user, **fields) == found
        changed.refresh_from_db()
        assert changed.name == "changed"


def test_all_that_is_wrong_is_said_at_once(make: Make, user: User, alerts: Destination) -> None:
    fields = {"events": ["x"], "log_lines": 99, "message": "{{", "destinations": [], "timezone": "x", "name": "\n"}
    assert set(refused(actions.create_policy, make.team, user=user, **fields)) == set(fields)


def test_flows_and_destinations_of_other_teams_are_not_there(make: Make, user: User, other: Team) -> None:
    theirs = Make(other, make.address)
    theirs.flow("etl")
    fields = {"destinations": [theirs.destination(name="x")], "flows": ["etl"]}
    found = refused(actions.create_policy, make.team, user=user, **fields)
    assert found == {"destinations": ["There is no destination “x”."], "flows": ["There is no flow “etl”."]}


def test_a_change_touches_only_what_is_given(make: Make, user: User, alerts: Destination) -> None:
    flow = make.flow("etl")
    policy = make.policy(alerts, flows=["etl"], name="p", tags=["a"])
    flow.delete()
    second = make.destination(name="second")
    window = timezone.now()
    Subscription.objects.update(window_began_at=window, window_messages=3)
    changed = actions.update_policy(policy, user=user, events=["crashed"], destinations=[alerts, second])
    changed.refresh_from_db()
    assert (changed.events, changed.flows, changed.tags, changed.name) == (["CRASHED"], ["etl"], ["a"], "p")
    assert set(changed.destinations.all()) == {alerts, second}
    assert Subscription.objects.get(destination=alerts).window_messages == 3, "a subscription that stays is kept"
    kept = actions.update_policy(changed, user=user, flows=["etl", "x-*"])
    assert kept.flows == ["etl", "x-*"], "a flow that is gone may stay"
    assert "no such field" in refused(actions.update_policy, policy, user=user, team=1)["team"][0]


def test_a_destination_that_is_taken_out_loses_what_waits_under_the_policy(
    make: Make, user: User, alerts: Destination
) -> None:
    second = make.destination(name="second")
    policy, untouched = make.policy(alerts, second), make.policy(alerts)
    for one, destination in ((policy, alerts), (policy, second), (untouched, alerts)):
        make.delivery(one, destination)
    actions.update_policy(policy, user=user, destinations=[second])
    left = Delivery.objects.order_by("id").values_list("policy", "destination")
    assert list(left) == [(policy.pk, second.pk), (untouched.pk, alerts.pk)]


def test_pausing_and_resuming_a_policy(make: Make, user: User, alerts: Destination) -> None:
    policy = make.policy(alerts)
    assert actions.pause_policy(policy, user=user).paused
    assert not actions.resume_policy(policy, user=user).paused


def test_deleting_a_policy_drops_what_waits_and_keeps_what_was_sent(
    make: Make, user: User, alerts: Destination
) -> None:
    sent = waiting_and_sent(make, alerts)
    actions.delete_policy(sent.policy, user=user)
    assert [one.pk for one in Delivery.objects.all()] == [sent.pk]
    assert (Policy.objects.count(), Subscription.objects.count(), Message.objects.count()) == (0, 0, 1)
    assert Destination.objects.count() == 1


def test_a_policys_test_tells_of_the_newest_run_that_it_matches(make: Make, user: User, receiver: Receiver) -> None:
    etl = make.flow("etl")
    ago = timezone.now() - timedelta(hours=1)
    wanted = make.run(StateType.FAILED, flow=etl, ended=ago, name="wanted")
    make.run(StateType.COMPLETED, flow=etl)
    make.run(StateType.FAILED)
    first, second = make.destination(name="a"), make.destination(f"{make.address}down", name="b")
    receiver.replies["/down"] = deque([Reply(500, b"oops")])
    policy = make.policy(second, first, flows=["etl"], name="p", paused=True)
    said = actions.test_policy(policy, user=user)
    assert [(one.name, answer.ok, answer.text) for one, answer in said] == [
        ("a", True, "200 ok"),
        ("b", False, "500 oops"),
    ]
    contents = [one.json for one in receiver.received]
    assert {content["event"] for content in contents} == {"TEST"}
    assert {content["data"]["flow_run"]["id"] for content in contents} == {str(wanted.pk)}
    assert contents[0]["text"].endswith("(This is a test of the policy “p”.)")
    assert not Message.objects.exists()
    assert not Delivery.objects.exists()
    assert Destination.objects.get(name="b").last_answer == "500 oops"


def test_a_policys_test_without_such_a_run_is_made_up(make: Make, user: User, receiver: Receiver) -> None:
    make.run(StateType.COMPLETED)
    ((_, answer),) = actions.test_policy(make.policy(make.destination()), user=user)
    assert answer.ok
    assert "this one is made up" in receiver.received[-1].json["text"]


def test_a_policys_test_tells_of_the_run_that_is_chosen(
    make: Make, user: User, receiver: Receiver, other: Team
) -> None:
    policy, run = make.policy(make.destination()), make.run(StateType.COMPLETED, name="chosen")
    actions.test_policy(policy, user=user, run=run)
    assert receiver.received[-1].json["title"] == "Test: chosen of new-thing failed"
    theirs = Make(other).run()
    assert "own team" in refused(actions.test_policy, policy, user=user, run=theirs)["run"][0]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([Event.RECOVERED], StateType.COMPLETED),
        ([Event.LONG_RUNNING], StateType.RUNNING),
        ([Event.CANCELLED], StateType.CANCELLED),
    ],
)
def test_a_run_in_a_suitable_state_is_looked_for(make: Make, events: list[str], state: StateType) -> None:
    wanted = make.run(state, ended=timezone.now() - timedelta(hours=1))
    make.run(StateType.CRASHED)
    assert actions.matching_run(Policy(team=make.team, events=events)) == wanted
    assert actions.matching_run(Policy(team=make.team, events=events, tags=["x"])) is None


def test_looking_for_a_run_costs_three_queries(make: Make, django_assert_max_num_queries: Any) -> None:
    make.runs(300)
    with django_assert_max_num_queries(3):
        actions.matching_run(Policy(team=make.team, events=["FAILED"]))


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [Message.State.SENT, Message.State.FAILED])
def test_a_message_is_sent_again_with_its_answers_kept(
    make: Make, user: User, alerts: Destination, rung: list[Any], state: str
) -> None:
    answers = [{"at": "2027-01-01T00:00:00Z", "ok": False, "text": "500", "seconds": 0.1}]
    message = Message.objects.create(
        team=make.team, destination=alerts, content={}, state=state, tries=12, answers=answers, sent_at=timezone.now()
    )
    again = actions.send_again(message, user=user)
    assert (again.state, again.tries, again.answers, again.sent_at) == ("waiting", 0, answers, None)
    assert rung == [alerts.pk]
    with pytest.raises(ValidationError, match="waits to be sent already") as error:
        actions.send_again(message, user=user)
    assert error.value.code == actions.CONFLICT
    assert rung == [alerts.pk]


def test_a_message_to_a_deleted_destination_is_not_sent_again(make: Make, user: User) -> None:
    message = Message.objects.create(team=make.team, content={}, state=Message.State.SENT)
    with pytest.raises(ValidationError, match="destination was deleted") as error:
        actions.send_again(message, user=user)
    assert error.value.code == actions.CONFLICT
    message.refresh_from_db()
    assert message.state == Message.State.SENT


# ── mutes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deployment_is_muted_until_a_time_and_unmuted(make: Make, user: User) -> None:
    deployment, until = make.deployment(), timezone.now() + timedelta(hours=2)
    mute = actions.mute(deployment, user=user, until=until, reason=" being repaired ")
    assert (mute.until, mute.reason, mute.created_by) == (until, "being repaired", user)
    longer = actions.mute(deployment, user=user, until=until + timedelta(hours=1))
    assert (longer.pk, longer.reason) == (mute.pk, "")
    actions.unmute(deployment, user=user)
    actions.unmute(deployment, user=user)
    assert not Mute.objects.exists()


def test_muting_covers_what_is_held_back(make: Make, user: User, alerts: Destination) -> None:
    deployment, policy = make.deployment(), make.policy(alerts)
    held = make.delivery(policy, alerts, deployment=deployment, held_for="repeat", repeats=True)
    due = make.delivery(policy, alerts, deployment=deployment)
    others = make.delivery(policy, alerts, held_for="repeat")
    actions.mute(deployment, user=user, until=timezone.now() + timedelta(hours=2))
    for one in (held, due, others):
        one.refresh_from_db()
    assert (held.status, held.due_at) == (Delivery.Status.MUTED, None)
    assert due.status == Delivery.Status.WAITING
    assert others.status == Delivery.Status.HELD


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"until": timedelta(0)}, "until", "Write a time that is still to come."),
        ({"until": timedelta(days=91)}, "until", "at most 90 days"),
        ({"until": None}, "until", "Write a time with its offset"),
        ({"reason": "x" * 201}, "reason", "at most 200 characters"),
    ],
)
def test_a_mute_that_cannot_be_is_refused_by_field(
    make: Make, user: User, fields: dict[str, Any], field: str, words: str
) -> None:
    given = {"until": timedelta(hours=1), **fields}
    if isinstance(given["until"], timedelta):
        given["until"] = timezone.now() + given["until"]
    found = refused(actions.mute, make.deployment(), user=user, **given)
    assert list(found) == [field]
    assert words in found[field][0]
    assert not Mute.objects.exists()
