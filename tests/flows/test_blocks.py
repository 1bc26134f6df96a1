"""Blocks: who may make them, what they hold, which deployments execute there, and what a worker is told in the end."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from flows import block_actions
from flows.block_types import block_types
from flows.infrastructure import infrastructure_named, placement_again, placement_of, preview_of, record_of
from flows.models import Block, Deployment, Flow, WorkQueue
from orchestrator.encryption import Secret
from runs import actions
from runs.models import FlowRun, Trigger
from teams.actions import create_user
from teams.models import AuditEntry, Team, User
from teams.rights import Refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return Team.default()


@pytest.fixture
def deployment(team: Team) -> Deployment:
    flow = Flow.objects.create(team=team, name="etl")
    return Deployment.objects.create(
        team=team, flow=flow, name="nightly", entrypoint="etl.py:etl", queue=WorkQueue.default(team)
    )


@pytest.fixture
def small(team: Team) -> Block:
    values = {"memory_mb": 512, "environment": {"TZ": "UTC"}}
    return block_actions.create_block(team, type="process", name="small", values=values)


def wrong(**values: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as raised:
        block_actions.create_block(Team.default(), **{"type": "process", "name": "x", **values})
    return dict(raised.value.message_dict)


def test_every_type_has_a_form_and_a_schema() -> None:
    for kind in block_types().values():
        assert kind.label
        assert kind.summary
        assert set(kind.schema["properties"]) == {field.name for field in kind.fields}
        assert all(field.title and field.help for field in kind.fields), kind.name
        assert not any(field.secret for field in kind.fields if kind.is_infrastructure and field.opened)


def test_what_is_as_by_default_is_not_stored(team: Team) -> None:
    made = block_actions.create_block(team, type="process", name="x", values={"memory_mb": None, "user": ""})
    assert made.values == {}
    assert made.opened == ["memory_mb", "cpu_seconds"]


def test_what_is_wrong_is_said_by_field(small: Block) -> None:
    assert list(wrong(type="moon")) == ["type"]
    assert list(wrong(name="a/b")) == ["name"]
    assert list(wrong(name="in_worker")) == ["name"]
    assert list(wrong(name="SMALL".lower())) == ["name"]
    assert set(wrong(values={"memory_mb": 1, "open_files": "many", "colour": 1})) == {
        "values.memory_mb", "values.open_files", "values.colour",
    }  # fmt: skip
    assert list(wrong(values={"environment": {"ORCHESTRATOR_API_TOKEN": "x"}})) == ["values.environment"]
    assert list(wrong(values={"python": "python3"})) == ["values.python"]
    assert list(wrong(values={"user": "-x"})) == ["values.user"]
    assert list(wrong(opened=["nothing"])) == ["opened"]
    assert list(wrong(type="git-credentials", values={"host": "h"})) == ["values.token"]


def test_secrets_are_encrypted_kept_and_replaced(team: Team) -> None:
    root = create_user("root", team=team, is_admin=True)
    values = {"registry": "registry.example.com", "username": "me", "password": "first-secret"}
    block = block_actions.create_block(team, type="registry-credentials", name="r", values=values, user=root)
    assert "password" not in block.values
    assert isinstance(block.secrets, Secret)
    assert "first-secret" not in block.secrets.stored
    before = block.secrets
    block = block_actions.update_block(block, values={"username": "you"}, user=root)
    assert (block.secrets, block.values["username"]) == (before, "you")
    block = block_actions.update_block(block, values={"password": "second-secret"}, user=root)
    assert block.secrets is not None
    assert block.secrets.reveal() == {"password": "second-secret"}
    assert block.version == 3
    with pytest.raises(ValidationError, match="needed"):
        block_actions.update_block(block, values={"password": None}, user=root)
    assert "secret" not in str(list(AuditEntry.objects.filter(subject_type="block").values_list("changes"))).replace(
        "secrets", ""
    )


def test_administrators_make_blocks_and_editors_choose_them(team: Team, deployment: Deployment, small: Block) -> None:
    admin, editor = create_user("boss", team=team, role="admin"), create_user("ed", team=team, role="editor")
    with pytest.raises(Refused):
        block_actions.create_block(team, type="process", name="mine", user=editor)
    with pytest.raises(Refused):
        block_actions.update_block(small, values={"user": "root"}, user=editor)
    block_actions.update_block(small, values={"memory_mb": 300}, user=admin)
    actions.update_deployment(deployment, infrastructure="small", user=editor)
    operator = create_user("op", team=team, role="operator")
    with pytest.raises(Refused):
        actions.update_deployment(deployment, infrastructure="process", user=operator)


def test_a_block_of_another_team_cannot_be_chosen(deployment: Deployment) -> None:
    other = Team.objects.create(name="others")
    theirs = block_actions.create_block(other, type="process", name="theirs")
    for name in ("theirs", theirs):
        with pytest.raises(ValidationError):
            actions.update_deployment(deployment, infrastructure=name)


def test_credentials_are_no_place_to_execute(team: Team, deployment: Deployment) -> None:
    values = {"host": "git.example.com", "token": "t"}
    block_actions.create_block(team, type="git-credentials", name="g", values=values)
    block = Block.objects.get(name="g")
    for named in ("g", block):
        with pytest.raises(ValidationError, match="nothing executes there"):
            actions.update_deployment(deployment, infrastructure=named)
    deployment.infrastructure = block  # as it may stand in the database
    placement = placement_of(deployment)
    assert placement is not None
    assert (placement.settings, placement.credentials) == ({}, {})
    assert "nothing executes there" in placement.problem


def test_what_chooses_code_or_power_is_overridden_for_a_run_by_editors_alone(
    team: Team, deployment: Deployment
) -> None:
    block = block_actions.create_block(
        team, type="docker", name="prod", values={"image": "etl:7"}, opened=["image", "environment", "memory_mb"]
    )
    deployment = actions.update_deployment(deployment, infrastructure=block)
    operator, editor = (create_user(name, team=team, role=name) for name in ("operator", "editor"))

    def started(user: User, **overrides: Any) -> FlowRun:
        return actions.create_flow_run(deployment, trigger=Trigger.API, user=user, infrastructure_overrides=overrides)[
            0
        ]

    for overrides in ({"image": "evil:1"}, {"environment": {"PYTHONSTARTUP": "x"}, "memory_mb": 300}):
        with pytest.raises(Refused, match="editor"):
            started(operator, **overrides)
    assert started(operator, memory_mb=300).infrastructure_overrides == {"memory_mb": 300}
    assert started(editor, image="etl:8").infrastructure_overrides == {"image": "etl:8"}


def test_no_new_block_opens_what_chooses_code_or_power() -> None:
    by_itself = {field.name for kind in block_types().values() for field in kind.fields if field.opened}
    assert by_itself == {
        "memory_mb", "cpu_seconds", "cpus", "pull_policy", "cpu_request", "cpu_limit", "memory_request", "memory_limit",
        "start_timeout_seconds",
    }  # fmt: skip


def test_a_block_that_is_used_is_not_deleted(deployment: Deployment, small: Block) -> None:
    actions.update_deployment(deployment, infrastructure="small")
    with pytest.raises(ValidationError, match="used by etl/nightly"):
        block_actions.delete_block(small)
    actions.update_deployment(deployment, infrastructure="process")
    block_actions.delete_block(small)
    assert not Block.objects.exists()


def test_changing_a_block_moves_the_next_runs(deployment: Deployment, small: Block) -> None:
    deployment = actions.update_deployment(deployment, infrastructure="small")
    before = placement_of(deployment)
    assert before is not None
    assert (before.kind, before.block) == ("process", "small")
    assert before.settings == {"memory_mb": 512, "environment": {"TZ": "UTC"}}
    block_actions.update_block(small, values={"memory_mb": 1024, "environment": None})
    deployment.refresh_from_db()
    after = placement_of(deployment)
    assert after is not None
    assert after.settings == {"memory_mb": 1024}
    assert record_of(deployment) == {
        "block": "small", "type": "process", "version": 2, "values": {"memory_mb": 1024},
    }  # fmt: skip


def test_only_what_a_block_opens_is_overridden(deployment: Deployment, small: Block) -> None:
    deployment = actions.update_deployment(
        deployment, infrastructure="small", infrastructure_overrides={"memory_mb": 256}
    )
    run, _ = actions.create_flow_run(
        deployment, trigger=Trigger.API, infrastructure_overrides={"cpu_seconds": 9, "memory_mb": 300}
    )
    placement = placement_of(deployment, run.infrastructure_overrides)
    assert placement is not None
    assert placement.settings == {"memory_mb": 300, "cpu_seconds": 9, "environment": {"TZ": "UTC"}}
    for overrides in ({"user": "root"}, {"memory_mb": 1}, {"colour": 1}, ["memory_mb"]):
        with pytest.raises(ValidationError):
            actions.create_flow_run(deployment, trigger=Trigger.API, infrastructure_overrides=overrides)  # type: ignore[arg-type]
        with pytest.raises(ValidationError):
            actions.update_deployment(deployment, infrastructure_overrides=overrides)
    assert actions.update_deployment(deployment, infrastructure_overrides=None).infrastructure_overrides == {}
    again = actions.rerun_flow_run(run)
    assert again.infrastructure_overrides == {"cpu_seconds": 9, "memory_mb": 300}


def test_what_a_block_closes_counts_no_more(deployment: Deployment, small: Block) -> None:
    deployment = actions.update_deployment(
        deployment, infrastructure="small", infrastructure_overrides={"memory_mb": 256}
    )
    block_actions.update_block(small, opened=[])
    deployment.refresh_from_db()
    placement = placement_of(deployment, {"cpu_seconds": 9})
    assert placement is not None
    assert placement.settings["memory_mb"] == 512
    assert "cpu_seconds" not in placement.settings


def test_another_block_drops_what_it_does_not_open(team: Team, deployment: Deployment, small: Block) -> None:
    block_actions.create_block(team, type="process", name="big", opened=["cpu_seconds"])
    actions.update_deployment(
        deployment, infrastructure="small", infrastructure_overrides={"memory_mb": 256, "cpu_seconds": 1}
    )
    changed = actions.update_deployment(deployment, infrastructure="big")
    assert changed.infrastructure_overrides == {"cpu_seconds": 1}
    assert actions.update_deployment(deployment, infrastructure="process").infrastructure_overrides == {}


def test_the_block_in_worker_is_made_when_it_is_chosen(team: Team, deployment: Deployment) -> None:
    block = infrastructure_named(team, "in_worker")
    assert block is not None
    assert (block.type, block.name) == ("in-worker", "in-worker")
    assert infrastructure_named(team, "in-worker") == block
    assert infrastructure_named(team, "process") is None
    assert infrastructure_named(team, "") is None


def test_an_attempt_that_goes_on_does_so_where_it_began(deployment: Deployment, small: Block) -> None:
    deployment = actions.update_deployment(deployment, infrastructure="small")
    record = record_of(deployment)
    assert record is not None
    block_actions.update_block(small, values={"memory_mb": 1024})
    again = placement_again(deployment.team_id, record)
    assert (again.kind, again.block, again.settings["memory_mb"]) == ("process", "small", 512)


def test_a_secret_that_cannot_be_read_is_said_to_the_worker(
    deployment: Deployment, small: Block, settings: Any
) -> None:
    deployment = actions.update_deployment(deployment, infrastructure="small")
    Block.objects.filter(pk=small.pk).update(secrets=Secret("written by another key"))
    deployment.refresh_from_db()
    placement = placement_of(deployment)
    assert placement is not None
    assert "stored under another secret key" in placement.problem


def test_a_preview_counts_what_a_deployment_overrides_and_names_what_is_wrong(
    team: Team, deployment: Deployment, small: Block
) -> None:
    jobs = block_actions.create_block(team, type="kubernetes", name="jobs", values={"image": "etl:7"})
    with pytest.raises(ValidationError, match="does not execute in the block"):
        preview_of(jobs, deployment, "run", "http://server:4200")
    deployment.infrastructure, deployment.infrastructure_overrides = jobs, {"memory_limit": "2Gi"}
    shown = preview_of(jobs, deployment, "run", "http://server:4200")
    assert shown is not None
    (container,) = shown["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"memory": "2Gi"}}
    assert preview_of(small, None, "run", "http://server:4200") is None
    jobs.values = {}
    with pytest.raises(ValidationError, match="There is no image"):
        preview_of(jobs, None, "run", "http://server:4200")
