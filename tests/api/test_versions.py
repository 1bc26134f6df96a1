"""Versions of a deployment: each deploy that changes something makes one; two are compared; one is gone back to."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from flows import version_actions
from flows.models import Deployment
from flows.snapshot_actions import forget_unused
from flows.snapshots import Snapshot
from flows.versions import DeploymentVersion
from runs.claims import code_of
from teams import actions
from teams.models import ApiToken, AuditEntry, Role, Team, User
from teams.shares import share_with
from tests.api.test_snapshots import client_for, post
from tests.snapshots.making import made

pytestmark = pytest.mark.django_db

FIRST = made({"etl.py": "a\nb\nc\n", "gone.py": "x\n", "logo.png": b"\x89PNG\xff\x00"})
SECOND = made({"etl.py": "a\nB\nc\n", "new.py": "y\n", "logo.png": b"\x89PNG\xff\x01"})


@pytest.fixture
def client() -> Client:
    return client_for(Team.objects.create(name="owners"))


def deploy(client: Client, snapshot: Any = FIRST, **fields: Any) -> dict[str, Any]:
    post(
        client,
        snapshot,
        None,
        201 if client.get(f"/api/snapshots/{snapshot.manifest.hash}/").status_code == 404 else 200,
    )
    source = {"kind": "snapshot", "hash": snapshot.manifest.hash}
    said = {"flow": "etl", "name": "nightly", "entrypoint": "etl.py:etl", "source": source, **fields}
    response = client.post("/api/deployments/", said, content_type="application/json")
    assert response.status_code in (200, 201), response.content
    return response.json()


def call(client: Client, deployment: dict[str, Any], verb: str, body: Any = None, code: int = 200) -> Any:
    address = f"/api/deployments/{deployment['id']}/{verb}"
    response = client.get(address) if body is None else client.post(address, body, content_type="application/json")
    assert response.status_code == code, response.content
    return response.json()


def test_a_deploy_that_changes_something_makes_a_version(client: Client) -> None:
    deployment = deploy(client)
    deploy(client)  # changes nothing
    deploy(client, SECOND)
    deploy(client, SECOND, tags=["x"])
    versions = call(client, deployment, "versions/")
    assert [version["number"] for version in versions] == [3, 2, 1]
    assert [version["is_current"] for version in versions] == [True, False, False]
    assert versions[2]["source"]["hash"] == FIRST.manifest.hash
    assert versions[0]["created_by"] == "editor-of-owners"
    assert versions[0]["settings"]["tags"] == ["x"]
    assert code_of(Deployment.objects.get()) == {"kind": "snapshot", "hash": SECOND.manifest.hash, "version": 3}


def test_a_deployment_from_before_there_were_versions_can_go_back_to_what_it_was(client: Client) -> None:
    deployment = deploy(client, source={"kind": "path"}, entrypoint="/srv/etl.py:etl", directory="/srv")
    DeploymentVersion.objects.all().delete()
    Deployment.objects.update(code_version=0)
    deploy(client)
    assert [version["source"]["kind"] for version in call(client, deployment, "versions/")] == ["snapshot", "path"]
    call(client, deployment, "rollback/", {"to": 1})
    row = Deployment.objects.get()
    assert (row.source, row.entrypoint, row.directory) == ({}, "/srv/etl.py:etl", "/srv")


def test_two_are_compared_line_by_line(client: Client) -> None:
    deployment = deploy(client)
    deploy(client, SECOND, description="new")
    found = call(client, deployment, "diff/")
    assert (found["before"], found["after"]) == (1, 2)
    assert set(found["settings"]) == {"source", "description"}
    files = {file["path"]: file for file in found["files"]}
    assert files["etl.py"]["text"].splitlines()[2:] == ["@@ -1,3 +1,3 @@", " a", "-b", "+B", " c"]
    assert (files["gone.py"]["change"], files["new.py"]["change"]) == ("removed", "added")
    assert files["new.py"]["text"].startswith("--- /dev/null\n+++ b/new.py")
    assert (files["logo.png"]["text"], files["logo.png"]["why"]) == ("", "binary")
    back = call(client, deployment, "diff/?before=2&after=1")
    assert {file["path"]: file["change"] for file in back["files"]}["new.py"] == "removed"
    assert "no version 9" in call(client, deployment, "diff/?after=9", code=400)["message"]
    assert "no version's number" in call(client, deployment, "diff/?after=-1", code=400)["message"]


def test_code_is_compared_for_who_may_fetch_it(client: Client) -> None:
    """A share lets somebody run it, and so does a token for one deployment; both see which settings differ."""
    deployment = deploy(client)
    deploy(client, SECOND, description="new")
    row, editor = Deployment.objects.get(), User.objects.get(username="editor-of-owners")
    guest = actions.create_user("guest", team=Team.objects.create(name="guests"), role=Role.EDITOR, password=None)
    share_with(row, guest, "edit")
    tokens = [
        actions.create_token("one", editor, user=editor, deployment=row)[1],
        ApiToken.issue(name="t", user=guest, team=guest.memberships.get().team)[1],
    ]
    for token in tokens:
        found = call(Client(headers={"Authorization": f"Bearer {token}"}), deployment, "diff/")
        assert set(found["settings"]) == {"source", "description"}
        assert found["files"] == []
        assert "code is for members" in found["unread"]
    page = Client()
    page.force_login(guest)
    shown = page.get(f"/deployments/{row.pk}/versions/2/").content.decode()
    assert "code is for members" in shown
    assert "new.py" not in shown
    page.force_login(editor)
    assert "new.py" in page.get(f"/deployments/{row.pk}/versions/2/").content.decode()


def test_large_and_unlike_sources_are_said(client: Client) -> None:
    deployment = deploy(client, made({"data.txt": "1\n" * 200_000}))
    deploy(client, made({"data.txt": "2\n" * 200_000}))
    (file,) = call(client, deployment, "diff/")["files"]
    assert file["why"] == "large"
    deploy(client, source={"kind": "path"})
    assert "only files of snapshots" in call(client, deployment, "diff/")["unread"]


def test_a_rollback_brings_back_code_and_parameters_and_nothing_else(client: Client) -> None:
    schema = {"type": "object", "properties": {"limit": {"type": "integer"}}, "additionalProperties": False}
    other = {"type": "object", "properties": {"day": {"type": "string"}}, "additionalProperties": False}
    deployment = deploy(client, parameter_schema=schema, parameters={"limit": 1}, tags=["old"])
    deploy(client, SECOND, parameter_schema=other, parameters={"day": "x"}, tags=["new"], entrypoint="new.py:etl")
    made_now = call(client, deployment, "rollback/", {"to": 1})
    assert (made_now["number"], made_now["rolled_back_to"]) == (3, 1)
    row = Deployment.objects.get()
    assert (row.source["hash"], row.entrypoint) == (FIRST.manifest.hash, "etl.py:etl")
    assert (row.parameters, row.parameter_schema, row.tags) == ({"limit": 1}, schema, ["new"])
    assert call(client, deployment, "diff/?before=1&after=3")["files"] == []
    assert AuditEntry.objects.filter(verb="deployment.roll_back").count() == 1
    assert "are as in version 1" in call(client, deployment, "rollback/", {"to": 1}, 400)["message"]

    # What was deployed last comes back with the next deploy, whole.
    deploy(client, SECOND, parameter_schema=other, parameters={"day": "x"}, tags=["new"], entrypoint="new.py:etl")
    row.refresh_from_db()
    assert (row.source["hash"], row.entrypoint, row.parameters) == (SECOND.manifest.hash, "new.py:etl", {"day": "x"})


def test_going_back_takes_an_editor_and_a_version_that_is_there(client: Client) -> None:
    deployment = deploy(client)
    deploy(client, SECOND)
    team = Team.objects.get(name="owners")
    operator = client_for(team, "operator")
    call(operator, deployment, "rollback/", {"to": 1}, 403)
    assert len(call(operator, deployment, "versions/")) == 2
    assert "It has 1 to 2" in call(client, deployment, "rollback/", {"to": 7}, 400)["message"]
    call(client_for(Team.objects.create(name="others")), deployment, "versions/", code=404)


def test_the_last_hundred_are_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_actions, "KEPT", 3)
    deployment = deploy(client)
    for number in range(5):
        deploy(client, tags=[str(number)])
    assert [version["number"] for version in call(client, deployment, "versions/")] == [6, 5, 4]


def test_what_a_version_needs_is_not_forgotten(client: Client) -> None:
    deployment = deploy(client)
    deploy(client, SECOND)
    Snapshot.objects.update(used_at=timezone.now() - timedelta(days=99))
    assert forget_unused() == 0
    DeploymentVersion.objects.filter(number=1).delete()
    assert forget_unused() == 1
    assert call(client, deployment, "versions/")[0]["source"]["hash"] == Snapshot.objects.get().hash
