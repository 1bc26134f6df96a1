"""The pages of notifications in a real browser: without a finding of axe, in every width, live, by keyboard."""

import re
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from notifications.models import Delivery, Message, Mute, Policy
from tests.browser.looks import assert_fits, assert_looks_right
from tests.notifications.conftest import receiver
from tests.notifications.receiving import Receiver, Reply
from tests.pages import told
from tests.pages.conftest import Site
from tests.pages.test_browser import open_page

__all__ = ["receiver"]
NEW = "/notifications/policies/new/"


def addresses(made: dict[str, Any]) -> list[str]:
    return [
        "/notifications/", NEW, "/notifications/destinations/new/", "/notifications/deliveries/",
        f"/notifications/policies/{made['policy'].id}/", f"/notifications/policies/{made['policy'].id}/delete/",
        *(f"/notifications/destinations/{made[name].id}/" for name in ("hook", "gone")),
        f"/notifications/destinations/{made['hook'].id}/delete/",
        *(f"/notifications/deliveries/{made[name].id}/" for name in ("refused", "held")),
        f"/notifications/deliveries/{made['gathered'][0].id}/",
        f"/notifications/deliveries/{made['sent'].id}/send-again/",
        f"/deployments/{made['deployments']['flights'].id}/mute/",
        f"/deployments/{made['deployments']['flights'].id}/", f"/runs/{made['run'].id}/",
    ]  # fmt: skip


@pytest.fixture
def telling(typical: Site) -> Site:
    """A server of a team that is told."""
    typical.made |= told.told(typical.made["team"])
    return typical


@pytest.fixture
def console(page: Page) -> list[str]:
    """What the console says that is wrong."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


@pytest.mark.looks
def test_axe_finds_nothing_and_nothing_overflows(signed_in: Page, telling: Site, console: list[str]) -> None:
    console.clear()
    for address in addresses(telling.made):
        open_page(signed_in, telling, address)
        signed_in.evaluate("for (const details of document.querySelectorAll('main details')) details.open = true")
        assert_looks_right(signed_in)
    assert console == []


def overfull_addresses(made: dict[str, Any]) -> list[str]:
    """Pages with as much, and as long, as may be."""
    made = told.overfull(made["team"])
    about = [
        f"/notifications/policies/{made['long_policy'].id}/", f"/notifications/deliveries/{made['long'].id}/",
        f"/notifications/destinations/{made['long_destination'].id}/", f"/runs/{made['long_run'].id}/",
        f"/notifications/destinations/{made['long_destination'].id}/delete/",
    ]  # fmt: skip
    return ["/notifications/", NEW, "/notifications/deliveries/", *about]


@pytest.mark.looks
def test_overfull_pages_fit(signed_in: Page, telling: Site) -> None:
    for address in overfull_addresses(telling.made):
        open_page(signed_in, telling, address)
        assert_fits(signed_in, 1280, 320)


def test_a_policy_is_made_previewed_and_tested(
    signed_in: Page, typical: Site, receiver: Receiver, console: list[str]
) -> None:
    receiver.reply = Reply(404, b"no_service")
    page = signed_in
    console.clear()
    open_page(page, typical, NEW)
    preview = page.locator("#preview")
    expect(preview).to_contain_text("entered a failed state at")
    page.get_by_label("new-thing", exact=True).check()
    expect(preview).to_contain_text("It matches no run yet" if "new-thing" not in preview.inner_text() else "new-thing")
    page.get_by_label("new-thing", exact=True).uncheck()
    page.get_by_label("Message", exact=True).fill("{{ flow_run.nme }}")
    expect(preview.get_by_role("alert")).to_have_text(re.compile("line 1: .*did you mean “flow_run.name”"))
    page.get_by_role("button", name="Begin with the usual words").click()
    expect(preview).to_contain_text("entered a failed state at")
    page.get_by_text("Names that can be used").click()
    page.get_by_label("Message", exact=True).press("Control+End")
    page.get_by_role("button", name="team.name").press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_have_value(re.compile(r"\{\{ team.name \}\}$"))
    expect(preview).to_contain_text("default")
    page.get_by_role("textbox", name="Incoming webhook URL").fill(f"{receiver.url}/chat")
    page.get_by_role("button", name="Make the policy").click()
    expect(page.get_by_text("Saved. Send a test")).to_be_visible()
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#answers")).to_contain_text("404 no_service")
    assert len(receiver.received) == 1
    assert Policy.objects.get().destinations.count() == 1
    assert console == []


@pytest.mark.looks
def test_only_the_fields_of_the_chosen_kind_are_shown(signed_in: Page, typical: Site) -> None:
    open_page(signed_in, typical, "/notifications/destinations/new/")
    expect(signed_in.get_by_label("Signing secret")).to_be_hidden()
    signed_in.get_by_label("Webhook", exact=True).check()
    expect(signed_in.get_by_label("Signing secret")).to_be_visible()
    expect(signed_in.get_by_role("textbox", name="URL", exact=True)).to_be_visible()
    signed_in.get_by_label("Email", exact=True).check()
    expect(signed_in.get_by_role("textbox", name="Addresses")).to_be_visible()
    expect(signed_in.get_by_label("Signing secret")).to_be_hidden()


def test_the_list_follows_what_is_sent(signed_in: Page, telling: Site) -> None:
    open_page(signed_in, telling, f"/notifications/deliveries/{telling.made['waiting'].id}/")
    expect(signed_in.locator("h1 + p .state")).to_have_text("Waiting")
    Message.objects.filter(id=telling.made["waiting"].message_id).update(state="sent", sent_at=timezone.now())
    expect(signed_in.locator("h1 + p .state")).to_have_text("Sent", timeout=15_000)


def test_a_deployment_is_muted_by_keyboard_and_the_rest_of_its_page_is_left_alone(
    signed_in: Page, telling: Site
) -> None:
    deployment = telling.made["deployments"]["flights"]
    open_page(signed_in, telling, f"/deployments/{deployment.id}/")
    signed_in.get_by_text("Mute notifications").press("Enter")
    signed_in.get_by_label("4 hours").check()
    signed_in.get_by_label("Why").fill("the warehouse moves")
    signed_in.get_by_label("Why").press("Enter")
    expect(signed_in.get_by_text("(the warehouse moves)")).to_be_visible()
    assert Mute.objects.get().deployment_id == deployment.id
    deployment.refresh_from_db()
    assert not deployment.paused
    signed_in.get_by_role("button", name="Unmute").click()
    expect(signed_in.get_by_text("Mute notifications")).to_be_visible()
    assert not Mute.objects.exists()


def test_everything_works_without_scripts(site: Site, telling: Site, browser: object) -> None:
    context = browser.new_context(java_script_enabled=False)  # type: ignore[attr-defined]
    telling.sign_in(context)
    page = context.new_page()
    page.goto(telling.url + NEW)
    page.get_by_label("#data-alerts").check()
    page.get_by_label("Message", exact=True).fill("It is {{ flow_run.name }}")
    expect(page.get_by_role("button", name="Begin with the usual words")).to_be_hidden()
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#preview")).to_contain_text(re.compile(r"It is \w+-\w+"))
    page.get_by_role("button", name="Make the policy").click()
    expect(page.get_by_text("Saved. Send a test")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("is paused: it tells nobody.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("tells what happens from now on")).to_be_visible()
    assert Delivery.objects.filter(policy__message__startswith="It is").count() == 0
    context.close()
