"""The pages of a deployment's versions."""

import pytest
from django.test import Client
from django.urls import reverse

from flows.declarations import Declaration, deploy
from flows.models import Deployment
from flows.snapshot_actions import take_in
from orchestrator.sdk.snapshots.pack import deflated
from teams import actions
from teams.models import Role, Team
from tests.snapshots.making import made

pytestmark = pytest.mark.django_db


def deployed(team: Team, text: str) -> Deployment:
    snapshot = made({"etl.py": text})
    pieces = [(digest, piece, deflated(piece)) for digest, piece in snapshot.pieces.items()]
    take_in(team, snapshot.manifest, pieces, most_bytes=1000, user=None)
    source = {"kind": "snapshot", "hash": snapshot.manifest.hash}
    said = Declaration(flow_name="etl", name="nightly", entrypoint="etl.py:etl", source=source)
    return deploy(team=team, user=None, declaration=said)[0]


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="owners")


def client_for(team: Team, role: str) -> Client:
    client = Client()
    client.force_login(actions.create_user(role, team=team, role=Role(role), password=None))
    return client


def test_a_version_shows_what_it_changed_and_is_gone_back_to(team: Team) -> None:
    deployed(team, "first <b>\n")
    deployment = deployed(team, "second <b>\n")
    client = client_for(team, "editor")
    page = client.get(reverse("deployment-versions", args=[deployment.pk])).content.decode()
    assert page.count("<li>") >= 2
    assert "current" in page
    page = client.get(reverse("deployment-version", args=[deployment.pk, 2])).content.decode()
    assert '<span class="removed">-first &lt;b&gt;</span><span class="added">+second &lt;b&gt;</span>' in page
    assert "Go back" not in page
    older = reverse("deployment-version", args=[deployment.pk, 1])
    assert "Go back to version 1" in client.get(older).content.decode()
    assert "-second" in client.get(f"{older}?before=2").content.decode()
    assert client.get(reverse("deployment-version", args=[deployment.pk, 9])).status_code == 404
    assert client.get(f"{older}?before=x").status_code == 200

    answer = client.post(reverse("deployment-roll-back", args=[deployment.pk, 1]), follow=True)
    assert "That is version 3 now" in answer.content.decode()
    again = client.post(reverse("deployment-roll-back", args=[deployment.pk, 1]), follow=True)
    assert "are as in version 1" in again.content.decode()
    about = client.get(reverse("deployment", args=[deployment.pk])).content.decode()
    assert "version 3" in about


def test_who_may_not_edit_is_shown_no_way_back(team: Team) -> None:
    deployed(team, "1")
    deployment = deployed(team, "2")
    viewer = client_for(team, "viewer")
    page = viewer.get(reverse("deployment-version", args=[deployment.pk, 1])).content.decode()
    assert "Go back" not in page
    assert viewer.post(reverse("deployment-roll-back", args=[deployment.pk, 1])).status_code == 403
