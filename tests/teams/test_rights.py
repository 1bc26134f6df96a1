"""What somebody may do: by role, by share, and less by a token."""

from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.ids import uuid7
from runs.models import FlowRun
from teams import actions, audit, members, sharing
from teams.models import AuditEntry, Role, Team, User, Via
from teams.rights import Confinement, Level, Refused, require

pytestmark = pytest.mark.django_db


@pytest.fixture
def deployment() -> Deployment:
    team = members.create_team("owners")
    flow = Flow.objects.create(team=team, name="load")
    return Deployment.objects.create(
        team=team, flow=flow, name="nightly", queue=WorkQueue.default(team), entrypoint="a.py:load"
    )


@pytest.fixture
def run(deployment: Deployment) -> FlowRun:
    return FlowRun.objects.create(
        team=deployment.team, flow=deployment.flow, deployment=deployment, name="tidy-heron", state_type="COMPLETED",
        state_name="Completed", state_time=timezone.now(), expected_start=timezone.now(),
    )  # fmt: skip


def somebody(name: str, team: Team, role: Role | None = None) -> User:
    user = actions.create_user(name, team=members.create_team(f"{name}'s"))
    if role is not None:
        members.set_role(team, user, role)
    return User.objects.get(pk=user.pk)


@pytest.mark.parametrize(
    ("role", "level"),
    [
        (None, Level.NONE),
        ("viewer", Level.READ),
        ("operator", Level.RUN),
        ("editor", Level.EDIT),
        ("admin", Level.ADMIN),
    ],
)
def test_a_role_is_a_level(run: FlowRun, role: str | None, level: Level) -> None:
    user = somebody("ann", run.team, Role(role) if role else None)
    assert user.level_on(run) == user.level_on(run.team) == level
    assert FlowRun.objects.visible_to(user).exists() is (level >= Level.READ)


@pytest.mark.parametrize("shared", ["flow", "deployment"])
@pytest.mark.parametrize("with_team", [False, True])
def test_a_share_reaches_the_object_and_its_runs_alone(run: FlowRun, shared: str, with_team: bool) -> None:
    user = somebody("ann", run.team)
    row = getattr(run, shared)
    other = Deployment.objects.create(
        team=run.team, flow=Flow.objects.create(team=run.team, name="other"), name="x", queue=run.deployment.queue
    )
    holder = members.group_of(user.memberships.select_related("team").first().team) if with_team else user
    sharing.share(row, Level.RUN, holder)
    user = User.objects.get(pk=user.pk)
    assert user.level_on(run) == user.level_on(run.deployment) == Level.RUN
    assert list(FlowRun.objects.visible_to(user)) == [run]
    assert list(Deployment.objects.visible_to(user)) == [run.deployment]
    assert user.level_on(other) == user.level_on(run.team) == Level.NONE
    assert sharing.shared_with(row) == [(holder, Level.RUN)]
    sharing.share(row, Level.NONE, holder)
    assert User.objects.get(pk=user.pk).level_on(run) == Level.NONE


def test_a_token_takes_away(run: FlowRun) -> None:
    user = somebody("ann", run.team, Role.ADMIN)
    user.confinement = Confinement(Level.READ)
    assert user.level_on(run) == Level.READ
    with pytest.raises(Refused, match="--scope run"):
        require(user, Level.RUN, run)
    user.confinement = Confinement(deployment=uuid7())
    assert user.level_on(run) == user.level_on(run.team) == Level.NONE
    assert not FlowRun.objects.visible_to(user).exists()
    assert not WorkQueue.objects.visible_to(user).exists()
    user.confinement = Confinement(deployment=UUID(str(run.deployment_id)))
    assert user.level_on(run) == Level.ADMIN
    assert list(Flow.objects.visible_to(user)) == [run.flow]
    assert list(Deployment.objects.visible_to(user)) == [run.deployment]


def test_a_refusal_says_which_role_it_takes(run: FlowRun) -> None:
    user = somebody("ann", run.team, Role.VIEWER)
    require(user, Level.READ, run)
    somebody("boss", run.team, Role.ADMIN)
    with pytest.raises(Refused, match=r"takes the role editor in team owners\. Who can give it: boss\."):
        require(user, Level.EDIT, run.deployment)


def test_who_only_has_a_share_does_not_learn_who_administers_the_team(run: FlowRun) -> None:
    user = somebody("eve", run.team)
    somebody("boss", run.team, Role.ADMIN)
    sharing.share(run.deployment, Level.RUN, user)
    with pytest.raises(Refused, match=r"in team owners\. An administrator of the team can give it\."):
        require(User.objects.get(pk=user.pk), Level.EDIT, run.deployment)


def test_who_leaves_loses_access_at_once(run: FlowRun) -> None:
    user = somebody("ann", run.team, Role.EDITOR)
    members.remove_member(run.team, user, user=user)
    assert user.level_on(run) == Level.NONE
    assert not user.groups.filter(team=run.team).exists()


def test_entries_say_who_did_what_from_where_and_are_not_changed(run: FlowRun) -> None:
    user = somebody("ann", run.team, Role.ADMIN)
    with audit.coming_from(audit.Origin(Via.API, "192.0.2.7", "orc_abc")):
        entry = audit.record(user, "deployment.pause", run.deployment, {"paused": (False, True)})
    entry.refresh_from_db()
    assert (entry.actor, entry.via, entry.address, entry.token) == (user, "api", "192.0.2.7", "orc_abc")
    assert (entry.team, entry.subject_name, entry.changes) == (run.team, "load/nightly", {"paused": [False, True]})
    assert audit.history(run.deployment) == [entry]
    if connection.vendor == "sqlite":
        return  # the triggers are dropped there, so that tests can empty the table
    for change in (AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(verb="x")):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
