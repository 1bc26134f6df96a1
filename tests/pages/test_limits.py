"""The pages of limits: who holds, who waits, and the verbs; in a browser they follow what happens."""

import re
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from orchestrator.sdk.ids import uuid7
from runs import limits_file, slots, tag_limits
from runs.models import ConcurrencyLimit, FlowRun, Slot
from runs.slots import Ask
from teams.models import Membership, Team, User
from tests.pages import sample
from tests.pages.conftest import Site


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_file, "refresh", lambda: False)


def limited(run: FlowRun, number: int = 1, asks: int = 3) -> tuple[ConcurrencyLimit, list[UUID]]:
    """A limit, and task runs that asked."""
    limit = tag_limits.create_limit(run.team, tag="prod-database", limit=number)
    task_runs = [uuid7() for _ in range(asks)]
    for place, task_run in enumerate(task_runs):
        slots.ask(Ask(run.pk, run.attempt, task_run, ["prod-database"], f"load-{place}"), run.team)
    return limit, task_runs


def words(response: object) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_a_limit_is_made_seen_changed_and_deleted(reader: Client) -> None:
    run = sample.typical()["running"]
    assert "No tag is limited yet" in words(reader.get("/concurrency-limits/"))
    wrong = reader.post("/concurrency-limits/new/", {"tag": "prod-database", "limit": "many"})
    assert wrong.status_code == 422
    assert "Write a whole number" in words(wrong)
    assert b'value="prod-database"' in wrong.content
    assert reader.post("/concurrency-limits/new/", {"tag": "quota", "limit": "2"}).status_code == 302
    limit, (first, second, third) = limited(run)
    page = f"/concurrency-limits/{limit.pk}/"
    assert "prod-database 1 of 1 held 2 waiting" in words(reader.get("/concurrency-limits/"))
    shown = words(reader.get(page))
    assert re.search(r"Hold a slot load-0 of .* Waiting, next first 1 load-1 of .* 2 load-2 of ", shown)
    assert str(first) in reader.get(page).content.decode()
    run_page = words(reader.get(f"/runs/{run.pk}/"))
    assert "load-1 is number 1 in line for prod-database" in run_page
    reader.post(f"{page}edit/", {"limit": "2"})
    assert Slot.objects.get(task_run=second).granted_at is not None
    assert "frees 2 held slots" in words(reader.get(f"{page}reset/"))
    assert "2 slots of prod-database are freed" in words(reader.post(f"{page}reset/", follow=True))
    assert Slot.objects.get().task_run == third
    assert reader.post(f"{page}edit/", {"limit": "-1"}).status_code == 422
    assert reader.get(f"{page}delete/").status_code == 200
    assert "no longer limited" in words(reader.post(f"{page}delete/", follow=True))
    assert reader.get(page).status_code == 404


@pytest.mark.django_db
def test_limits_of_other_teams_are_not_there(reader: Client) -> None:
    limit, _ = limited(sample.typical()["running"])
    stranger = User.objects.create_user("stranger", password="x")
    Membership.objects.create(user=stranger, team=Team.objects.create(name="other"))
    client = Client(headers={"host": "localhost"})
    client.force_login(stranger)
    assert "No tag is limited yet" in words(client.get("/concurrency-limits/"))
    for verb in ("", "edit/", "reset/", "delete/"):
        assert client.get(f"/concurrency-limits/{limit.pk}/{verb}").status_code == 404


@pytest.mark.django_db
def test_the_administration_shows_limits_and_slots(reader: Client) -> None:
    limited(sample.typical()["running"])
    assert "prod-database" in words(reader.get(reverse("admin:runs_concurrencylimit_changelist")))
    assert "load-2" in words(reader.get(reverse("admin:runs_slot_changelist")))


def test_the_page_of_a_limit_follows_what_happens(site: Site, page: Page, tmp_path: object) -> None:
    site.made = sample.typical()
    run = site.made["running"]
    limit, task_runs = limited(run, asks=80)
    site.sign_in(page.context)
    page.goto(f"{site.url}/concurrency-limits/{limit.pk}/")
    expect(page.locator("[data-region=holders]")).to_contain_text("load-0")
    expect(page.locator("[data-region=waiting]")).to_contain_text("and 29 more")
    for width, scheme in ((1280, "light"), (390, "dark"), (320, "light")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert Axe().run(page).violations_count == 0
    slots.give_back(task_runs[0], FlowRun.objects.filter(pk=run.pk))
    expect(page.locator("[data-region=holders]")).to_contain_text("load-1")
    expect(page.locator("[data-region=head]")).to_contain_text("78 waiting")
