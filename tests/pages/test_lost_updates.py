"""Two people with the same form open: the second to save is told of the first, and nothing is lost unseen."""

import re
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from flows.calendar_actions import create_calendar
from flows.models import Deployment, Schedule, WorkQueue
from notifications.models import Destination, Policy
from orchestrator.encryption import Secret
from runs import actions, queues, tag_limits
from runs.models import ConcurrencyLimit
from teams import members
from teams.models import Membership, Role, User
from tests.pages import sample

pytestmark = pytest.mark.database

#: By the name of a page with a form: the field that is typed, what one person types, and what the other one does.
FORMS = {
    "deployment-edit": ("description", "mine", "theirs"),
    "schedule": ("cron", "0 7 * * *", "0 9 * * *"),
    "calendar": ("name", "mine", "theirs"),
    "work-queue-edit": ("limit", "7", "9"),
    "concurrency-limit-edit": ("limit", "7", "9"),
    "notification-policy": ("name", "mine", "theirs"),
    "notification-destination": ("name", "mine", "theirs"),
    "team-rename": ("name", "mine", "theirs"),
}


@pytest.fixture
def rows(db: None) -> dict[str, Model]:
    made = sample.typical()
    deployment: Deployment = made["deployments"]["flights"]
    team, person = deployment.team, User.first_admin()
    schedule = Schedule.objects.create(deployment=deployment, kind="cron", expression="0 8 * * *")
    destination = Destination.objects.create(
        team=team, name="ops", kind="webhook", config=Secret.of({"url": "https://example.com/"})
    )
    policy = Policy.objects.create(team=team, name="failures", events=["FAILED"])
    policy.destinations.add(destination)
    return {
        "deployment-edit": deployment,
        "schedule": schedule,
        "calendar": create_calendar(team, name="days", weekend=["SA"], user=person),
        "work-queue-edit": WorkQueue.objects.create(team=team, name="q"),
        "concurrency-limit-edit": ConcurrencyLimit.objects.create(team=team, tag="t", limit=1),
        "notification-policy": policy,
        "notification-destination": destination,
        "team-rename": team,
    }


@pytest.fixture
def other(rows: dict[str, Model]) -> Client:
    team: Any = rows["team-rename"]
    ada = User.objects.create_user("ada")
    Membership.objects.create(user=ada, team=team, role=Role.ADMIN)
    client = Client(headers={"host": "localhost"})
    client.force_login(ada)
    return client


def form_of(page: str) -> dict[str, Any]:
    """What a browser would send of the form `edit` as it stands."""
    form = re.search(r'<form[^>]*id="edit".*?</form>', page, re.S)
    assert form, page
    sent: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form[0]):
        has = dict(re.findall(r'([a-z-]+)="([^"]*)"', tag))
        if has.get("type") not in {"checkbox", "radio"} or re.search(r"\schecked", tag):
            sent.setdefault(has.get("name", ""), []).append(has.get("value", "on"))
    for name, inner in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form[0], re.S):
        if chosen := re.search(r'<option value="([^"]*)" selected', inner):
            sent[name] = chosen[1]
    for name, inner in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>\n?(.*?)</textarea>', form[0], re.S):
        sent[name] = inner
    return sent


def said(row: Any, field: str) -> str:
    row.refresh_from_db()
    return str(row.expression if field == "cron" else getattr(row, field))


@pytest.mark.parametrize("name", FORMS)
def test_who_saves_second_sees_what_the_first_did_and_may_save_anyway(
    reader: Client, other: Client, rows: dict[str, Model], name: str
) -> None:
    row, (field, mine, theirs) = rows[name], FORMS[name]
    address = reverse(name, args=[row.pk])
    my_form, their_form = (form_of(client.get(address).content.decode()) for client in (reader, other))

    saved = other.post(address, {**their_form, field: theirs})
    assert saved.status_code == 302, form_of(saved.content.decode())
    refused = reader.post(address, {**my_form, field: mine})

    page = refused.content.decode()
    assert refused.status_code == 422
    assert "It was changed while you had it open" in page
    assert "<b>ada</b>" in page, "who"
    assert theirs in page, "what"
    assert said(row, field) == theirs, "nothing is overwritten"
    again = form_of(page)
    assert mine in (again[field] if isinstance(again[field], str) else again[field][0]), "what was typed is still there"

    assert reader.post(address, again).status_code == 302
    assert said(row, field) == mine


def test_a_third_change_is_told_again(reader: Client, rows: dict[str, Model]) -> None:
    queue: Any = rows["work-queue-edit"]
    address = reverse("work-queue-edit", args=[queue.pk])
    form = form_of(reader.get(address).content.decode())
    queues.change_queue(queue, limit=3)
    form = form_of(reader.post(address, form).content.decode())
    queues.change_queue(queue, limit=4)

    assert "It was changed while you had it open" in reader.post(address, form).content.decode()


def test_another_mistake_does_not_hide_that_it_was_changed(reader: Client, rows: dict[str, Model]) -> None:
    limit: Any = rows["concurrency-limit-edit"]
    address = reverse("concurrency-limit-edit", args=[limit.pk])
    form = form_of(reader.get(address).content.decode())
    mistaken = reader.post(address, {**form, "limit": "many"}).content.decode()
    tag_limits.change_limit(limit, value=5)

    assert reader.post(address, {**form_of(mistaken), "limit": "6"}).status_code == 422
    limit.refresh_from_db()
    assert limit.limit == 5


def test_a_schedule_of_a_deployment_is_no_change_of_what_its_form_shows(reader: Client, rows: dict[str, Any]) -> None:
    address = reverse("deployment-edit", args=[rows["deployment-edit"].pk])
    form = form_of(reader.get(address).content.decode())
    actions.change_schedule(rows["schedule"], active=False)

    assert reader.post(address, form).status_code == 302


def test_a_role_changed_meanwhile_is_told(reader: Client, other: Client, rows: dict[str, Any]) -> None:
    team, ada = rows["team-rename"], User.objects.get(username="ada")
    address = reverse("team-member", args=[team.pk, ada.pk])
    form = form_of(reader.get(address).content.decode())
    members.set_role(team, ada, Role.VIEWER, user=User.first_admin())

    page = reader.post(address, {**form, "role": "operator"}).content.decode()
    assert "role: admin → viewer" in page
    assert Membership.objects.get(user=ada, team=team).role == Role.VIEWER
