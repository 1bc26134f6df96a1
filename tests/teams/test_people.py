"""Verbs on people, service accounts, tokens and shares: who may, what is kept, what goes when somebody goes."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Deployment, Flow, WorkQueue
from teams import actions, audit, members, shares
from teams.models import ApiToken, AuditEntry, GroupMapping, Membership, Role, Team, User
from teams.rights import Confinement, Level, Refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return members.create_team("owners")


@pytest.fixture
def deployment(team: Team) -> Deployment:
    flow = Flow.objects.create(team=team, name="load")
    return Deployment.objects.create(
        team=team, flow=flow, name="nightly", queue=WorkQueue.default(team), entrypoint="a.py:load"
    )


def member(name: str, team: Team, role: Role) -> User:
    return User.objects.get(pk=actions.create_user(name, team=team, role=role).pk)


def client_with(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def test_a_team_s_admin_makes_users_of_that_team_alone(team: Team) -> None:
    boss, hand = member("boss", team, Role.ADMIN), member("hand", team, Role.EDITOR)
    made = actions.create_user("new", team=team, role="operator", user=boss)
    assert Membership.objects.get(user=made).role == "operator"
    assert made.groups.filter(team=team).exists()
    for asker, options in [
        (hand, {"team": team}),
        (boss, {}),
        (boss, {"team": members.create_team("others")}),
        (boss, {"team": team, "is_admin": True}),
    ]:
        with pytest.raises(Refused):
            actions.create_user("other", user=asker, **options)
    assert not User.objects.filter(username="other").exists()
    entry = AuditEntry.objects.get(verb="user.create", subject_id=str(made.pk))
    assert (entry.actor, entry.team) == (boss, team)


def test_only_a_site_admin_deactivates_and_one_stays(team: Team) -> None:
    root = actions.create_user("root", is_admin=True)
    boss = member("boss", team, Role.ADMIN)
    with pytest.raises(Refused):
        actions.deactivate_user(root, user=boss)
    with pytest.raises(ValidationError, match="last administrator"):
        actions.deactivate_user(root, user=root)
    actions.deactivate_user(boss, user=root)
    actions.deactivate_user(boss, user=root)
    assert not User.objects.get(pk=boss.pk).is_active
    actions.reactivate_user(boss, user=root)
    assert User.objects.get(pk=boss.pk).is_active
    verbs = AuditEntry.objects.filter(subject_type="user", subject_id=str(boss.pk)).order_by("id")
    assert [entry.verb for entry in verbs] == ["user.create", "user.deactivate", "user.reactivate"]


def test_a_token_s_reach_goes_with_its_user(team: Team, deployment: Deployment) -> None:
    ann = member("ann", team, Role.EDITOR)
    member("boss", team, Role.ADMIN)
    _, secret = actions.create_token("ci", ann, user=ann)
    client = client_with(secret)
    assert len(client.get("/api/deployments/").data["results"]) == 1
    members.remove_member(team, ann)
    assert client.get("/api/deployments/").data["results"] == []
    assert client.get(f"/api/deployments/{deployment.pk}/").status_code == 404
    members.set_role(team, ann, Role.VIEWER)
    assert len(client.get("/api/deployments/").data["results"]) == 1
    actions.deactivate_user(ann)
    assert client.get("/api/deployments/").status_code == 401


def test_what_was_shared_with_a_member_goes_when_they_leave(team: Team, deployment: Deployment) -> None:
    ann = member("ann", team, Role.VIEWER)
    shares.share_with(deployment, ann, "run")
    assert User.objects.get(pk=ann.pk).level_on(deployment) == Level.RUN
    members.remove_member(team, ann)
    assert User.objects.get(pk=ann.pk).level_on(deployment) == Level.NONE


def test_nobody_makes_a_token_that_may_more_reaches_further_or_lives_longer(team: Team, deployment: Deployment) -> None:
    ann = member("ann", team, Role.EDITOR)
    soon = timezone.now() + timedelta(days=1)
    other = Deployment.objects.create(
        team=team, flow=deployment.flow, name="other", queue=deployment.queue, entrypoint="a.py:load"
    )
    ann.confinement = Confinement(Level.RUN, deployment.pk, soon)
    token, _ = actions.create_token("child", ann, user=ann)
    assert (token.scope, token.deployment, token.expires_at) == ("run", deployment.pk, soon)
    for options in (
        {"scope": "edit"},
        {"scope": ""},
        {"deployment": other},
        {"expires_at": soon + timedelta(seconds=1)},
    ):
        with pytest.raises((Refused, ValidationError)):
            actions.create_token("child", ann, user=ann, **options)
    ann.confinement = Confinement(Level.READ)
    with pytest.raises(Refused, match="--scope run"):
        actions.create_token("child", ann, user=ann)
    assert ApiToken.objects.filter(user=ann).count() == 1


def test_tokens_of_others_take_a_site_admin_and_of_service_accounts_their_team_s(team: Team) -> None:
    root = actions.create_user("root", is_admin=True)
    boss, ann = member("boss", team, Role.ADMIN), member("ann", team, Role.EDITOR)
    with pytest.raises(Refused):
        actions.create_token("x", ann, user=boss)
    token, _ = actions.create_token("x", ann, user=root, scope="read")
    assert (token.user, token.created_by) == (ann, root)
    with pytest.raises(Refused):
        actions.revoke_token(token, user=boss)
    with pytest.raises(Refused):
        actions.create_service_account(team, "ci", user=ann)
    account = actions.create_service_account(team, "ci", user=boss)
    assert (account.username, account.has_usable_password()) == ("ci@owners", False)
    made, secret = actions.create_token("deploys", account, user=boss)
    assert client_with(secret).get("/api/flows/").status_code == 200
    with pytest.raises(Refused):
        actions.revoke_token(made, user=ann)
    actions.revoke_token(made, user=boss)
    assert client_with(secret).get("/api/flows/").status_code == 401
    actions.deactivate_user(account, user=boss)
    with pytest.raises(ValidationError, match="deactivated"):
        actions.create_token("again", account, user=boss)
    with pytest.raises(ValidationError, match="already"):
        actions.create_service_account(team, "ci", user=boss)


def test_a_token_for_one_deployment_reaches_that_alone(team: Team, deployment: Deployment) -> None:
    ann = member("ann", team, Role.EDITOR)
    other = Deployment.objects.create(
        team=team, flow=deployment.flow, name="other", queue=deployment.queue, entrypoint="a.py:load"
    )
    _, secret = actions.create_token("one", ann, user=ann, deployment=deployment, scope="read")
    client = client_with(secret)
    names = [row["name"] for row in client.get("/api/deployments/").data["results"]]
    assert names == ["load/nightly"]
    assert client.get(f"/api/deployments/{other.pk}/").status_code == 404
    assert client.get("/api/teams/").data["results"] == []
    stranger = member("eve", members.create_team("others"), Role.ADMIN)
    with pytest.raises(ValidationError, match="may not see"):
        actions.create_token("one", stranger, user=stranger, deployment=deployment)


def test_sharing_takes_the_owning_team_s_admin(team: Team, deployment: Deployment) -> None:
    boss, ann = member("boss", team, Role.ADMIN), member("ann", team, Role.EDITOR)
    others = members.create_team("others")
    eve = member("eve", others, Role.VIEWER)
    with pytest.raises(Refused):
        shares.share_with(deployment, eve, "read", user=ann)
    shares.share_with(deployment, eve, "edit", user=boss)
    shares.share_with(deployment.flow, others, "read", user=boss)
    eve = User.objects.get(pk=eve.pk)
    assert eve.level_on(deployment) == Level.EDIT
    with pytest.raises(Refused):
        shares.share_with(deployment, ann, "read", user=eve)
    assert [(one["kind"], one["level"]) for one in shares.shared_to(eve)] == [("deployment", "edit"), ("flow", "read")]
    boss.confinement = Confinement(deployment=deployment.pk)
    with pytest.raises(Refused):
        shares.share_with(deployment, others, "read", user=boss)
    boss.confinement = Confinement()
    shares.take_back(deployment, eve, user=boss)
    shares.take_back(deployment, eve, user=boss)
    assert User.objects.get(pk=eve.pk).level_on(deployment) == Level.READ
    with pytest.raises(ValidationError, match="already"):
        shares.share_with(deployment, team, "read", user=boss)
    said = [(entry.verb, entry.changes) for entry in reversed(audit.history(deployment))]
    assert said == [
        ("deployment.share", {"person eve": [None, "edit"]}),
        ("deployment.share", {"person eve": ["edit", None]}),
    ]


def test_groups_are_mapped_by_the_team_s_admin(team: Team) -> None:
    boss, ann = member("boss", team, Role.ADMIN), member("ann", team, Role.EDITOR)
    with pytest.raises(Refused):
        members.map_group(team, "data", "viewer", user=ann)
    members.map_group(team, "data", "viewer", user=boss)
    mapping = members.map_group(team, " data ", "editor", user=boss)
    assert GroupMapping.objects.get() == mapping
    assert mapping.role == "editor"
    members.unmap_group(mapping, user=boss)
    assert not GroupMapping.objects.exists()
    with pytest.raises(ValidationError):
        members.map_group(team, "", "viewer", user=boss)


def test_a_password_is_set_by_oneself_or_a_site_admin_and_never_written_down(team: Team) -> None:
    ann, boss = member("ann", team, Role.EDITOR), member("boss", team, Role.ADMIN)
    with pytest.raises(Refused):
        actions.set_password(ann, "nine-otters-at-noon", user=boss)
    actions.set_password(ann, "nine-otters-at-noon", user=ann)
    entry = AuditEntry.objects.get(verb="user.set_password")
    assert "otters" not in str(entry.changes)
