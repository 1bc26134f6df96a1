"""An attempt that executes away from its worker asks the server what to run, by its run's own token."""

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.models import Attempt, FlowRun
from tests.api.conftest import RunMaker


@pytest.fixture
def attempt(make_run: RunMaker) -> Attempt:
    run = make_run(1, StateType.RUNNING)
    return Attempt.objects.create(
        flow_run=run, number=1, created_at=timezone.now(), state_type="RUNNING", journal=uuid7()
    )


def of(attempt: Attempt) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {run_token(attempt)}")
    return client


def test_it_is_told_what_its_host_would_be_without_a_token(attempt: Attempt) -> None:
    run = attempt.flow_run
    answer = of(attempt).get(f"/api/flow-runs/{run.pk}/start/")
    assert answer.status_code == 200
    assert answer.data["run"] == str(run.pk)
    assert answer.data["journal"] == str(attempt.journal)
    assert answer.data["name"] == run.name
    assert "token" not in answer.data
    assert "infrastructure" not in answer.data


def test_another_run_is_not_there(attempt: Attempt, make_run: RunMaker) -> None:
    other: FlowRun = make_run(1, StateType.RUNNING)
    assert of(attempt).get(f"/api/flow-runs/{other.pk}/start/").status_code == 404
    assert APIClient().get(f"/api/flow-runs/{attempt.flow_run_id}/start/").status_code == 401
