"""`ETag` and `If-Match`: a change made from an older version is refused, and nothing is lost."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from flows.models import Block, Calendar, Deployment, Schedule, WorkQueue
from notifications.models import Destination, Policy
from orchestrator.encryption import Secret
from runs.models import ConcurrencyLimit
from teams.models import Membership, Role, Team, User


@pytest.fixture
def rows(deployment: Deployment, team: Team, user: User) -> dict[str, tuple[Any, dict[str, Any], dict[str, Any]]]:
    """By address: a row, a change, and another change."""
    Membership.objects.filter(user=user).update(role=Role.ADMIN)
    destination = Destination.objects.create(
        team=team, name="ops", kind="webhook", config=Secret.of({"url": "https://example.com/"})
    )
    policy = Policy.objects.create(team=team, name="failures", events=["FAILED"])
    policy.destinations.add(destination)
    limit = ConcurrencyLimit.objects.create(team=team, tag="t", limit=1)
    schedule = Schedule.objects.create(deployment=deployment, kind="cron", expression="0 8 * * *")
    return {
        "deployments": (deployment, {"description": "mine"}, {"description": "theirs"}),
        "schedules": (schedule, {"active": False}, {"expression": "0 9 * * *"}),
        "calendars": (Calendar.objects.create(team=team, name="c", weekend=["SA"]), {"name": "m"}, {"name": "t"}),
        "work-queues": (WorkQueue.objects.create(team=team, name="q"), {"limit": 1}, {"limit": 2}),
        "blocks": (Block.objects.create(team=team, type="process", name="b"), {"name": "m"}, {"name": "t"}),
        "concurrency-limits": (limit, {"limit": 2}, {"limit": 3}),
        "notification-policies": (policy, {"log_lines": 3}, {"log_lines": 4}),
        "destinations": (destination, {"name": "mine"}, {"name": "theirs"}),
    }  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "deployments", "schedules", "calendars", "work-queues", "concurrency-limits", "notification-policies",
        "destinations", "blocks",
    ],
)  # fmt: skip
def test_a_change_from_an_older_version_is_refused(api: APIClient, rows: Any, address: str) -> None:
    row, mine, theirs = rows[address]
    path = f"/api/{address}/{row.pk}/"
    seen = api.get(path).headers["ETag"]
    assert api.get(path).headers["ETag"] == seen

    changed = api.patch(path, theirs, headers={"If-Match": seen})
    assert changed.status_code == 200
    refused = api.patch(path, mine, headers={"If-Match": seen})
    assert (refused.status_code, refused.data["code"]) == (412, "changed_meanwhile")
    ((field, value),) = theirs.items()
    assert api.get(path).json()[field] == value
    assert api.delete(path, headers={"If-Match": seen}).status_code == 412

    now = changed.headers["ETag"]
    assert now == api.get(path).headers["ETag"] != seen
    assert api.patch(path, mine, headers={"If-Match": now}).status_code == 200
    assert api.patch(path, theirs, headers={"If-Match": "*"}).status_code == 200
    assert api.patch(path, mine).status_code == 200, "without a version, the last one wins"


def test_schedules_of_a_deployment_are_part_of_its_version(api: APIClient, rows: Any) -> None:
    deployment = rows["deployments"][0]
    path = f"/api/deployments/{deployment.pk}/schedules/"
    seen = api.get(path).headers["ETag"]
    api.patch(f"/api/schedules/{rows['schedules'][0].pk}/", {"active": False})

    assert api.put(path, [], headers={"If-Match": seen}).status_code == 412
    now = api.get(path).headers["ETag"]
    assert api.put(path, [], headers={"If-Match": now}).data == []


def test_what_the_server_writes_makes_no_new_version(api: APIClient, rows: Any) -> None:
    destination = rows["destinations"][0]
    path = f"/api/destinations/{destination.pk}/"
    seen = api.get(path).headers["ETag"]
    Destination.objects.update(failures=3, last_answer="502")

    assert api.get(path).headers["ETag"] == seen
