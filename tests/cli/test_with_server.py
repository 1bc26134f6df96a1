"""Verbs that ask a server over HTTP: a real process of the command against a real server."""

import re
import select
import signal
import subprocess
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.states import StateType
from runs import bells
from runs.models import Attempt, FlowRun, Log
from teams.models import ApiToken, Team, User
from tests.cli.conftest import Cli

SCHEMA = {"type": "object", "properties": {"limit": {"type": "integer"}}, "additionalProperties": False}


@pytest.fixture
def remote(cli: Cli, live_server: LiveServer, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command, pointed at a server of which it has a token. No worker listens there."""
    monkeypatch.setattr(bells, "send", lambda *_: None)
    secret = ApiToken.issue(name="test", user=User.first_admin(), team=Team.default())[1]
    cli.environment |= {"ORCHESTRATOR_API_URL": live_server.url, "ORCHESTRATOR_API_TOKEN": secret}
    return cli


@pytest.fixture
def deployment(remote: Cli) -> Deployment:
    team = Team.default()
    flow = Flow.objects.create(team=team, name="etl_job")
    where: dict[str, Any] = {"entrypoint": "etl.py:etl_job", "queue": WorkQueue.default(team)}
    return Deployment.objects.create(team=team, flow=flow, name="nightly", parameter_schema=SCHEMA, **where)


@pytest.fixture
def running(deployment: Deployment) -> FlowRun:
    now = timezone.now()
    state = {"state_type": StateType.RUNNING, "state_name": "Running", "state_time": now}
    return FlowRun.objects.create(
        team=deployment.team, flow=deployment.flow, deployment=deployment, name="calm-owl", attempt=1,
        expected_start=now, start_time=now, **state,
    )  # fmt: skip


def read_until(process: "subprocess.Popen[str]", text: str, seconds: float = 15) -> str:
    """Return what was printed up to a text."""
    assert process.stdout is not None
    said = ""
    deadline = time.monotonic() + seconds
    while text not in said and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.5)[0]:
            line = process.stdout.readline()
            if not line:
                break
            said += line
    assert text in said, said
    return said


def end(run: FlowRun, type_: StateType) -> None:
    FlowRun.objects.filter(pk=run.pk).update(state_type=type_, state_name=type_.capitalize(), end_time=timezone.now())


@pytest.mark.parametrize(("type_", "code"), [(StateType.COMPLETED, 0), (StateType.FAILED, 1)])
def test_watch_streams_until_the_end_and_tells_it_by_its_exit_code(
    remote: Cli, running: FlowRun, type_: StateType, code: int
) -> None:
    process = remote.start("flow-run", "watch", "calm-owl")
    read_until(process, "is Running")
    Log.objects.create(flow_run=running, time=timezone.now(), message="half way", logger="stdout")
    read_until(process, "half way")
    end(running, type_)

    said = process.communicate(timeout=15)[0]

    assert process.returncode == code
    assert f"ended {type_.capitalize()}" in said


def test_watch_tells_how_long_the_last_attempt_took(remote: Cli, running: FlowRun) -> None:
    now = timezone.now()
    FlowRun.objects.filter(pk=running.pk).update(attempt=2, start_time=now - timedelta(hours=1))
    times = {"created_at": now, "start_time": now, "end_time": now + timedelta(seconds=3)}
    Attempt.objects.create(flow_run=running, number=2, **times)
    end(running, StateType.COMPLETED)

    assert "ended Completed after 3.0 s" in remote("flow-run", "watch", "calm-owl").stdout


def test_ctrl_c_stops_the_watching_alone(remote: Cli, running: FlowRun) -> None:
    process = remote.start("flow-run", "watch", str(running.id))
    read_until(process, "is Running")
    process.send_signal(signal.SIGINT)

    said = process.communicate(timeout=15)[0]

    assert process.returncode == 130
    assert "the run goes on" in said
    running.refresh_from_db()
    assert running.state_type == StateType.RUNNING


def test_run_with_parameters_by_either_spelling_of_the_name(remote: Cli, deployment: Deployment) -> None:
    made = remote.json("deployment", "run", "etl-job/nightly", "--param", "limit=7", "--name", "first")

    run = FlowRun.objects.get(id=made["id"])
    assert (run.name, run.parameters, run.trigger) == ("first", {"limit": 7}, "api")


def test_a_bad_parameter_is_named_on_one_line(remote: Cli, deployment: Deployment) -> None:
    failed = remote("deployment", "run", "etl_job/nightly", "--param", "limit=x", code=1)

    assert failed.stderr.startswith("Error: parameters.limit: ")
    assert len(failed.stderr.splitlines()) == 1


def test_schedules_are_set_listed_and_cleared(remote: Cli, deployment: Deployment) -> None:
    shown = remote(
        "deployment", "schedule", "set", "etl_job/nightly", "--weekly", "MON 08:00", "--timezone", "Europe/Paris"
    ).stdout
    (schedule,) = remote.json("deployment", "schedule", "ls", "etl_job/nightly")

    assert len(re.findall(r"Mon .*\d\d:00 \S+\n", shown)) == 5  # with the zone of these times
    assert (schedule["expression"], schedule["timezone"]) == ("MO 08:00", "Europe/Paris")
    assert remote("deployment", "schedule", "set", "etl_job/nightly", code=2).stderr
    remote("deployment", "schedule", "clear", "etl_job/nightly")
    assert remote.json("deployment", "schedule", "ls", "etl_job/nightly") == []


def test_pause_resume_duplicate_and_delete(remote: Cli, deployment: Deployment) -> None:
    remote("deployment", "pause", "etl_job/nightly")
    assert Deployment.objects.get().paused
    remote("deployment", "resume", "nightly")
    assert not Deployment.objects.get().paused
    remote("deployment", "duplicate", "etl_job/nightly", "--name", "small", "--param", "limit=1")
    assert "etl_job/small" in remote("deployment", "ls").stdout
    assert "--yes" in remote("deployment", "delete", "etl_job/small", code=2).stderr
    remote("deployment", "delete", "etl_job/small", "--yes")
    assert Deployment.objects.count() == 1


def test_retry_and_rerun(remote: Cli, running: FlowRun) -> None:
    assert "Running" in remote("flow-run", "retry", "calm-owl", code=1).stderr
    end(running, StateType.FAILED)
    remote("flow-run", "retry", "calm-owl")
    running.refresh_from_db()
    assert running.state_name == "AwaitingRetry"
    assert remote.json("flow-run", "rerun", "calm-owl")["trigger"] == "rerun"


def test_a_revoked_token_is_refused_and_none_is_asked_for(remote: Cli) -> None:
    remote("token", "create", "other")
    assert "Revoked" in remote("token", "revoke", "other").stdout
    assert "no token" in remote("token", "revoke", "other", code=1).stderr
    assert "ORCHESTRATOR_API_TOKEN" in remote("flow", "ls", code=1, ORCHESTRATOR_API_TOKEN="").stderr
    assert "unknown" in remote("flow", "ls", code=1, ORCHESTRATOR_API_TOKEN="orc_x").stderr


def test_the_address_may_end_in_api(remote: Cli) -> None:
    url = remote.environment["ORCHESTRATOR_API_URL"]

    for ending in ("/", "/api", "/api/"):
        assert remote("flow", "ls", ORCHESTRATOR_API_URL=url + ending).stdout
    assert "API_URL right?" in remote("flow", "ls", code=1, ORCHESTRATOR_API_URL=f"{url}/elsewhere").stderr


def test_nobody_there_says_what_to_start(cli: Cli) -> None:
    failed = cli("flow-run", "ls", code=1, ORCHESTRATOR_API_URL="http://127.0.0.1:9")

    assert "connection refused" in failed.stderr
    assert "orchestrator server start" in failed.stderr
    assert "Write one like" in cli("flow-run", "ls", code=1, ORCHESTRATOR_API_URL="127.0.0.1:4200").stderr


def test_why_and_many_runs_by_a_filter(remote: Cli, deployment: Deployment, running: FlowRun) -> None:
    remote("deployment", "set", "etl_job/nightly", "--late-after", "5m", "--deadline", "2h", "--on-deadline", "cancel")
    deployment.refresh_from_db()
    assert (deployment.late_after_seconds, deployment.deadline_seconds, deployment.on_deadline) == (300, 7200, "cancel")
    remote("deployment", "run", "etl_job/nightly", "--name", "stuck-owl")
    said = remote("flow-run", "why", "stuck-owl").stdout
    assert "stuck-owl is Scheduled. No worker was ever started." in said
    assert "orchestrator worker start --queue default" in said
    assert re.search(r"Workers +BLOCKS", said)
    many = ("flow-run", "cancel", "--filter", "deployment=etl_job/nightly", "--filter", "state=SCHEDULED")
    refused = remote(*many, code=2)
    assert "This would cancel 1 run. Say --yes" in refused.stderr
    assert "Cancelled 1 run." in remote(*many, "--yes").stdout
    assert FlowRun.objects.get(name="stuck-owl").state_type == "CANCELLED"
    assert "No run is like that." in remote(*many, "--yes").stdout
    assert "Name one RUN" in remote("flow-run", "delete", code=2).stderr
    assert "Deleted flow run 'stuck-owl'." in remote("flow-run", "delete", "stuck-owl", "--yes").stdout
