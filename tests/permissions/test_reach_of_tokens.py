"""What a token for one deployment, a share or a viewer's role does not reach by way of something else."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Deployment, WorkQueue
from notifications.events import Event
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.models import ConcurrencyLimit, FlowRun, Slot
from teams import actions, members, shares
from teams.actions import create_user
from teams.models import ApiToken, AuditEntry, Team, User
from tests.notifications.making import Make


@pytest.fixture
def team(db: None) -> Team:
    return members.create_team("owners")


@pytest.fixture
def make(team: Team) -> Make:
    return Make(team)


def client_of(user: User, **limits: Any) -> APIClient:
    """A client with a token of this person's; `deployment` or `scope` limit it."""
    made = actions.create_token("t", user, user=user, **limits)[1]
    return APIClient(headers={"Authorization": f"Bearer {made}"})


def test_a_token_for_one_deployment_previews_nothing_of_another(make: Make, team: Team) -> None:
    ours, other = make.deployment("ours"), make.deployment("other", flow=make.flow("payroll"))
    make.run(StateType.FAILED, deployment=other, message="salaries")
    editor = create_user("ed", team=team, role="editor")
    body = {"events": [Event.FAILED.value], "message": "{{ state.message }}"}
    shown = client_of(editor).post("/api/notification-policies/preview/", body, "json")
    assert "salaries" in shown.content.decode()
    answer = client_of(editor, deployment=ours).post("/api/notification-policies/preview/", body, "json")
    assert answer.status_code == 403
    assert client_of(editor, deployment=ours).get("/api/slots/tags/").status_code == 403


@pytest.fixture
def held(make: Make, team: Team) -> Slot:
    """A slot that a running task run holds."""
    run = make.run(StateType.RUNNING, deployment=make.deployment())
    limit = ConcurrencyLimit.objects.create(team=team, tag="db", limit=1)
    now = timezone.now()
    return Slot.objects.create(
        limit=limit, flow_run=run, attempt=1, task_run=uuid7(), task_name="load", asked_at=now, granted_at=now
    )


def test_who_only_sees_a_run_neither_frees_nor_takes_its_slots(held: Slot, team: Team) -> None:
    viewer, operator = (create_user(role, team=team, role=role) for role in ("viewer", "operator"))
    guest = create_user("guest", team=members.create_team("others"), role="operator")
    shares.share_with(held.flow_run.deployment, guest, "read")
    asked = {"run": str(held.flow_run_id), "attempt": 1, "task_run": str(uuid7()), "tags": ["db"]}
    for person in (viewer, guest):
        api = client_of(person)
        assert api.delete(f"/api/slots/{held.task_run}/").status_code == 403
        assert api.post("/api/slots/", asked, "json").status_code == 403
    assert Slot.objects.filter(pk=held.pk).exists()
    assert client_of(operator).delete(f"/api/slots/{held.task_run}/").status_code == 204
    assert not Slot.objects.filter(pk=held.pk).exists()


@pytest.mark.parametrize("left", ["removed", "demoted", "deactivated"])
def test_an_invitation_ends_with_the_right_of_who_made_it(team: Team, client: Client, left: str) -> None:
    boss, root = create_user("boss", team=team, role="admin"), create_user("root", is_admin=True)
    code = members.invite(team, "admin", user=boss)[1]
    assert members.open_invitation(code)
    if left == "removed":
        members.remove_member(team, boss, user=root)
    elif left == "demoted":
        members.set_role(team, boss, "editor", user=root)
    else:
        actions.deactivate_user(boss, user=root)
    assert members.open_invitation(code) is None
    assert client.get(f"/invitations/{code}/").status_code == 410


def test_an_invitation_does_not_outlive_the_token_that_made_it(team: Team) -> None:
    boss = create_user("boss", team=team, role="admin")
    until = timezone.now() + timedelta(hours=1)
    secret = actions.create_token("t", boss, user=boss, expires_at=until)[1]
    api = APIClient(headers={"Authorization": f"Bearer {secret}"})
    assert api.post(f"/api/teams/{team.pk}/invitations/", {"role": "viewer"}, "json").status_code == 201
    assert team.invitations.get().expires_at == until


def test_nothing_is_shared_with_an_address_that_anybody_may_have_written_down(make: Make, team: Team) -> None:
    boss, squatter = create_user("boss", team=team, role="admin"), create_user("sam", email="alice@corp.example")
    body = {"deployment": make.deployment().full_name, "user": "alice@corp.example", "level": "edit"}
    with_token = client_of(boss)
    squatter.emailaddress_set.update(verified=False)
    answer = with_token.post("/api/shares/", body, "json")
    assert (answer.status_code, "Write the user name" in answer.json()["message"]) == (400, True)
    squatter.emailaddress_set.update(verified=True)
    assert with_token.post("/api/shares/", body, "json").status_code == 201


