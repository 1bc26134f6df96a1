"""Pages in a real browser: live, in both themes, from 320 px up, by keyboard, and without a finding of axe."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from flows.models import Schedule
from orchestrator.sdk.ids import uuid7
from runs.live import announce
from runs.models import ConcurrencyLimit, FlowRun, Slot
from teams.models import SignInLink, User
from tests.browser.looks import assert_fits, assert_looks_right, found_by_axe
from tests.pages import sample
from tests.pages.conftest import Site


def addresses(made: dict[str, Any]) -> list[str]:
    deployment = made["deployments"]["flights"].id
    schedule = Schedule.objects.filter(deployment=deployment).first()
    return [
        "/", "/runs/", "/runs/?tab=upcoming", "/runs/?q=none", "/flows/", "/deployments/", "/preferences/", "/nothing/",
        f"/runs/{made['running'].id}/", f"/runs/{made['failed'].id}/",
        *(f"/runs/{made['completed'].id}/?tab={tab}" for tab in ("tasks", "parameters", "attempts")),
        f"/flows/{made['flows']['flights'].id}/", f"/deployments/{deployment}/",
        *(f"/deployments/{deployment}/{page}/" for page in ("run", "edit", "duplicate", "delete", "schedules/new")),
        f"/deployments/{deployment}/backfill/",
        f"/schedules/{schedule.id}/", f"/deployments/{deployment}/backfill/?from=2026-11-01T00:00",
        f"/deployments/{deployment}/backfills/backfill-12345678/", "/calendars/", "/calendars/new/",
    ]  # fmt: skip


def open_page(page: Page, site: Site, address: str) -> None:
    page.goto(site.url + address)
    if page.locator("[data-live-dot]").count():
        expect(page.locator("[data-live-dot]")).to_have_text("live")


def change(run: FlowRun, **values: Any) -> None:
    FlowRun.objects.filter(id=run.id).update(**values)
    announce([run.id])


@pytest.mark.looks
def test_axe_finds_nothing_and_nothing_overflows(signed_in: Page, typical: Site) -> None:
    for address in addresses(typical.made):
        open_page(signed_in, typical, address)
        assert_looks_right(signed_in)


def limit_address(run: FlowRun) -> str:
    """The page of a limit with a long tag, on which task runs with long names hold slots and wait."""
    limit, now = ConcurrencyLimit.objects.create(team=run.team, tag="database_" * 22, limit=1), timezone.now()
    for granted in (now, None, None):
        Slot.objects.create(
            limit=limit, flow_run=run, task_run=uuid7(), task_name="load_" * 40, asked_at=now, granted_at=granted
        )
    return f"/concurrency-limits/{limit.id}/"


def overfull_addresses() -> list[str]:
    """Pages with as much, and as long, as may be."""
    made = sample.overfull()
    big, broken = made["big"].id, made["broken"].id
    pages = ["/", "/runs/", "/flows/", f"/flows/{made['big'].flow_id}/", f"/runs/{big}/", f"/runs/{big}/?tab=tasks"]
    pages += ["/runs/all/delete/", limit_address(made["big"])]
    return [*pages, f"/runs/{broken}/", f"/runs/{broken}/?tab=parameters"]


@pytest.mark.looks
def test_overfull_pages_fit(signed_in: Page, site: Site) -> None:
    for address in overfull_addresses():
        open_page(signed_in, site, address)
        assert_fits(signed_in, 1280, 320)


def test_sign_in_pages(page: Page, site: Site) -> None:
    page.goto(site.url + "/sign-in/")
    assert not found_by_axe(page)
    code = SignInLink.issue(User.first_admin())
    page.goto(f"{site.url}/sign-in/{code}/")
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.get_by_label(re.compile("^Account")).click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{site.url}/sign-in/{code}/")
    expect(page.get_by_text("orchestrator server url")).to_be_visible()
    assert not found_by_axe(page)


def test_run_page_follows_the_run_and_ends_as_a_fresh_page(signed_in: Page, typical: Site) -> None:
    run, page = typical.made["running"], signed_in
    open_page(page, typical, f"/runs/{run.id}/")
    cancel = page.get_by_role("button", name="Cancel")
    cancel.focus()
    sample.make_logs(run, [(60, 20, "publish", "A line that was not there before")])
    announce([run.id])
    expect(page.get_by_text("A line that was not there before")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    now = timezone.now()
    run.task_runs.filter(state_type="RUNNING").update(state_type="COMPLETED", state_name="Completed", end_time=now)
    change(run, state_type="COMPLETED", state_name="Completed", end_time=now, revision=2)
    expect(page.locator("h1 + p .state")).to_have_text("Completed")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    expect(cancel).to_have_count(0)

    def content() -> list[str]:
        """The page's tags and texts as they are, but for what a reader did to them."""
        html: str = page.locator("#main").evaluate(
            """main => {
              const copy = main.cloneNode(true);
              for (const node of copy.querySelectorAll("[data-live-dot], [data-follow]")) node.remove();
              for (const node of copy.querySelectorAll("[class='']")) node.removeAttribute("class");
              return copy.innerHTML;
            }"""
        )
        return [part.strip() for part in re.split(r"<", re.sub(r"\s+", " ", html))]

    followed = content()
    open_page(page, typical, f"/runs/{run.id}/")
    assert followed == content()


