"""An attempt that executes away from its worker asks the server what to run, by its run's own token."""

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Deployment
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
    answer = of(attempt).get(f"/api/flow-runs/{run.pk}/start/?process={uuid7()}")
    assert answer.status_code == 200
    assert answer.data["run"] == str(run.pk)
    assert answer.data["journal"] == str(attempt.journal)
    assert answer.data["name"] == run.name
    assert "token" not in answer.data
    assert "infrastructure" not in answer.data


def test_one_process_begins_an_attempt_and_may_ask_again(attempt: Attempt) -> None:
    address = f"/api/flow-runs/{attempt.flow_run_id}/start/"
    first, second = uuid7(), uuid7()
    assert of(attempt).get(address).status_code == 400
    assert of(attempt).get(address, {"process": first}).status_code == 200
    refused = of(attempt).get(address, {"process": second})
    assert (refused.status_code, "not executed twice" in str(refused.json())) == (409, True)
    assert of(attempt).get(address, {"process": first}).status_code == 200


def test_a_deploy_while_an_image_is_pulled_changes_nothing_for_its_attempt(
    attempt: Attempt, deployment: Deployment
) -> None:
    FlowRun.objects.filter(pk=attempt.flow_run_id).update(deployment=deployment)
    told = {
        "entrypoint": "a.py:a",
        "directory": "",
        "source": {"kind": "snapshot", "hash": "a" * 64},
        "task_runner": "",
    }
    Attempt.objects.filter(pk=attempt.pk).update(executes=told)
    Deployment.objects.filter(pk=deployment.pk).update(entrypoint="b.py:b", source={"kind": "path"})
    answer = of(attempt).get(f"/api/flow-runs/{attempt.flow_run_id}/start/", {"process": uuid7()})
    assert (answer.data["entrypoint"], answer.data["source"]) == (told["entrypoint"], told["source"])


def test_another_run_is_not_there(attempt: Attempt, make_run: RunMaker) -> None:
    other: FlowRun = make_run(1, StateType.RUNNING)
    assert of(attempt).get(f"/api/flow-runs/{other.pk}/start/").status_code == 404
    assert APIClient().get(f"/api/flow-runs/{attempt.flow_run_id}/start/").status_code == 401
