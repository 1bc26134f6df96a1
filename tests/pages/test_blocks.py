"""The pages of blocks: typed forms that lose nothing but secrets, and deployments chosen many at once."""

import pytest
from django.test import Client

from flows import block_actions
from flows.models import Block, Deployment, Flow, WorkQueue
from runs.models import FlowRun
from teams.actions import create_user
from teams.models import Team, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader() -> Client:
    client = Client()
    client.force_login(User.first_admin())
    return client


@pytest.fixture
def team() -> Team:
    return Team.default()


def deployments(team: Team, *names: str) -> list[Deployment]:
    flow = Flow.objects.create(team=team, name="etl")
    queue = WorkQueue.default(team)
    return [
        Deployment.objects.create(team=team, flow=flow, name=name, entrypoint="etl.py:etl", queue=queue)
        for name in names
    ]


def test_a_block_is_made_edited_used_and_deleted(reader: Client, team: Team) -> None:
    first, second = deployments(team, "nightly", "hourly")
    assert "No blocks yet" in reader.get("/blocks/").content.decode()
    assert "In the worker" in reader.get("/blocks/new/").content.decode()
    form = {"name": "small", "values.memory_mb": "512", "values.environment": "A=1\nB=x=y", "open": "memory_mb"}
    answer = reader.post("/blocks/new/?type=process", form)
    block = Block.objects.get()
    assert answer.headers["Location"] == f"/blocks/{block.pk}/"
    assert block.values == {"memory_mb": 512, "environment": {"A": "1", "B": "x=y"}}
    assert block.opened == ["memory_mb"]

    shown = reader.get(f"/blocks/{block.pk}/").content.decode()
    assert "512" in shown
    assert "B=x=y" in shown
    assert "etl / nightly" in shown
    reader.post(f"/blocks/{block.pk}/use/", {"deployment": [first.pk, second.pk]})
    assert set(Deployment.objects.values_list("infrastructure", flat=True)) == {block.pk}
    assert "2 deployments" in reader.get("/blocks/").content.decode()

    edited = reader.get(f"/blocks/{block.pk}/edit/").content.decode()
    assert 'value="512"' in edited
    reader.post(f"/blocks/{block.pk}/edit/", {**form, "values.memory_mb": "", "values.cpu_seconds": "60"})
    block.refresh_from_db()
    assert block.values == {"cpu_seconds": 60, "environment": {"A": "1", "B": "x=y"}}

    assert "cannot be deleted" in reader.get(f"/blocks/{block.pk}/delete/").content.decode()
    reader.post(f"/blocks/{block.pk}/delete/")
    assert Block.objects.exists()
    Deployment.objects.update(infrastructure=None)
    reader.post(f"/blocks/{block.pk}/delete/")
    assert not Block.objects.exists()


def test_what_was_typed_stays_beside_what_is_wrong_with_it(reader: Client) -> None:
    form = {"name": "a/b", "values.memory_mb": "lots", "values.environment": "novalue"}
    answer = reader.post("/blocks/new/?type=process", form)
    text = answer.content.decode()
    assert answer.status_code == 422
    for typed in ("a/b", "lots", "novalue"):
        assert typed in text
    assert text.count('role="alert"') == 2  # the values are read before the verb looks at the name


def test_a_secret_is_never_shown_and_kept_when_it_is_left_empty(reader: Client) -> None:
    form = {"name": "ghcr", "values.registry": "ghcr.io", "values.username": "me", "values.password": "very-secret"}
    reader.post("/blocks/new/?type=registry-credentials", form)
    block = Block.objects.get()
    for page in ("", "edit/"):
        assert "very-secret" not in reader.get(f"/blocks/{block.pk}/{page}").content.decode()
    wrong = reader.post("/blocks/new/?type=registry-credentials", {**form, "name": ""})
    assert wrong.status_code == 422
    assert "very-secret" not in wrong.content.decode()
    reader.post(f"/blocks/{block.pk}/edit/", {**form, "values.password": "", "values.username": "you"})
    block.refresh_from_db()
    assert block.secrets is not None
    assert block.secrets.reveal() == {"password": "very-secret"}
    assert block.values["username"] == "you"


