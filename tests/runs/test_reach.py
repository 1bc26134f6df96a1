"""Pages of lists that are seen by several teams and shares: the rows as asked for at once, in as few queries."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.states import StateType
from runs import models
from runs.models import FlowRun, FlowRunQuerySet
from runs.views import keyset
from runs.views.run_list import narrowed
from teams import reach, sharing
from teams.models import ApiToken, Membership, Team, User
from teams.rights import Level

NOW = timezone.now()
A_TEAM = 120  # runs: more than two pages


@pytest.fixture
def member(db: None) -> User:
    """In two of four teams; of the third a deployment is shared with them, of the fourth nothing."""
    person = User.objects.create_user("ada")
    for number, name in enumerate(("first", "second", "shares", "others")):
        team = Team.objects.create(name=name)
        flow = Flow.objects.create(team=team, name="etl")
        queue = WorkQueue.default(team)
        shared, other = (
            Deployment.objects.create(team=team, flow=flow, name=name, queue=queue, entrypoint="a.py:f")
            for name in ("daily", "hourly")
        )
        if number < 2:
            Membership.objects.create(user=person, team=team, role="viewer")
        if name == "shares":
            sharing.share(shared, Level.READ, person)
        FlowRun.objects.bulk_create(
            FlowRun(
                team=team, flow=flow, deployment=shared if n % 3 else other, queue=queue, attempt=1, state_time=NOW,
                name="needle" if n in {3, A_TEAM - 2} else "hay", tags=["rare"] if n == A_TEAM - 2 else [],
                state_type=StateType.FAILED if n % 5 == 0 else StateType.COMPLETED, state_name="",
                expected_start=NOW - timedelta(seconds=4 * n + number),
            )
            for n in range(A_TEAM)
        )  # fmt: skip
    return person


def naive(user: User, **narrowing: Any) -> list[Any]:
    """What the user sees, asked for at once."""
    rows = FlowRun.objects.filter(FlowRun.objects.none()._allowed(user), **narrowing)
    return list(rows.order_by("-expected_start", "-id").values_list("pk", flat=True))


def read_to_the_end(runs: FlowRunQuerySet) -> list[Any]:
    """The rows of all pages."""
    found, cursor = [], ""
    while cursor is not None:
        page, cursor = keyset.page(runs, cursor)
        found += [run.pk for run in page]
    return found


def test_pages_have_every_row_that_is_seen_once_and_in_order(member: User) -> None:
    found = read_to_the_end(FlowRun.objects.visible_to(member))
    assert found == naive(member)
    assert len(found) == 2 * A_TEAM + A_TEAM * 2 // 3


@pytest.mark.parametrize(
    ("query", "narrowing"),
    [
        ("state=failed", {"state_type": StateType.FAILED}),
        ("state=failed&state=completed", {"state_type__in": [StateType.FAILED, StateType.COMPLETED]}),
        ("q=needle", {"name": "needle"}),
        ("tag=rare", {"expected_start__lt": NOW - timedelta(seconds=4 * (A_TEAM - 2) - 1), "name": "needle"}),
    ],
)
@pytest.mark.parametrize("is_admin", [False, True])
def test_narrowed_lists_have_what_matches(
    member: User, query: str, narrowing: dict[str, Any], is_admin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "LOOKED_AT", 30)
    if is_admin:
        member = User.objects.create_superuser("root")
    wanted = (
        list(FlowRun.objects.filter(**narrowing).newest_first().values_list("pk", flat=True))
        if is_admin
        else naive(member, **narrowing)
    )
    found = read_to_the_end(narrowed(FlowRun.objects.visible_to(member), QueryDict(query), NOW))
    assert found == wanted
    assert found


def test_a_flow_of_which_one_deployment_is_shared_shows_the_runs_of_that(member: User) -> None:
    flow = Flow.objects.get(team__name="shares")
    runs = FlowRun.objects.visible_to(member).of_owners("flow", Flow.objects.filter(pk=flow.pk))
    assert read_to_the_end(runs) == naive(member, flow=flow)
    assert len(naive(member, flow=flow)) == A_TEAM * 2 // 3


def test_owners_of_the_same_name_in_other_teams_are_left_out(member: User) -> None:
    runs = FlowRun.objects.visible_to(member)
    assert read_to_the_end(runs.of_owners("flow", Flow.objects.filter(name="etl"))) == naive(member)
    assert read_to_the_end(runs.of_owners("queue", WorkQueue.objects.filter(name="default"))) == naive(member)
    others = Deployment.objects.filter(team__name="others")
    assert read_to_the_end(runs.of_owners("deployment", others)) == []


def test_owners_of_one_name_in_many_teams_are_all_found(member: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "LOOKED_AT", 30)
    monkeypatch.setattr(models, "MANY_OWNERS", 3)
    runs = FlowRun.objects.visible_to(User.objects.create_superuser("root"))
    found = read_to_the_end(runs.of_owners("queue", WorkQueue.objects.filter(name="default")))
    assert len(found) == len(set(found)) == 4 * A_TEAM


def test_two_owners_narrow_together(member: User) -> None:
    first, second = (Flow.objects.filter(team__name=name) for name in ("first", "second"))
    of_first = Deployment.objects.filter(flow__in=first, name="daily")
    runs = FlowRun.objects.visible_to(member)
    assert len(read_to_the_end(runs.of_owners("flow", first).of_owners("deployment", of_first))) == A_TEAM * 2 // 3
    assert read_to_the_end(runs.of_owners("flow", second).of_owners("deployment", of_first)) == []


def test_a_team_that_is_looked_at_alone_is_listed_alone(member: User) -> None:
    member.chosen_team = Team.objects.get(name="second").pk
    found = read_to_the_end(FlowRun.objects.listed_for(member))
    assert found == naive(member, team=member.chosen_team)


def test_more_ways_than_are_read_one_by_one_lead_to_the_same_rows(
    member: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "MOST_WAYS", 2)
    assert read_to_the_end(FlowRun.objects.visible_to(member)) == naive(member)


@pytest.mark.parametrize("query", ["", "?state=FAILED", "?since=2020-01-01T00:00:00Z"])
def test_a_list_with_permissions_costs_as_many_queries_as_without(
    member: User, query: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def queries(user: User) -> int:
        _, secret = ApiToken.issue(name="t", user=user, team=Team.objects.get(name="first"))
        api = APIClient(headers={"Authorization": f"Bearer {secret}"})
        api.get(f"/api/flow-runs/{query}")  # notes the token's use
        with django_assert_num_queries(2 if user.is_superuser else 3) as counted:  # also who asks, and what they have
            assert len(api.get(f"/api/flow-runs/{query}").json()["results"]) >= 40
        return sum('FROM "runs_flowrun"' in query["sql"] for query in counted)

    assert queries(member) == queries(User.objects.create_superuser("root")) == 1


def test_no_way_is_sorted_whole(member: User) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE runs_flowrun")
            cursor.execute("SET LOCAL enable_seqscan = off")  # a table of 480 rows is read whole otherwise
    plan = FlowRun.objects.visible_to(member).first_rows("-expected_start", "-id", most=51).explain().lower()
    assert "flow_run_team" in plan, plan
    assert "flow_run_deployment" in plan, plan
