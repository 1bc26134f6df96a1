"""Who may call the API: tokens, sessions, runs' own tokens, and nobody from another team."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Deployment
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.models import Attempt, FlowRun
from teams.authentication import IN_PROCESS
from teams.models import ApiToken, User
from tests.api.conftest import RunMaker

READS = ["flow-runs/", "deployments/", "flows/", "work-queues/", "tokens/"]


@pytest.mark.parametrize("path", READS)
def test_nobody_is_answered_401(db: None, path: str) -> None:
    answer = APIClient().get(f"/api/{path}")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.data["code"] == "not_authenticated"


@pytest.mark.parametrize("secret", ["orc_nonsense", "orun_nonsense", ""])
def test_a_wrong_token_is_answered_401(db: None, secret: str) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")

    answer = client.get("/api/flow-runs/")

    assert answer.status_code == 401
    assert answer.data["code"] == "authentication_failed"


def test_an_expired_token_and_one_of_a_deactivated_user_are_refused(api: APIClient, user: User) -> None:
    User.objects.update(is_active=False)
    assert api.get("/api/flow-runs/").status_code == 401
    User.objects.update(is_active=True)
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert api.get("/api/flow-runs/").status_code == 401


def test_a_session_reads_and_writes_only_with_a_csrf_token(user: User, make_run: RunMaker) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    run = make_run(0, StateType.SCHEDULED, attempt=0)

    assert client.get("/api/flow-runs/").status_code == 200
    assert client.post(f"/api/flow-runs/{run.id}/cancel/").status_code == 403


def test_other_teams_rows_are_not_there(
    strange_api: APIClient, api: APIClient, make_run: RunMaker, deployment: Deployment
) -> None:
    run = make_run()
    assert api.get(f"/api/flow-runs/{run.id}/").status_code == 200

    for path in READS[:3]:
        assert strange_api.get(f"/api/{path}").data["results"] == []
    for path in (f"flow-runs/{run.id}/", f"flow-runs/{run.id}/logs/", f"deployments/{deployment.id}/"):
        assert strange_api.get(f"/api/{path}").status_code == 404
    for path in (
        f"flow-runs/{run.id}/cancel/",
        f"deployments/{deployment.id}/runs/",
        f"deployments/{deployment.id}/pause/",
    ):
        assert strange_api.post(f"/api/{path}").status_code == 404
    assert strange_api.delete(f"/api/deployments/{deployment.id}/").status_code == 404


def test_a_superuser_sees_every_team(make_run: RunMaker) -> None:
    run = make_run()
    client = APIClient()
    client.force_authenticate(User.first_admin())

    assert client.get("/api/flow-runs/").data["results"][0]["id"] == str(run.id)


@pytest.fixture
def running(make_run: RunMaker) -> FlowRun:
    return make_run(1, StateType.RUNNING)


@pytest.fixture
def run_api(running: FlowRun) -> APIClient:
    attempt = Attempt.objects.create(flow_run=running, number=1, created_at=timezone.now(), state_type="RUNNING")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {run_token(attempt)}")
    return client


def test_a_runs_token_reaches_that_run_and_its_subflows_alone(
    run_api: APIClient, running: FlowRun, make_run: RunMaker
) -> None:
    subflow, other = make_run(parent=running), make_run()

    assert run_api.get(f"/api/flow-runs/{running.id}/").status_code == 200
    assert run_api.get(f"/api/flow-runs/{subflow.id}/logs/").status_code == 200
    assert run_api.get(f"/api/flow-runs/{other.id}/").status_code == 404
    assert {row["id"] for row in run_api.get("/api/flow-runs/").data["results"]} == {str(running.id), str(subflow.id)}


def test_a_runs_token_may_do_nothing_else(run_api: APIClient, running: FlowRun, deployment: Deployment) -> None:
    for path in ("deployments/", "flows/", "tokens/", "work-queues/"):
        answer = run_api.get(f"/api/{path}")
        assert answer.status_code == 403, path
        assert answer.data["code"] == "permission_denied"
    for path in (f"flow-runs/{running.id}/cancel/", f"deployments/{deployment.id}/runs/", "tokens/"):
        assert run_api.post(f"/api/{path}", {}).status_code == 403, path


def test_a_runs_token_ends_with_its_attempt(run_api: APIClient, running: FlowRun) -> None:
    FlowRun.objects.update(attempt=2)
    assert run_api.get(f"/api/flow-runs/{running.id}/").status_code == 401
    FlowRun.objects.update(attempt=1, state_type=StateType.COMPLETED)
    assert run_api.get(f"/api/flow-runs/{running.id}/").status_code == 401


def test_only_this_process_can_say_that_it_is_the_command_line(db: None) -> None:
    assert APIClient().get("/api/flow-runs/", **{IN_PROCESS: True}).status_code == 200
    assert APIClient().get("/api/flow-runs/", **{IN_PROCESS: "True"}).status_code == 401
    for name in ("orchestrator.in_process", "Orchestrator-In-Process", "orchestrator_in_process"):
        assert APIClient().get("/api/flow-runs/", headers={name: "True"}).status_code == 401