def test_new_rows_wait_while_someone_reads(signed_in: Page, typical: Site) -> None:
    page = signed_in
    open_page(page, typical, "/runs/")
    first = page.locator("[data-list] > li").first
    first.hover()
    new = [sample.make_run(typical.made["flows"]["new-thing"], timezone.now(), None, "RUNNING") for _ in range(3)]
    change(typical.made["running"], name="renamed-meanwhile")
    announce([run.id for run in new])
    button = page.get_by_role("button", name="3 new")
    expect(button).to_be_visible()
    expect(page.get_by_text("renamed-meanwhile")).to_be_visible()
    assert page.locator(f"[data-key='{new[0].id}']").count() == 0
    button.click()
    for run in new:
        expect(page.locator(f"[data-key='{run.id}']")).to_be_visible()
    expect(button).to_have_count(0)


def test_new_rows_come_by_themselves_when_nobody_reads(signed_in: Page, typical: Site) -> None:
    page = signed_in
    open_page(page, typical, "/runs/")
    page.mouse.move(1, 1)
    run = sample.make_run(typical.made["flows"]["new-thing"], timezone.now(), None, "RUNNING")
    announce([run.id])
    expect(page.locator(f"[data-key='{run.id}']")).to_be_visible()


def test_page_connects_again_and_catches_up(signed_in: Page, typical: Site) -> None:
    run, page = typical.made["running"], signed_in
    page.add_init_script(
        "const Real = WebSocket; window.sockets = [];"
        "window.WebSocket = class extends Real { constructor(...all) { super(...all); window.sockets.push(this); } };"
    )
    open_page(page, typical, f"/runs/{run.id}/")
    page.evaluate("window.sockets.at(-1).close()")
    expect(page.locator("[data-live-dot]")).to_have_text("reconnecting")
    sample.make_logs(run, [(61, 20, "publish", "Written while nobody listened")])
    expect(page.locator("[data-live-dot]")).to_have_text("live")
    expect(page.get_by_text("Written while nobody listened")).to_be_visible()


def test_timeline_opens_a_group_and_stays_open(signed_in: Page, typical: Site) -> None:
    run, page = typical.made["running"], signed_in
    open_page(page, typical, f"/runs/{run.id}/")
    page.get_by_role("link", name=re.compile("delays_by_carrier ×16")).click()
    expect(page.get_by_text("delays_by_carrier-15")).to_be_visible()
    expect(page.locator("[data-live-dot]")).to_have_text("live")
    change(run, name="still-open")
    expect(page.get_by_role("heading", name="still-open")).to_be_visible()
    expect(page.get_by_text("delays_by_carrier-15")).to_be_visible()
    page.get_by_role("link", name="Parameters").click()
    expect(page.get_by_role("heading", name="Parameters")).to_be_visible()


def test_log_filter_and_older_lines(signed_in: Page, typical: Site) -> None:
    page = signed_in
    run = sample.make_run(typical.made["flows"]["flights"], timezone.now() - timedelta(minutes=9), None, "RUNNING")
    sample.make_logs(run, ((n * 0.01, 40 if n % 100 == 0 else 20, "x", f"line {n}.") for n in range(700)))
    open_page(page, typical, f"/runs/{run.id}/")
    expect(page.get_by_text("last 300 lines")).to_be_visible()
    assert page.locator("#log").evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 40
    page.get_by_role("button", name="Older lines").click()
    expect(page.get_by_text("last 600 lines")).to_be_visible()
    page.get_by_role("radio", name="Error").check()
    expect(page.locator("#log > li")).to_have_count(7)
    expect(page.locator("[data-live-dot]")).to_have_text("live")
    sample.make_logs(run, [(80, 20, "x", "not an error"), (81, 40, "x", "an error at last")])
    announce([run.id])
    expect(page.get_by_text("an error at last")).to_be_visible()
    assert page.get_by_text("not an error").count() == 0


@pytest.mark.looks
def test_keyboard(signed_in: Page, typical: Site) -> None:
    page = signed_in
    open_page(page, typical, "/runs/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("amber")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=amber"))


@pytest.mark.looks
def test_theme_is_switched_and_kept(signed_in: Page, typical: Site) -> None:
    page = signed_in
    page.emulate_media(color_scheme="light")
    open_page(page, typical, "/")
    page.get_by_label(re.compile("^Account")).click()
    page.get_by_role("button", name="Dark or light").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 20, 22)"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_schedule_is_previewed_as_it_is_typed(signed_in: Page, typical: Site) -> None:
    page = signed_in
    page.goto(f"{typical.url}/deployments/{typical.made['deployments']['flights'].id}/schedules/new/")
    expect(page.locator("#preview")).to_contain_text("Every week on Monday at 08:00")
    page.get_by_role("checkbox", name="Wed").check()
    expect(page.locator("#preview")).to_contain_text("Monday and Wednesday")
    page.get_by_role("radio", name="Cron").check()
    page.get_by_role("textbox", name="Cron").fill("*/15 * * * *")
    expect(page.locator("#preview")).to_contain_text("15 minutes")
    page.get_by_role("textbox", name="Cron").fill("often")
    expect(page.locator("#preview .wrong")).to_be_visible()
    page.get_by_role("radio", name="Days of the week").check()
    page.get_by_role("button", name="Set the schedule").click()
    expect(page.get_by_text("Every week on Monday and Wednesday at 08:00", exact=False).last).to_be_visible()


def test_times_are_in_the_browser_s_zone_at_once(signed_in: Page, typical: Site) -> None:
    browser = signed_in.context.browser
    assert browser is not None
    context = browser.new_context(timezone_id="Asia/Tokyo")
    typical.sign_in(context)
    page = context.new_page()
    page.goto(f"{typical.url}/runs/{typical.made['completed'].id}/")
    expect(page.locator("h1 + p time").first).to_have_attribute("title", re.compile("Asia/Tokyo"))
    context.close()
