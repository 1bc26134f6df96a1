"""What a member of a team sees is read along an index, however many runs the team has."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from flows.models import Flow
from orchestrator.sdk.states import StateType
from runs.models import FlowRun
from runs.reads import rows
from teams.models import Membership, Team, User

NOW = timezone.now()


@pytest.fixture
def member(db: None) -> User:
    person = User.objects.create_user("ada")
    for name in ("theirs", "others"):
        team = Team.objects.create(name=name)
        flow = Flow.objects.create(team=team, name="etl")
        FlowRun.objects.bulk_create(
            FlowRun(
                team=team, flow=flow, name="r", state_type=StateType.COMPLETED, state_name="Completed", attempt=1,
                state_time=NOW, expected_start=NOW - timedelta(seconds=number),
            )
            for number in range(3000)
        )  # fmt: skip
        if name == "theirs":
            Membership.objects.create(user=person, team=team)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE runs_flowrun")
    return person


def test_a_members_list_of_runs_is_not_sorted(member: User) -> None:
    runs = rows(FlowRun.objects.visible_to(member).without_upcoming(NOW)).newest_first()[:51]
    plan = runs.explain().lower()
    assert "sort" not in plan, plan
    assert "temp b-tree" not in plan, plan  # SQLite sorts in one
    assert len(runs) == 51
    assert {run.team.name for run in runs} == {"theirs"}
