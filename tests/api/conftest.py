"""A team with a deployment, a stranger, and clients that act for them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.states import StateType, default_name
from runs.models import FlowRun
from teams.models import ApiToken, Membership, Team, User

SCHEMA = {
    "type": "object",
    "properties": {"limit": {"type": "integer", "default": 10}, "day": {"type": "string", "format": "date"}},
    "required": [],
    "additionalProperties": False,
}
RunMaker = Callable[..., FlowRun]


@pytest.fixture
def team(db: None) -> Team:
    return Team.default()


@pytest.fixture
def user(team: Team) -> User:
    person = User.objects.create_user("ada")
    Membership.objects.create(user=person, team=team)
    return person


@pytest.fixture
def stranger(db: None) -> User:
    """Somebody in another team."""
    person = User.objects.create_user("eve")
    Membership.objects.create(user=person, team=Team.objects.create(name="others"))
    return person


def client_of(person: User) -> APIClient:
    """A client with a token of this person."""
    secret = ApiToken.issue(name="test", user=person, team=person.memberships.get().team)[1]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


@pytest.fixture
def api(user: User) -> APIClient:
    return client_of(user)


@pytest.fixture
def strange_api(stranger: User) -> APIClient:
    return client_of(stranger)


@pytest.fixture
def flow(team: Team) -> Flow:
    return Flow.objects.create(team=team, name="etl_job")


@pytest.fixture
def deployment(flow: Flow, team: Team) -> Deployment:
    return Deployment.objects.create(
        team=team,
        flow=flow,
        name="nightly",
        entrypoint="etl.py:etl_job",
        directory="/srv",
        parameters={"limit": 5},
        parameter_schema=SCHEMA,
        tags=["daily"],
        queue=WorkQueue.default(team),
    )


@pytest.fixture
def make_run(flow: Flow, team: Team) -> RunMaker:
    """Makes a run of the flow that began some seconds ago; any field may be given."""

    def make(seconds_ago: float = 0, type_: StateType = StateType.COMPLETED, **fields: Any) -> FlowRun:
        time = timezone.now() - timedelta(seconds=seconds_ago)
        known = {"name": "calm-owl", "state_type": type_, "state_name": default_name(type_), "attempt": 1}
        times = {"expected_start": time, "start_time": time, "state_time": time}
        return FlowRun.objects.create(**{"team": team, "flow": flow, **known, **times, **fields})

    return make
