"""What a run is told, and what of a worker's environment it sees; and its token."""

from datetime import timedelta

import pytest
from django.utils import timezone

from flows import block_actions
from flows.infrastructure import infrastructure_named
from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.states import StateType
from runs import claims
from runs.authentication import attempt_of, run_token
from runs.launch import absolute_entrypoint, run_environment, start_message
from runs.models import Attempt, FlowRun, Worker
from teams.models import Team

NOW = timezone.now()


@pytest.fixture
def claim(db: None) -> claims.Claim:
    team = Team.default()
    queue = WorkQueue.default(team)
    flow = Flow.objects.create(team=team, name="etl")
    deployment = Deployment.objects.create(
        team=team, flow=flow, name="nightly", entrypoint="etl.py:etl", directory="/srv/etl", queue=queue
    )
    FlowRun.objects.create(
        team=team, flow=flow, deployment=deployment, queue=queue, name="jumpy-puppy", parameters={"x": 1},
        state_time=NOW, expected_start=NOW, scheduled_for=NOW,
    )  # fmt: skip
    worker = Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=NOW, heartbeat_at=NOW)
    claimed = claims.claim(worker)
    assert claimed is not None
    return claimed


def claimed_again(claim: claims.Claim) -> claims.Claim:
    """Give a claim back, and claim its run again as its deployment is now."""
    assert claim.run.deployment is not None
    claim.run.deployment.save()
    claims.release(claim.run.pk, claim.attempt.number)
    assert claim.attempt.worker is not None
    again = claims.claim(claim.attempt.worker)
    assert again is not None
    return again


def test_runs_see_no_secret_of_the_server() -> None:
    worker = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "ORCHESTRATOR_DATABASE_URL": "postgresql://secret",
        "ORCHESTRATOR_BROKER_URL": "redis://secret",
        "ORCHESTRATOR_SECRET_KEY": "secret",
        "ORCHESTRATOR_API_URL": "http://127.0.0.1:4200",
        "AWS_REGION": "eu-west-1",
        "OTHER": "x",
    }
    seen = run_environment(worker)
    assert {name for name in seen if name != "ORCHESTRATOR_HOME"} == {"PATH", "LC_ALL", "ORCHESTRATOR_API_URL"}
    more = run_environment({**worker, "ORCHESTRATOR_RUN_ENV": "AWS_*, ORCHESTRATOR_*"})
    assert "AWS_REGION" in more
    assert not [value for value in more.values() if "secret" in value]


def test_only_runs_of_one_team_share_a_kept_process(claim: claims.Claim, django_assert_num_queries: object) -> None:
    assert start_message(claim).keep == ""
    deployment = claim.run.deployment
    assert deployment is not None
    deployment.infrastructure = infrastructure_named(claim.run.team, "in-worker")
    again = claimed_again(claim)
    with django_assert_num_queries(0):  # type: ignore[operator]  # the block came with the claim
        assert start_message(again).keep == str(claim.run.team_id)


def test_the_deployments_task_runner_goes_with_the_run(claim: claims.Claim) -> None:
    assert start_message(claim).task_runner == ""
    assert claim.run.deployment is not None
    claim.run.deployment.task_runner = "processes:2"
    assert start_message(claimed_again(claim)).task_runner == "processes:2"


def test_what_was_claimed_is_executed_whatever_the_deployment_and_its_block_say_later(claim: claims.Claim) -> None:
    deployment = claim.run.deployment
    assert deployment is not None
    team = claim.run.team
    block = block_actions.create_block(team, type="docker", name="prod", values={"image": "etl:7"})
    deployment.infrastructure, deployment.source = block, {"kind": "image"}
    deployment.save()
    claim = claimed_again(claim)
    block_actions.update_block(block, values={"image": "etl:8"})
    other = block_actions.create_block(team, type="process", name="small", values={"memory_mb": 512})
    Deployment.objects.filter(pk=deployment.pk).update(
        infrastructure=other, entrypoint="new.py:etl", directory="/srv/new", source={}, task_runner="processes"
    )
    start = start_message(claims.Claim(FlowRun.objects.get(pk=claim.run.pk), Attempt.objects.get(pk=claim.attempt.pk)))
    assert (start.entrypoint, start.directory, start.source) == ("/srv/etl/etl.py:etl", "/srv/etl", {"kind": "image"})
    assert start.task_runner == ""
    assert start.infrastructure is not None
    assert (start.infrastructure.kind, start.infrastructure.settings) == ("docker", {"image": "etl:7"})


def test_what_was_claimed_without_a_block_is_executed_without(claim: claims.Claim) -> None:
    assert claim.run.deployment is not None
    block = block_actions.create_block(claim.run.team, type="process", name="small", values={"memory_mb": 512})
    Deployment.objects.filter(pk=claim.run.deployment.pk).update(infrastructure=block)
    start = start_message(claims.Claim(FlowRun.objects.get(pk=claim.run.pk), Attempt.objects.get(pk=claim.attempt.pk)))
    assert start.infrastructure is None


def test_the_host_is_told_what_the_claim_holds(claim: claims.Claim, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        start = start_message(claim)
    assert (start.run, start.attempt, start.journal) == (str(claim.run.pk), 1, str(claim.attempt.journal))
    assert (start.entrypoint, start.directory) == ("/srv/etl/etl.py:etl", "/srv/etl")
    assert (start.flow, start.name, start.deployment) == ("etl", "jumpy-puppy", "etl/nightly")
    assert start.parameters == {"x": 1}
    assert start.scheduled_for == NOW.isoformat()


def test_paths_are_made_absolute_and_modules_are_left() -> None:
    assert absolute_entrypoint("/a/b.py:f", "/srv") == "/a/b.py:f"
    assert absolute_entrypoint("b.py:f", "/srv") == "/srv/b.py:f"
    assert absolute_entrypoint("package.module:f", "/srv") == "package.module:f"


def test_a_token_is_good_while_its_attempt_is_the_current_one_and_a_day_more_for_facts(claim: claims.Claim) -> None:
    token = run_token(claim.attempt)
    assert attempt_of(token) == claim.attempt
    assert attempt_of(token + "x") is None
    assert attempt_of("orun_nonsense") is None
    FlowRun.objects.filter(pk=claim.run.pk).update(state_type=StateType.COMPLETED)
    assert attempt_of(token) is None
    assert attempt_of(token, for_facts=True) == claim.attempt
    claim.attempt.end_time = timezone.now() - timedelta(days=1, seconds=1)
    claim.attempt.save()
    assert attempt_of(token, for_facts=True) is None


def test_a_token_of_a_superseded_attempt_is_not_good(claim: claims.Claim) -> None:
    token = run_token(claim.attempt)
    FlowRun.objects.filter(pk=claim.run.pk).update(attempt=2)
    assert attempt_of(token) is None
