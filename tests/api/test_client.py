"""The typed client has a method for every operation of the API, each of which does what its name says."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from orchestrator.client import Client, ClientError, Refused
from orchestrator.rest import Answer, Transport
from runs import bells
from teams.models import ApiToken, Team, User
from tests.api import fuzzing
from tests.notifications.receiving import Receiver

#: Operations without a method, and why.
WITHOUT = {
    "POST /api/ingest/": "facts, which engines and workers send",
    "POST /api/calls/": "asked by engines",
    "GET /api/calls/stream/": "listened to by engines",
    "POST /api/slots/": "asked by engines",
    "DELETE /api/slots/{task_run}/": "asked by engines",
    "GET /api/slots/stream/": "listened to by engines",
    "GET /api/slots/tags/": "asked by engines",
    "POST /api/workers/": "said by workers",
    "POST /api/workers/{id}/claim/": "asked by workers",
    "POST /api/workers/{id}/renew/": "said by workers",
    "POST /api/workers/{id}/release/": "said by workers",
    "POST /api/workers/{id}/sign-off/": "said by workers",
    "GET /api/flow-runs/{id}/start/": "asked by attempts away from their worker",
    "POST /api/snapshots/": "brought by `orchestrator deploy`",
    "GET /api/snapshots/limits/": "asked by `orchestrator deploy`",
    "GET /api/snapshots/{hash}/": "asked by people who look for one",
    "GET /api/snapshots/{hash}/pack/": "fetched by runs",
    "GET /api/audit/export/": "a file to download; list_audit_entries reads the same",
}


class Recorder:
    """Passes calls on, and keeps which they were."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.made: set[str] = set()

    def call(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Answer:
        """Call, and remember it."""
        self.made.add(f"{method} {target.partition('?')[0]}")
        return self.inner.call(method, target, body, headers)


@pytest.fixture
def stage(transactional_db: None) -> fuzzing.Stage:
    """A team with one of everything."""
    return fuzzing.set_stage()


@pytest.fixture
def client(live_server: LiveServer, stage: fuzzing.Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client with a site administrator's token for that team; no worker listens."""
    monkeypatch.setattr(bells, "_post", lambda *_: None)
    secret = ApiToken.issue(name="test", user=User.first_admin(), team=Team.objects.get(name="fuzzed"))[1]
    with Client(live_server.url, secret) as made:
        yield made


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def recorder(client: Client) -> Recorder:
    recorder = Recorder(client.calls._transport)
    client.calls._transport = recorder
    return recorder


def test_every_operation_has_a_method(
    client: Client, recorder: Recorder, stage: fuzzing.Stage, receiver: Receiver
) -> None:
    do_with_deployments(client)
    do_with_runs(client, stage)
    do_with_work(client, stage)
    do_with_notifications(client, stage, receiver)
    do_with_people(client)

    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    there = {f"{method.upper()} {path}" for path, item in paths.items() for method in item if method != "parameters"}
    assert set(WITHOUT) <= there
    called = {name for name in there if any(matches(name, call) for call in recorder.made)}
    assert there - called == set(WITHOUT)


def do_with_blocks(client: Client, deployment: Any) -> None:
    assert "process" in {one.name for one in client.list_block_types() if one.is_infrastructure}
    block = client.create_block("process", "little", {"memory_mb": 256}, opened=["memory_mb"])
    assert client.get_block(block.id) == block
    assert [one.name for one in client.list_blocks(name="little")] == ["little"]
    assert client.change_block(block.id, values={"memory_mb": 300}).values == {"memory_mb": 300}
    assert client.use_block(block.id, [deployment]).deployments == 1
    assert client.preview_block(block.id, deployment).preview is None
    run = client.run_deployment(deployment, infrastructure_overrides={"memory_mb": 400})
    assert run.deployment == "etl_job/hourly"
    assert client.change_deployment(deployment, infrastructure="process").infrastructure == "process"
    client.delete_block(block.id)


def matches(operation: str, call: str) -> bool:
    """Whether a call is one of an operation such as GET /api/flows/{id}/; `/preview/` is no id."""
    pattern = re.sub(r"\{\w+\}", r"(?!preview/|bulk/|apply/|stream/|tags/|export/|limits/)[^/]+", operation)
    return re.fullmatch(pattern, call) is not None


def do_with_deployments(client: Client) -> None:
    now = datetime.now(UTC)
    (flow,) = client.list_flows(name="etl_job")
    assert client.get_flow(flow.id) == flow
    made = client.deploy("etl_job", "hourly", "etl.py:etl_job", tags=["a"])
    assert [one.id for one in client.list_deployments(tag="a")] == [made.id]
    assert client.get_deployment("etl_job/hourly").id == made.id
    assert client.change_deployment(made.id, description="x").description == "x"
    client.deploy("etl_job", "hourly", "etl.py:etl_job", tags=["a", "b"])
    assert [version.number for version in client.list_versions(made.id)] == [2, 1]
    assert client.compare_versions(made.id).settings["tags"] == [["a"], ["a", "b"]]
    client.deploy("etl_job", "hourly", "new.py:etl_job", tags=["a", "b"])
    assert client.roll_back_deployment(made.id, 1).settings["entrypoint"] == "etl.py:etl_job"
    said = {"flow": "etl_job", "name": "hourly", "entrypoint": "new.py:etl_job", "tags": ["c"]}
    (applied,) = client.apply_deployments("warehouse", [said], dry_run=True)
    assert (applied.action, applied.changes["tags"][1]) == ("update", ["c"])
    assert client.duplicate_deployment(made.id, "daily").name == "etl_job/daily"
    assert client.pause_deployment(made.id).paused
    assert not client.resume_deployment(made.id).paused
    assert client.run_deployment(made.id).deployment == "etl_job/hourly"

    schedule = client.add_schedule(made.id, kind="cron", expression="0 8 * * *", active=False)
    assert client.get_schedule(schedule.id) == schedule
    assert client.change_schedule(schedule.id, expression="0 9 * * *").expression == "0 9 * * *"
    (other,) = client.replace_schedules(made.id, [{"kind": "interval", "expression": "3600"}])
    assert [one.id for one in client.list_schedules(made.id)] == [other.id]
    assert len(client.preview_schedule(kind="cron", expression="0 8 * * *", count=3, year=True).next_times) == 3
    done = client.backfill(made.id, now - timedelta(hours=5), now - timedelta(hours=1))
    assert done.count == len(done.flow_runs) > 0
    assert client.undo_backfill(made.id, done.tag) == done.count
    client.delete_schedule(other.id)

    webhook = client.create_webhook(made.id, {"day": "a.b"})
    assert webhook.url.split("/hooks/")[1].startswith(client.get_webhook(made.id).prefix)
    assert client.change_webhook(made.id, {"day": "*"}).mapping == {"day": "*"}
    assert client.rotate_webhook(made.id).url != webhook.url
    client.delete_webhook(made.id)

    do_with_blocks(client, made.id)
    calendar = client.create_calendar("mine", country="FR", weekend=["SA", "SU"])
    assert client.get_calendar(calendar.id).special_days == calendar.special_days
    assert client.change_calendar(calendar.id, days_off=[{"date": "2027-01-02"}]).days_off[0].date.year == 2027
    assert calendar.id in {one.id for one in client.list_calendars()}
    client.delete_calendar(calendar.id)
    client.delete_deployment(made.id)
    with pytest.raises(ClientError, match="no deployment"):
        client.get_deployment("etl_job/hourly")


def do_with_runs(client: Client, stage: fuzzing.Stage) -> None:
    runs = {run.state_type: run for run in client.list_flow_runs(deployment="etl_job/nightly")}
    first = stage.ids["flow-runs"][0]
    assert client.get_flow_run(first).id == first
    assert client.wait_for_flow_run(runs["COMPLETED"].id, timeout=1).is_final
    assert [one.name for one in client.list_task_runs(first)] == ["extract-0"]
    assert [line.message for line in client.flow_run_logs(first)] == ["hello"]
    assert client.flow_run_resources(first) == []
    waiting = client.run_deployment("etl_job/nightly")
    assert client.why_flow_run(waiting.id).waits
    assert client.cancel_flow_run(waiting.id).state_type == "CANCELLED"
    assert client.retry_flow_run(runs["FAILED"].id).attempt == 1
    assert client.rerun_flow_run(runs["COMPLETED"].id).trigger == "rerun"
    client.delete_flow_run(waiting.id)
    asked = client.bulk_flow_runs("cancel", {"deployment": "etl_job/nightly", "state": ["SCHEDULED"]}, dry_run=True)
    assert asked.count > 0
    done = client.bulk_flow_runs("cancel", {"deployment": "etl_job/nightly", "state": ["SCHEDULED"]})
    assert (done.done, done.next) == (asked.count, None)


def do_with_work(client: Client, stage: fuzzing.Stage) -> None:
    assert client.health().status == "ok"
    queue = client.create_work_queue("slow", limit=1)
    assert client.get_work_queue(queue.id).limit == 1
    assert client.change_work_queue(queue.id, limit=2).limit == 2
    assert client.pause_work_queue(queue.id).paused
    assert not client.resume_work_queue(queue.id).paused
    assert queue.id in {one.id for one in client.list_work_queues()}
    client.delete_work_queue(queue.id)
    limit = client.create_concurrency_limit("api", 1)
    assert client.get_concurrency_limit(limit.id).tag == "api"
    assert client.change_concurrency_limit(limit.id, 3).limit == 3
    assert client.reset_concurrency_limit(limit.id) == 0
    assert {one.tag for one in client.list_concurrency_limits()} == {"api", "database"}
    client.delete_concurrency_limit(limit.id)
    (worker,) = stage.ids["workers"]
    assert [one.id for one in client.list_workers(name="w")] == [worker]
    assert client.get_worker(worker).host == "h"


def do_with_notifications(client: Client, stage: fuzzing.Stage, receiver: Receiver) -> None:
    made = client.create_destination(f"{receiver.url}/hook", kind="webhook", name="mine")
    assert made.shown_once
    assert client.get_destination(made.id).name == "mine"
    assert client.change_destination(made.id, name="ours").name == "ours"
    assert client.test_destination(made.id).ok
    assert client.pause_destination(made.id).paused
    assert not client.resume_destination(made.id).paused
    assert {one.name for one in client.list_destinations()} == {"ops", "ours"}
    policy = client.create_policy(["ours"], name="late", events=["LATE"])
    assert client.get_policy(policy.id).destinations[0].name == "ours"
    assert client.change_policy(policy.id, log_lines=3).log_lines == 3
    assert client.pause_policy(policy.id).paused
    assert not client.resume_policy(policy.id).paused
    assert [answer.ok for answer in client.test_policy(policy.id)] == [True]
    assert client.preview_policy(events=["FAILED"]).event == "FAILED"
    assert {one.name for one in client.list_policies()} == {"failures", "late"}
    client.delete_policy(policy.id)
    client.delete_destination(made.id)

    (delivery,) = stage.ids["deliveries"]
    assert [one.id for one in client.list_deliveries()] == [delivery]
    assert client.get_delivery(delivery).message is None
    with pytest.raises(Refused) as refused:
        client.send_again(delivery)
    assert refused.value.code == "conflict"
    until = datetime.now(UTC) + timedelta(hours=1)
    assert client.mute_deployment("etl_job/nightly", until).until == until
    assert [one.deployment.name for one in client.list_mutes()] == ["etl_job/nightly"]
    client.unmute_deployment("etl_job/nightly")


def do_with_people(client: Client) -> None:
    team = client.create_team("data")
    assert client.get_team(team.id).name == "data"
    assert client.rename_team(team.id, "facts").name == "facts"
    assert team.id in {one.id for one in client.list_teams()}
    ann = client.create_user("ann", team="facts", role="viewer")
    assert ann.sign_in_link
    assert client.get_user(ann.id).teams[0].name == "facts"
    assert [one.username for one in client.list_users(username="ann")] == ["ann"]
    assert client.add_member(team.id, "editor", "editor").role == "editor"
    assert client.set_role(team.id, ann.id, "operator").role == "operator"
    assert {one.username for one in client.list_members(team.id)} >= {"ann", "editor"}
    client.remove_member(team.id, ann.id)
    assert not client.deactivate_user(ann.id).is_active
    assert client.reactivate_user(ann.id).is_active

    invitation = client.invite(team.id, "viewer")
    assert [one.id for one in client.list_invitations(team.id)] == [invitation.id]
    client.withdraw_invitation(team.id, invitation.id)
    mapping = client.map_group(team.id, "engineers", "editor")
    assert list(client.list_groups(team.id)) == [mapping]
    client.unmap_group(team.id, mapping.id)
    account = client.create_service_account("facts", "ci")
    assert client.get_service_account(account.id) == account
    assert [one.id for one in client.list_service_accounts(team="facts")] == [account.id]
    assert not client.deactivate_service_account(account.id).is_active
    assert client.reactivate_service_account(account.id).is_active

    token = client.create_token("ci", expires_in=60)
    assert client.get_token(token.id).prefix == token.prefix
    client.revoke_token(token.id)
    assert token.id not in {one.id for one in client.list_tokens()}
    share = client.share(deployment="etl_job/nightly", user="ann", level="run")
    assert list(client.list_shares(deployment="etl_job/nightly")) == [share]
    client.take_back_share(str(share.id))
    assert next(client.list_audit_entries(most=1)).verb == "deployment.share"
