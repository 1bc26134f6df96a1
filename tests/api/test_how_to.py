"""docs/how-to/rest-quickstart.md: what it says to type works, against a real server."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.client import Client, ClientError, Refused, StillRunning
from tests.server.running import RunningServer, running_server

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/how-to/rest-quickstart.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server with a deployment, in a home with a short path (sockets lie in it)."""
    path = Path(tempfile.mkdtemp(prefix="orch-"))
    with running_server(path) as running:
        running.deploy("hello")
        yield running
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.about["url"], server.about["token"]) as made:
        yield made


@pytest.mark.parametrize("block", BLOCKS, ids=["requests", "client"])
def test_its_programs_run(server: RunningServer, block: str) -> None:
    about = server.about
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        env={
            **server.environment,
            "ORCHESTRATOR_API_URL": about["url"],
            "ORCHESTRATOR_API_TOKEN": about["token"],
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "Completed" in done.stdout
    assert "hello" in done.stdout.splitlines()


def test_the_client_does_what_its_methods_say(client: Client) -> None:
    (deployment,) = client.list_deployments(flow="hello")
    assert client.get_deployment("hello/on-default") == client.get_deployment(deployment.id)
    assert client.change_deployment(deployment.id, tags=["a"]).tags == ["a"]
    schedule = client.add_schedule(deployment.id, kind="cron", expression="0 8 * * *", active=False)
    assert client.change_schedule(schedule.id, expression="0 9 * * *").expression == "0 9 * * *"
    assert [one.id for one in client.list_schedules(deployment.id)] == [schedule.id]
    client.delete_schedule(schedule.id)
    assert client.pause_deployment(deployment.id).paused
    assert not client.resume_deployment(deployment.id).paused

    first = client.run_deployment("hello/on-default", idempotency_key="k")
    assert client.run_deployment("hello/on-default", idempotency_key="k").id == first.id
    ended = client.wait_for_flow_run(first.id, timeout=60, poll_seconds=0.2)
    assert (ended.state_type, ended.error) == ("COMPLETED", None)
    assert first.id in {run.id for run in client.list_flow_runs(state=["COMPLETED"], most=5)}
    assert client.wait_for_flow_run(client.rerun_flow_run(first.id).id, timeout=60).is_final
    client.delete_flow_run(first.id)

    queue = client.create_work_queue("slow", limit=1)
    assert client.change_work_queue(queue.id, limit=2).limit == 2
    assert client.pause_work_queue(queue.id).paused
    waiting = client.run_deployment(client.change_deployment(deployment.id, queue="slow").id)
    with pytest.raises(StillRunning, match=waiting.name):
        client.wait_for_flow_run(waiting.id, timeout=0.1, poll_seconds=0.1)
    assert client.cancel_flow_run(waiting.id).state_type == "CANCELLED"
    assert not client.resume_work_queue(queue.id).paused
    client.change_deployment(deployment.id, queue="default")

    limit = client.create_concurrency_limit("database", 1)
    assert client.change_concurrency_limit(limit.id, 3).limit == 3
    client.delete_concurrency_limit(limit.id)
    token = client.create_token("ci", expires_in=60)
    assert token.token.startswith(token.prefix)
    client.revoke_token(token.id)
    assert token.id not in {one.id for one in client.list_tokens()}


def test_the_clients_errors_say_what_is_wrong(client: Client, server: RunningServer) -> None:
    with pytest.raises(Refused) as refused:
        client.create_work_queue("")
    assert (refused.value.status, refused.value.field) == (400, "name")
    with pytest.raises(Refused) as refused:
        Client(server.about["url"], "orc_wrong").get_deployment("hello/on-default")
    assert refused.value.status == 401
    with pytest.raises(ClientError, match="no deployment"):
        client.get_deployment("no/such")
    with pytest.raises(ClientError, match="did not answer"):
        Client("http://127.0.0.1:9", retries=0).get_deployment("no/such")
