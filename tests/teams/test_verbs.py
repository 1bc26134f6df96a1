"""Every verb that writes asks whether its user may, and writes down what it did, once."""

import inspect
from types import ModuleType

import pytest
from django.db.models import QuerySet

from flows import block_actions, calendar_actions
from flows.models import Deployment, Flow, WorkQueue
from notifications import actions as notification_actions
from notifications import destinations, policies
from runs import actions, deleting, queues, tag_limits
from runs.models import Trigger
from teams import members
from teams.actions import create_user
from teams.models import AuditEntry, Role, Team, User
from teams.rights import Refused

pytestmark = pytest.mark.django_db

MODULES = [
    actions,
    block_actions,
    calendar_actions,
    deleting,
    queues,
    tag_limits,
    notification_actions,
    destinations,
    policies,
]
#: These call verbs, or are called by them alone.
ASSEMBLED = {"calendar_with", "destination_for", "flows.calendar_actions.change_calendar"}


@pytest.fixture
def team() -> Team:
    return members.create_team("owners")


@pytest.fixture
def deployment(team: Team) -> Deployment:
    flow = Flow.objects.create(team=team, name="load")
    return Deployment.objects.create(
        team=team, flow=flow, name="nightly", queue=WorkQueue.default(team), entrypoint="a.py:load"
    )


def entries() -> QuerySet[AuditEntry]:
    """What was written of things, in the order of it."""
    return AuditEntry.objects.exclude(subject_type__in=["team", "user"]).order_by("id")


def member(team: Team, role: Role) -> User:
    return create_user(str(role), team=team, role=role)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_takes_a_user_is_a_verb(module: ModuleType) -> None:
    takes_user = {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if "user" in inspect.signature(function).parameters
    }
    assert takes_user
    bare = {name for name, function in takes_user.items() if not hasattr(function, "__wrapped__")}
    assert {name for name in bare if f"{module.__name__}.{name}" not in ASSEMBLED} <= ASSEMBLED


def test_a_change_is_recorded_with_what_was_before_and_after(team: Team, deployment: Deployment) -> None:
    editor = member(team, Role.EDITOR)
    actions.update_deployment(deployment, user=editor, description="nightly load")
    entry = entries().get()
    assert (entry.verb, entry.actor, entry.team) == ("deployment.change", editor, team)
    assert entry.changes == {"description": ["", "nightly load"]}
    actions.update_deployment(Deployment.objects.get(), user=editor, description="nightly load")
    assert entries().count() == 1  # nothing changed


def test_what_a_change_refers_to_is_recorded_by_name(team: Team, deployment: Deployment) -> None:
    before = deployment.queue.name
    actions.update_deployment(deployment, user=member(team, Role.EDITOR), queue="warehouse")
    assert entries().get(verb="deployment.change").changes == {"queue": [before, "warehouse"]}


def test_a_verb_that_calls_others_is_recorded_once(team: Team, deployment: Deployment) -> None:
    actions.pause_deployment(deployment, user=member(team, Role.EDITOR))
    assert [entry.verb for entry in entries()] == ["deployment.pause"]


def test_what_is_made_and_deleted_keeps_its_name(team: Team) -> None:
    admin = member(team, Role.ADMIN)
    limit = tag_limits.create_limit(team, tag="warehouse", limit=1, user=admin)
    key = str(limit.pk)
    tag_limits.delete_limit(limit, user=admin)
    written = entries().values_list("verb", "subject_id", "subject_name", "team")
    assert list(written) == [
        ("concurrency_limit.create", key, str(limit), team.pk),
        ("concurrency_limit.delete", key, str(limit), team.pk),
    ]


def test_a_run_is_recorded_as_what_was_made(team: Team, deployment: Deployment) -> None:
    run, _ = actions.create_flow_run(deployment, trigger=Trigger.PERSON, user=member(team, Role.OPERATOR))
    entry = entries().get()
    assert (entry.verb, entry.subject_type, entry.subject_id) == ("flow_run.create", "flowrun", str(run.pk))


def test_who_may_not_changes_and_leaves_nothing(team: Team, deployment: Deployment) -> None:
    with pytest.raises(Refused, match="takes the role operator"):
        actions.create_flow_run(deployment, trigger=Trigger.PERSON, user=member(team, Role.VIEWER))
    with pytest.raises(Refused, match="takes the role editor"):
        actions.delete_deployment(deployment, user=member(team, Role.OPERATOR))
    assert Deployment.objects.exists()
    assert not entries().exists()
