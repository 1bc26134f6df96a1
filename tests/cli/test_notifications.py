"""Notifications on the command line: with a server over HTTP, and in process without one."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from flows.models import Deployment, Flow, WorkQueue
from notifications.events import Event
from notifications.models import Delivery, Destination, Message, Mute, Policy
from orchestrator.cli.policies import EVENTS, joined, sentence
from orchestrator.sdk.states import StateType
from runs import bells
from runs.models import FlowRun
from teams.models import ApiToken, Team, User
from tests.cli.conftest import COMMAND, Cli, ScriptWriter
from tests.notifications.receiving import Receiver, Reply

FAILING = "from orchestrator import flow\n\n@flow\ndef new_thing():\n    raise ValueError('no rows')\n\nnew_thing()\n"


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def remote(
    cli: Cli, live_server: LiveServer, transactional_db: None, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> Cli:
    """The command, pointed at a server of which it has a token. No worker listens there."""
    monkeypatch.setattr(bells, "_post", lambda *_: None)
    secret = ApiToken.issue(name="test", user=User.first_admin(), team=Team.default())[1]
    cli.environment |= {"ORCHESTRATOR_API_URL": live_server.url, "ORCHESTRATOR_API_TOKEN": secret}
    return cli


@pytest.fixture
def deployment(remote: Cli) -> Deployment:
    team = Team.default()
    flow = Flow.objects.create(team=team, name="new_thing")
    return Deployment.objects.create(
        team=team, flow=flow, name="nightly", entrypoint="etl.py:new_thing", queue=WorkQueue.default(team)
    )


@pytest.fixture
def failed_run(deployment: Deployment) -> FlowRun:
    now = timezone.now()
    state = {"state_type": StateType.FAILED, "state_name": "Failed", "state_time": now, "state_message": "no rows"}
    return FlowRun.objects.create(
        team=deployment.team, flow=deployment.flow, name="fuzzy-leopard", attempt=1, expected_start=now,
        start_time=now, end_time=now, **state,
    )  # fmt: skip


def typing(cli: Cli, typed: str, *arguments: str, code: int = 0) -> str:
    """Run the command with a text on its standard input; return what it printed."""
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=cli.directory, env=cli.environment, input=typed, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def at_terminal(cli: Cli, typed: str, *arguments: str, prompt: str) -> str:
    """Run the command at a terminal and answer its prompt; return all that the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=cli.directory, env={**cli.environment, "TERM": "dumb"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 30
    answered = False
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        shown += part
        if not part:
            break
        if not answered and prompt.encode() in shown:
            os.write(ours, typed.encode() + b"\n")
            answered = True
    assert process.wait(10) == 0, shown.decode()
    os.close(ours)
    return shown.decode()


# With a server


def test_creating_says_what_will_happen_and_what_to_do_next(
    remote: Cli, receiver: Receiver, deployment: Deployment
) -> None:
    said = remote(
        "notification", "create", "--to", f"slack:{receiver.url}/services/s3cr3t", "--flow", "new-thing",
        "--name", "broken",
    ).stdout  # fmt: skip

    assert f"Failed and Crashed runs of new-thing are told to slack 127.0.0.1:{receiver.port}" in said
    assert "orchestrator notification test broken" in said
    assert "server start" not in said
    assert "s3cr3t" not in said
    assert "broken" in remote("notification", "ls").stdout
    shown = remote("notification", "inspect", "bro").stdout
    assert "Failed and Crashed" in shown
    assert "s3cr3t" not in shown


def test_every_option_is_kept_and_set_changes_what_is_given(
    remote: Cli, receiver: Receiver, deployment: Deployment, write: ScriptWriter
) -> None:
    write("text.j2", "{{ flow.name }} broke\n{{ reason }}\n")
    to = ["--to", f"slack:{receiver.url}/a", "--to", f"webhook:{receiver.url}/b"]
    made = remote.json(
        "notification", "create", *to, "--state", "failed", "--state", "Long-running", "--deployment",
        "new_thing/nightly", "--tag", "prod", "--tag", "daily", "--message", "@text.j2", "--timezone", "Europe/Paris",
        "--log-lines", "3", "--burst-limit", "20", "--longer-than", "45m",
    )  # fmt: skip

    assert made["events"] == ["FAILED", "LONG_RUNNING"]
    assert (made["deployments"], made["tags"]) == (["new-thing/nightly"], ["prod", "daily"])
    assert made["message"].startswith("{{ flow.name }} broke\n")
    assert (made["timezone"], made["log_lines"], made["burst_limit"]) == ("Europe/Paris", 3, 20)
    assert made["long_running_seconds"] == 2700
    assert len(made["destinations"]) == 2

    said = remote("notification", "set", made["id"][:18], "--tag", "", "--state", "CRASHED", "--name", "new").stdout
    assert "Crashed runs of new-thing/nightly are told to" in said
    policy = Policy.objects.get()
    assert (policy.tags, policy.events, policy.name, policy.log_lines) == ([], ["CRASHED"], "new", 3)
    assert "Say what to change" in remote("notification", "set", "new", code=2).stderr


def test_a_longer_time_alone_is_about_long_runs(remote: Cli, receiver: Receiver) -> None:
    said = remote("notification", "create", "--to", f"slack:{receiver.url}/a", "--longer-than", "2h").stdout

    assert "Long-running (over 2 h) runs of every flow" in said
    name = Policy.objects.get().name
    assert "Long-running runs of every flow" in remote("notification", "set", name, "--longer-than", "usual").stdout


def test_mistakes_are_one_line_that_says_what_to_write(remote: Cli, receiver: Receiver, deployment: Deployment) -> None:
    to = ["--to", f"slack:{receiver.url}/a"]
    wrong = {
        (): (2, "--to slack:URL"),
        (*to, "--state", "EARLY"): (2, "LONG_RUNNING"),
        (*to, "--flow", "new-thin"): (1, "new-thing"),
        (*to, "--message", "{{ flow.nmae }}"): (1, "line 1"),
        (*to, "--message", "@nothing.txt"): (2, "nothing.txt"),
        (*to, "--longer-than", "soon"): (2, "--longer-than"),
        (*to, "--timezone", "Paris"): (1, "Europe/Paris"),
        ("--to", "https://example.com/x"): (1, "webhook:https://example.com/x"),
        ("--to", "#nowhere"): (1, "#nowhere"),
    }
    for arguments, (code, words) in wrong.items():
        failed = remote("notification", "create", *arguments, code=code)
        assert words in failed.stderr, arguments
        assert len([line for line in failed.stderr.splitlines() if line.startswith("Error")]) == 1
    assert not Policy.objects.exists()
    assert not Destination.objects.exists()


def test_a_test_prints_each_services_own_answer(remote: Cli, receiver: Receiver) -> None:
    to = ["--to", f"slack:{receiver.url}/a", "--to", f"slack:{receiver.url}/b"]
    remote("notification", "create", *to, "--name", "both")

    assert "200" in remote("notification", "test", "both").stdout
    receiver.then(Reply(403, b"invalid_token"), path="/b")
    refused = remote("notification", "test", "both", code=1).stdout
    assert "invalid_token" in refused
    assert "sent: " in refused
    assert len(receiver.received) == 4
    receiver.then(Reply(404, b"no_service"), path="/a")
    there = next(one for one in remote.json("destination", "ls") if "no_service" not in one["last_answer"])
    assert there["policies"] == ["both"]


def test_an_address_is_typed_unseen_or_read_from_standard_input(remote: Cli, receiver: Receiver) -> None:
    made = typing(remote, f"{receiver.url}/s3cr3t\n", "notification", "create", "--to", "slack:-", "--name", "a")
    shown = at_terminal(
        remote, f"{receiver.url}/hidden", "destination", "create", "slack", "-", prompt="Incoming webhook URL:"
    )

    assert "s3cr3t" not in made
    assert "hidden" not in shown
    assert "Made destination" in shown
    assert Destination.objects.count() == 2
    assert "nothing came" in remote("destination", "create", "slack", "-", code=1).stderr


def test_a_signing_secret_stands_alone_on_the_last_line(remote: Cli, receiver: Receiver) -> None:
    made = remote("destination", "create", "webhook", f"{receiver.url}/hook", "--name", "hook").stdout
    along = remote("notification", "create", "--to", f"webhook:{receiver.url}/other").stdout

    for said in (made, along):
        assert "only now" in said.splitlines()[-2]
        assert said.splitlines()[-1].startswith("whsec_")
    secret = made.splitlines()[-1]
    assert secret not in remote("destination", "inspect", "hook", "--json").stdout
    assert secret not in remote("destination", "ls", "--json").stdout
    assert secret not in remote("destination", "set", "hook", "--name", "hook2").stdout


def test_destinations_are_listed_changed_paused_and_deleted(remote: Cli, receiver: Receiver) -> None:
    assert "orchestrator destination create" in remote("destination", "ls").stdout
    remote("destination", "create", f"slack:{receiver.url}/a", "--name", "#data")
    remote("destination", "create", f"slack:{receiver.url}/b", "--name", "#dates")

    assert "may be #data" in remote("destination", "inspect", "#dat", code=1).stderr
    assert "There is no destination" in remote("destination", "inspect", "x", code=1).stderr
    assert "waits" in remote("destination", "pause", "#data").stdout
    assert "paused" in remote("destination", "ls").stdout
    remote("destination", "resume", "#data")
    assert "Changed" in remote("destination", "set", "#data", "--name", "#alerts").stdout
    assert "200" in remote("destination", "test", "#alerts").stdout
    receiver.then(Reply(500, b"oh no"), path="/a")
    assert "oh no" in remote("destination", "test", "#alerts", code=1).stdout
    assert "--yes" in remote("destination", "delete", "#alerts", code=2).stderr
    remote("destination", "delete", "#alerts", "--yes")
    assert Destination.objects.get().name == "#dates"


def test_policies_are_paused_resumed_and_deleted(remote: Cli, receiver: Receiver) -> None:
    remote("notification", "create", "--to", f"slack:{receiver.url}/a", "--name", "broken")

    remote("notification", "pause", "broken")
    assert Policy.objects.get().paused
    assert "paused" in remote("notification", "ls").stdout
    remote("notification", "resume", "broken")
    assert not Policy.objects.get().paused
    assert "--yes" in remote("notification", "delete", "broken", code=2).stderr
    remote("notification", "delete", "broken", "--yes")
    assert "orchestrator notification create" in remote("notification", "ls").stdout


def test_a_preview_is_of_a_past_run(remote: Cli, receiver: Receiver, failed_run: FlowRun) -> None:
    remote("notification", "create", "--to", f"slack:{receiver.url}/a", "--name", "broken")

    said = remote("notification", "preview", "broken", "--run", "fuzzy-leopard").stdout
    tried = remote("notification", "preview", "broken", "--message", "{{ flow.name }}: {{ reason }}").stdout

    assert said.startswith("The fuzzy-leopard run of the new_thing flow entered a failed state at ")
    assert "no rows" in said
    assert tried.splitlines()[0] == "new_thing: no rows"
    assert receiver.received == []


def test_deliveries_are_listed_inspected_and_sent_again(remote: Cli, receiver: Receiver, failed_run: FlowRun) -> None:
    assert "Nothing was told yet" in remote("notification", "deliveries").stdout
    remote("notification", "create", "--to", f"slack:{receiver.url}/a", "--name", "broken")
    policy, destination = Policy.objects.get(), Destination.objects.get()
    there = {"team": policy.team, "policy": policy, "destination": destination}
    answers = [{"at": timezone.now().isoformat(), "ok": False, "text": "404 no_service", "seconds": 0.1}]
    message = Message.objects.create(
        **there, state="failed", tries=1, answers=answers, content={"title": "t", "text": "It failed."}
    )
    event = {"flow_run": failed_run, "attempt": 1, "event": "FAILED", "occurred_at": timezone.now()}
    delivery = Delivery.objects.create(**there, **event, subject=failed_run.flow_id, message=message)

    listed = remote(
        "notification", "deliveries", "--status", "failed", "--policy", "broken", "--run", "fuzzy-leopard"
    ).stdout
    assert "404 no_service" in listed
    assert str(delivery.id) in listed
    assert "No delivery is like that" in remote("notification", "deliveries", "--status", "sent").stdout
    shown = remote("notification", "deliveries", str(delivery.id)[:23]).stdout
    assert "It failed." in shown
    assert "fuzzy-leopard of new_thing" in shown
    assert "sent again" in remote("notification", "send-again", str(delivery.id)).stdout
    assert "waits" in remote("notification", "send-again", str(delivery.id), code=1).stderr
    message.refresh_from_db()
    assert message.state == "waiting"
    assert "no delivery" in remote("notification", "send-again", "x", code=1).stderr


def test_a_deployment_is_muted_for_a_time(remote: Cli, deployment: Deployment) -> None:
    said = remote("deployment", "mute", "new_thing/nightly", "--for", "2h", "--reason", "it is being moved").stdout

    assert "new_thing/nightly is muted until" in said
    assert "orchestrator deployment unmute new_thing/nightly" in said
    assert 7100 < (Mute.objects.get().until - timezone.now()).total_seconds() <= 7200
    assert "it is being moved" in remote("deployment", "inspect", "nightly").stdout
    assert remote("deployment", "unmute", "nightly").stdout
    assert "not muted" in remote("deployment", "unmute", "nightly", code=1).stderr
    assert "write a time" in remote("deployment", "mute", "nightly", "--for", "long", code=2).stderr
    assert "90 days" in remote("deployment", "mute", "nightly", "--for", "100d", code=1).stderr


# Without a server


def test_without_a_server_it_says_when_messages_are_sent(local: Cli, write: ScriptWriter) -> None:
    receiver = Receiver()
    local.environment["ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES"] = "1"
    write("new.py", FAILING)
    local.script("new.py")
    try:
        made = local("notification", "create", "--to", f"slack:{receiver.url}/a", "--flow", "new_thing").stdout
        (policy,) = local.json("notification", "ls")

        assert "Messages are sent while a server runs: orchestrator server start" in made
        assert "200" in local("notification", "test", policy["id"]).stdout
        assert "This is a test" in receiver.wait(1)[0].body.decode()
        preview = local("notification", "preview", policy["name"]).stdout
        assert "run of the new_thing flow entered a failed state at" in preview
        assert local.json("notification", "deliveries") == []
    finally:
        receiver.close()


def test_what_happens_after_it_was_made_is_written_down_without_a_server(local: Cli, write: ScriptWriter) -> None:
    local("notification", "create", "--to", "slack:https://hooks.slack.com/services/T0/B0/x")
    write("new.py", FAILING)
    local.script("new.py")

    (delivery,) = local.json("notification", "deliveries")

    assert (delivery["status"], delivery["event"]) == ("waiting", "FAILED")
    assert delivery["flow_run"]["flow"] == "new_thing"


# Words


def test_the_events_are_those_of_the_server() -> None:
    assert {event.value: event.label for event in Event} == EVENTS


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Failed runs of every flow are told to slack a/… ('#data')."),
        ({"flows": ["a", "b-*"], "deployments": ["c/d"]}, "Failed runs of a, b-* and c/d are told to"),
        ({"tags": ["prod", "eu"]}, "Failed runs of every flow tagged prod or eu are told to"),
        ({"events": ["FAILED", "CRASHED", "RECOVERED"]}, "Failed, Crashed and Recovered runs of"),
        ({"events": ["LONG_RUNNING"], "long_running_seconds": 2700}, "Long-running (over 45 m) runs of"),
        ({"destinations": []}, "are told to nobody."),
        (
            {"destinations": [{"name": "Webhook example.com", "kind": "webhook", "summary": "https://example.com/…"}]},
            "are told to webhook https://example.com/….",
        ),
    ],
)
def test_a_policy_reads_as_a_sentence(fields: dict[str, Any], words: str) -> None:
    there = {"id": "1", "name": "#data", "kind": "slack", "summary": "a/…"}
    policy = {"events": ["FAILED"], "flows": [], "deployments": [], "tags": [], "destinations": [there]}

    assert words in sentence({**policy, "long_running_seconds": None, **fields})
    assert joined([]) == ""
