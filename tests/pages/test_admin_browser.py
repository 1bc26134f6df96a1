"""The administration in a real browser, under the content policy that the site sends with it."""

import re

import pytest
from playwright.sync_api import Page, expect

from flows.models import Deployment
from tests.pages.conftest import Site

NARROW = {"width": 390, "height": 850}


def act(page: Page, action: str) -> None:
    """Choose the first row of a list and what is done to it."""
    page.locator("#result_list tbody input.action-select").first.check()
    page.locator("select[name=action]").select_option(action)
    page.get_by_role("button", name="Run", exact=True).click()


def test_rows_are_chosen_and_danger_is_asked_for_first(typical: Site, signed_in: Page) -> None:
    page, count = signed_in, Deployment.objects.count()
    page.goto(f"{typical.url}/admin/flows/deployment/")
    act(page, "pause")
    expect(page.locator("body")).to_contain_text("1 deployment is paused.")
    act(page, "delete")
    expect(page.get_by_role("heading", name="Delete: 1 deployment")).to_be_visible()
    assert Deployment.objects.count() == count
    page.get_by_role("link", name="Back", exact=True).click()
    expect(page).to_have_url(re.compile("/admin/flows/deployment/$"))
    act(page, "delete")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("body")).to_contain_text("1 deployment is deleted.")
    assert Deployment.objects.count() == count - 1


def test_the_site_and_the_administration_lead_to_each_other(typical: Site, signed_in: Page) -> None:
    page = signed_in
    page.goto(f"{typical.url}/admin/")
    page.get_by_role("link", name="Deployments").first.click()
    page.get_by_role("link", name="Page", exact=True).first.click()
    expect(page).to_have_url(re.compile("/deployments/"))
    page.goto(f"{typical.url}/admin/")
    page.get_by_role("link", name="Back to the site").click()
    expect(page).to_have_url(f"{typical.url}/")


@pytest.mark.looks
@pytest.mark.parametrize(
    "path",
    ["", "flows/deployment/", "flows/schedule/add/", "notifications/policy/add/", "runs/flowrun/", "teams/user/add/"],
)
def test_nothing_is_wider_than_a_phone(typical: Site, signed_in: Page, path: str) -> None:
    refused: list[str] = []
    signed_in.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
    signed_in.set_viewport_size(NARROW)
    signed_in.goto(f"{typical.url}/admin/{path}")
    assert signed_in.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert not refused
