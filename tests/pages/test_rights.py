"""Pages offer what their reader may do, and nothing that would be refused."""

from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from flows.models import Calendar
from orchestrator.permissions import PAGES
from runs.models import ConcurrencyLimit
from teams.actions import create_user
from teams.models import Role, User
from teams.rights import OF_ROLE, Level
from tests.pages import sample


@pytest.fixture
def made(db: None) -> dict[str, Any]:
    found = sample.typical()
    team = found["team"]
    found["limit"] = ConcurrencyLimit.objects.create(team=team, tag="db", limit=1)
    found["calendar"] = Calendar.objects.create(team=team, name="france")
    return found


def pages(made: dict[str, Any]) -> list[str]:
    """Addresses of pages with something to do on them."""
    deployment = made["deployments"]["flights"]
    return [
        "/", "/runs/", f"/runs/{made['failed'].pk}/", f"/runs/{made['running'].pk}/", f"/deployments/{deployment.pk}/",
        "/work-queues/", f"/work-queues/{deployment.queue_id}/", "/concurrency-limits/",
        f"/concurrency-limits/{made['limit'].pk}/", "/calendars/", f"/calendars/{made['calendar'].pk}/",
        "/notifications/",
    ]  # fmt: skip


def reader(made: dict[str, Any], role: str) -> tuple[Client, User]:
    """Somebody of the team in this role, and their browser."""
    person, client = create_user(f"some-{role}", team=made["team"], role=role), Client()
    client.force_login(person)
    return client, person


@pytest.mark.parametrize("role", Role.values)
def test_a_page_has_only_buttons_and_links_that_its_reader_may_follow(made: dict[str, Any], role: str) -> None:
    client, _ = reader(made, role)
    too_much = {}
    for address in pages(made):
        response = client.get(address)
        assert response.status_code == 200, address
        if found := offered(response.content.decode(), made, above=OF_ROLE[role]):
            too_much[address] = found
    assert too_much == {}


def offered(html: str, made: dict[str, Any], above: Level) -> list[str]:
    """The addresses on a page that take more than this level, by what the permission matrix says of their names."""
    deployment = made["deployments"]["flights"]
    ids = {
        "deployment_id": deployment.pk, "queue_id": deployment.queue_id, "limit_id": made["limit"].pk,
        "calendar_id": made["calendar"].pk, "schedule_id": deployment.schedules.first().pk,
    }  # fmt: skip
    found = []
    for name, methods in PAGES.items():
        level = max(need.level for need in methods.values())
        if level <= above or (methods.get("GET") and methods["GET"].level <= above):
            continue
        for run in (made["failed"].pk, made["running"].pk):
            try:
                address = reverse(name, kwargs=_captured(name, {**ids, "run_id": run}))
            except KeyError:
                continue
            if f'"{address}"' in html or f'"{address}?' in html:
                found.append(name)
    return found


def _captured(name: str, ids: dict[str, Any]) -> dict[str, Any]:
    keys = get_resolver().reverse_dict.getlist(name)[0][0][0][1]
    return {key: ids[key] for key in keys}


def test_an_editor_is_offered_what_an_operator_is_not(made: dict[str, Any]) -> None:
    address = f"/deployments/{made['deployments']['flights'].pk}/"
    shown = {role: reader(made, role)[0].get(address).content.decode() for role in ("operator", "editor")}
    assert f"{address}run/" in shown["operator"]
    assert f"{address}edit/" not in shown["operator"]
    assert f"{address}edit/" in shown["editor"]