def test_nobody_gives_themselves_a_name_like_an_address(team: Team, client: Client) -> None:
    code = members.invite(team, "viewer")[1]
    typed = {"name": "alice@corp.example", "password": "seven-herons-at-dawn"}
    answer = client.post(f"/invitations/{code}/", typed)
    assert (answer.status_code, "Leave @ out" in answer.content.decode()) == (422, True)


def test_who_has_one_deployment_by_a_share_makes_nothing_else_in_the_team(make: Make, team: Team) -> None:
    deployment = make.deployment()
    guest = create_user("guest", team=members.create_team("others"), role="editor")
    shares.share_with(deployment, guest, "edit")
    api, address = client_of(guest), f"/api/deployments/{deployment.pk}/"
    assert api.post(f"{address}duplicate/", {"name": "copy"}, "json").status_code == 403
    assert api.patch(address, {"queue": "theirs"}, "json").status_code == 403
    assert Deployment.objects.filter(team=team).count() == WorkQueue.objects.filter(team=team).count() == 1
    assert api.patch(address, {"description": "mine to change"}, "json").status_code == 200


def test_a_guest_is_not_told_whose_run_holds_the_place(make: Make, team: Team, client: Client) -> None:
    deployment = make.deployment()
    WorkQueue.objects.filter(pk=deployment.queue_id).update(limit=1)
    fields = {"deployment": deployment, "queue": deployment.queue}
    other = make.deployment("other", flow=make.flow("payroll"))
    make.run(StateType.RUNNING, deployment=other, queue=deployment.queue, name="payroll-heron")
    waiting = make.run(StateType.SCHEDULED, state_name="Scheduled", attempt=0, name="tidy-owl", **fields)
    guest, operator = create_user("guest"), create_user("op", team=team, role="operator")
    shares.share_with(deployment, guest, "run")
    for person, told in ((operator, True), (guest, False)):
        assert ("payroll-heron" in client_of(person).get(f"/api/flow-runs/{waiting.pk}/why/").content.decode()) is told
        client.force_login(person)
        assert ("payroll-heron" in client.get(f"/runs/{waiting.pk}/").content.decode()) is told


def test_who_may_not_share_learns_of_nobody(make: Make, team: Team) -> None:
    viewer = create_user("viewer", team=team, role="viewer")
    body = {"deployment": make.deployment().full_name, "level": "read"}
    for name in ("root", "nobody"):
        assert client_of(viewer).post("/api/shares/", {**body, "user": name}, "json").status_code == 403


def test_a_team_that_one_may_not_see_filters_no_people(team: Team) -> None:
    ann = create_user("ann", team=team, role="viewer")
    bob = create_user("bob", team=team)
    members.set_role(members.create_team("hidden"), bob, "viewer")
    api = client_of(ann)
    assert [one["username"] for one in api.get("/api/users/?team=owners").json()["results"]] == ["ann", "bob"]
    assert api.get("/api/users/?team=hidden").json()["results"] == []


def test_a_token_for_one_deployment_revokes_only_such_tokens(make: Make, team: Team) -> None:
    editor = create_user("ed", team=team, role="editor")
    full = actions.create_token("full", editor, user=editor)[0]
    api = client_of(editor, deployment=make.deployment(), scope="run")
    assert [one["name"] for one in api.get("/api/tokens/").json()["results"]] == ["t"]
    assert api.delete(f"/api/tokens/{full.pk}/").status_code == 404
    assert ApiToken.objects.filter(pk=full.pk).exists()


def test_a_guest_reads_no_history_of_who_else_has_a_share(make: Make, team: Team, client: Client) -> None:
    deployment, boss = make.deployment(), create_user("boss", team=team, role="admin")
    guest, other = create_user("guest"), create_user("rival")
    for person in (guest, other):
        shares.share_with(deployment, person, "read", user=boss)
    client.force_login(guest)
    assert "rival" not in client.get(f"/deployments/{deployment.pk}/").content.decode()
    client.force_login(boss)
    assert "rival" in client.get(f"/deployments/{deployment.pk}/").content.decode()


def test_a_webhooks_run_is_in_the_audit_log(make: Make, team: Team) -> None:
    deployment, boss = make.deployment(), create_user("boss", team=team, role="admin")
    made = client_of(boss).post(f"/api/deployments/{deployment.pk}/webhook/", {}, "json").json()
    assert APIClient().post("/hooks/" + made["url"].rstrip("/").rpartition("/")[2] + "/", {}, "json").status_code == 202
    entry = AuditEntry.objects.get(verb="flow_run.create")
    assert entry.actor_name.startswith("webhook hook_")
    assert entry.subject_id == str(FlowRun.objects.get().pk)
