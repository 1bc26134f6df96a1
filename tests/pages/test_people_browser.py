"""Pages of people in a real browser: both themes, from 320 px up, without a finding of axe or of the site's policy."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from flows import webhooks
from flows.models import Deployment
from runs import actions
from teams import actions as people
from teams import members, shares
from teams.models import ApiToken, Team, User
from tests.browser.looks import assert_looks_right, found_by_axe
from tests.pages.conftest import Site

LONG = "somebody-of-the-department-for-data-quality-and-reporting-in-northern-europe"


def addresses(made: dict[str, Any]) -> list[str]:
    """The pages, of a team with people of long names."""
    team, boss = Team.default(), User.first_admin()
    deployment: Deployment = made["deployments"]["flights"]
    ann = people.create_user(LONG, team=team, email=f"{LONG[:60]}@example.com", user=boss)
    account = people.create_service_account(team, name="ci", role="operator", user=boss)
    members.invite(team, "viewer", email="zoe@example.com", user=boss)
    members.map_group(team, f"group-{LONG}", "viewer", user=boss)
    shares.share_with(deployment, members.create_team("others", user=boss), "run", user=boss)
    webhooks.create_webhook(deployment, user=boss)
    ApiToken.issue(name=LONG, user=boss, team=team, scope="read")
    home = f"/teams/{team.pk}/"
    return [
        "/teams/", home, *(f"{home}{page}/" for page in ("invite", "rename", "leave", "accounts/new")),
        f"{home}members/{ann.pk}/", f"{home}members/{ann.pk}/remove/", f"{home}accounts/{account.pk}/",
        "/tokens/", "/tokens/new/", "/audit/", "/shared/", f"/deployments/{deployment.pk}/shares/",
        f"/deployments/{deployment.pk}/webhook/", "/account/", "/account/password/first/", "/account/second-factor/",
        "/account/sessions/", "/preferences/", "/sign-in/new-password/",
    ]  # fmt: skip


@pytest.mark.looks
def test_axe_finds_nothing_and_nothing_overflows(signed_in: Page, typical: Site) -> None:
    for address in addresses(typical.made):
        signed_in.goto(typical.url + address)
        assert_looks_right(signed_in)


def test_who_saves_second_chooses_what_becomes_of_it(signed_in: Page, typical: Site) -> None:
    deployment = typical.made["deployments"]["flights"]
    page, address = signed_in, f"{typical.url}/deployments/{deployment.pk}/edit/"
    page.goto(address)
    page.get_by_label("Description").fill("mine")
    actions.update_deployment(deployment, description="theirs", user=User.first_admin())
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("It was changed while you had it open")
    expect(page.get_by_role("alert")).to_contain_text("theirs")
    assert not found_by_axe(page)

    page.get_by_role("link", name="Load it anew").click()
    expect(page.get_by_label("Description")).to_have_value("theirs")
    page.get_by_label("Description").fill("mine")
    actions.update_deployment(deployment, description="theirs again", user=User.first_admin())
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_label("Description")).to_have_value("mine")
    page.get_by_role("button", name="Save anyway").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert Deployment.objects.get(pk=deployment.pk).description == "mine"
