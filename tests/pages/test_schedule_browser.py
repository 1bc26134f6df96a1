"""Setting a schedule in a few clicks, in a real browser: the year follows what is typed; axe finds nothing."""

import re
from datetime import timedelta
from typing import Any

from django.utils import timezone
from playwright.sync_api import Page, expect

from flows.models import Calendar, Schedule
from runs.live import announce
from runs.models import FlowRun
from tests.browser.looks import assert_looks_right
from tests.pages.conftest import Site

PATIENT = 30_000  # milliseconds: the first holidays of a country cost an import


def test_holidays_in_a_few_clicks_then_the_calendar(signed_in: Page, typical: Site) -> None:
    page, deployment = signed_in, typical.made["deployments"]["flights"]
    page.goto(f"{typical.url}/deployments/{deployment.id}/schedules/new/")
    preview = page.get_by_label("What it means")
    page.locator(".choice", has_text="Cron").click()
    page.locator("#cron").fill("0 8 1 * *")
    year = re.compile("1[12] runs on 1[12] days")
    expect(preview).to_contain_text(year, timeout=PATIENT)
    expect(page.locator("#preview-said")).to_contain_text(year, timeout=PATIENT)
    expect(page.get_by_label("Weekends are days off, too")).to_be_hidden()
    page.get_by_label("Days off", exact=True).select_option(label="France")
    page.get_by_label("Run on the next business day").check()
    expect(preview).to_contain_text("moved there", timeout=PATIENT)
    assert page.locator(".month td.moved").count() >= 2
    assert "moved there" in (page.locator(".month td.moved").first.get_attribute("title") or "")
    preview.get_by_text("The year in words").click()
    assert_looks_right(page, narrow=390)
    page.get_by_label("Time zone").fill("Europe/Nowhere")
    expect(preview).to_contain_text("no time zone", timeout=PATIENT)
    page.get_by_label("Time zone").fill("Europe/Paris")
    expect(preview).to_contain_text("moved there", timeout=PATIENT)
    page.get_by_role("button", name="Set the schedule").click()
    expect(page.get_by_text("on a day off on the next business day (fr-business-days)").first).to_be_visible()
    assert Schedule.objects.get(deployment=deployment, kind="cron").on_day_off == "next"

    page.goto(f"{typical.url}/calendars/{Calendar.objects.get().id}/")
    page.get_by_label("Holidays of").select_option(label="United States")
    expect(page.get_by_label("Part of the country").locator("option", has_text="California")).to_have_count(
        1, timeout=PATIENT
    )
    page.get_by_label("More days off").fill("2027-12-24 Long lunch")
    page.get_by_label("What is off").get_by_text("Long lunch").first.wait_for()
    assert_looks_right(page, narrow=390)


def test_backfill_is_followed_and_undone(signed_in: Page, typical: Site) -> None:
    page, deployment = signed_in, typical.made["deployments"]["exchange-rates"]
    page.goto(f"{typical.url}/deployments/{deployment.id}/backfill/")
    page.get_by_label("From").fill((timezone.now() - timedelta(hours=30)).strftime("%Y-%m-%dT%H:%M"))
    page.get_by_role("button", name="Show what it makes").click()
    assert_looks_right(page, narrow=390)
    page.get_by_role("button", name=re.compile("^Make ")).click()
    expect(page.get_by_role("heading", name="0 of ")).to_be_visible()
    expect(page.locator("[data-live-dot]")).to_have_text("live")
    assert_looks_right(page, narrow=390)
    first = FlowRun.objects.filter(trigger="backfill").earliest("expected_start")
    ended: dict[str, Any] = {"state_type": "COMPLETED", "state_name": "Completed", "attempt": 1}
    FlowRun.objects.filter(pk=first.pk).update(**ended, start_time=timezone.now(), end_time=timezone.now())
    announce([first.pk])
    expect(page.get_by_role("heading", name="1 of ")).to_be_visible()
    page.get_by_role("button", name="Cancel the ").click()
    expect(page.get_by_text("runs will not start")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel the ")).to_have_count(0)
    assert not FlowRun.objects.filter(trigger="backfill", state_type="SCHEDULED").exists()