def test_a_deployments_form_offers_what_its_block_opens(reader: Client, team: Team) -> None:
    (one,) = deployments(team, "nightly")
    block = block_actions.create_block(team, type="process", name="small", values={"memory_mb": 512})
    address = f"/deployments/{one.pk}/edit/"
    assert "override.memory_mb" not in reader.get(address).content.decode()
    form = {"queue": "default", "infrastructure": "small", "crash_retries": "0"}
    reader.post(address, form)
    one.refresh_from_db()
    assert one.infrastructure == block
    assert "override.memory_mb" in reader.get(address).content.decode()
    wrong = reader.post(address, {**form, "override.memory_mb": "1"})
    assert (wrong.status_code, "128" in wrong.content.decode()) == (422, True)
    reader.post(address, {**form, "override.memory_mb": "300"})
    one.refresh_from_db()
    assert one.infrastructure_overrides == {"memory_mb": 300}
    shown = reader.get(f"/deployments/{one.pk}/").content.decode()
    assert "memory_mb=300" in shown
    reader.post(address, form)
    one.refresh_from_db()
    assert one.infrastructure_overrides == {}


def test_the_manifest_of_a_kubernetes_block_is_shown_on_its_page(reader: Client, team: Team) -> None:
    block = block_actions.create_block(team, type="kubernetes", name="jobs", values={"image": "etl:7"})
    page = reader.get(f"/blocks/{block.id}/").content.decode()
    assert "What a worker asks for" in page
    assert "image: etl:7" in page
    small = block_actions.create_block(team, type="process", name="small", values={})
    assert "What a worker asks for" not in reader.get(f"/blocks/{small.id}/").content.decode()


def test_a_run_may_override_what_the_block_opens(reader: Client, team: Team) -> None:
    (one,) = deployments(team, "nightly")
    one.infrastructure = block_actions.create_block(team, type="process", name="small", values={"memory_mb": 512})
    one.save()
    address = f"/deployments/{one.pk}/run/"
    assert 'placeholder="512"' in reader.get(address).content.decode()
    refused = reader.post(address, {"override.memory_mb": "1"})
    assert (refused.status_code, FlowRun.objects.count()) == (422, 0)
    reader.post(address, {"override.memory_mb": "300", "override.user": "root"})
    run = FlowRun.objects.get()
    assert run.infrastructure_overrides == {"memory_mb": 300}
    assert 'value="300"' in reader.get(f"{address}?from={run.pk}").content.decode()


def test_an_operator_is_asked_for_how_much_alone(reader: Client, team: Team) -> None:
    (one,) = deployments(team, "nightly")
    one.infrastructure = block_actions.create_block(
        team, type="docker", name="prod", values={"image": "etl:7"}, opened=["image", "memory_mb"]
    )
    one.save()
    address = f"/deployments/{one.pk}/run/"
    assert 'name="override.image"' in reader.get(address).content.decode()
    reader.force_login(create_user("op", team=team, role="operator"))
    form = reader.get(address).content.decode()
    assert 'name="override.memory_mb"' in form
    assert 'name="override.image"' not in form
    reader.post(address, {"override.memory_mb": "300", "override.image": "evil:1"})
    assert FlowRun.objects.get().infrastructure_overrides == {"memory_mb": 300}


def test_credentials_are_refused_as_a_place_to_execute(reader: Client, team: Team) -> None:
    (one,) = deployments(team, "nightly")
    values = {"host": "git.example.com", "token": "t"}
    block = block_actions.create_block(team, type="git-credentials", name="forge", values=values)
    page = reader.post(f"/blocks/{block.pk}/use/", {"deployment": [one.pk]}, follow=True)
    assert "nothing executes there" in page.content.decode()
    one.refresh_from_db()
    assert one.infrastructure is None
