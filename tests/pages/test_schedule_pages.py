"""The schedule editor, the pages of calendars, and backfills: what they show, keep and refuse."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from flows.models import Calendar, Schedule
from runs import actions
from runs.models import FlowRun
from teams.models import Membership, Team, User
from tests.pages import sample

WEEKDAYS = "kind=weekly&days=MO&days=TU&days=WE&days=TH&days=FR&time=08:00&timezone=Europe/Paris"


@pytest.fixture
def made(db: None) -> dict[str, Any]:
    return sample.typical()


def text(response: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def test_a_schedule_is_made_with_holidays_parameters_and_everything_else(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    answer = reader.post(
        f"/deployments/{deployment.id}/schedules/new/",
        {
            "kind": "cron", "cron": "0 8 * * *", "timezone": "Europe/Paris", "calendar": "country/FR",
            "skip_weekends": "on", "on_day_off": "next", "catchup": "all", "oldest": "2", "oldest_unit": "hours",
            "starts_at": "2027-01-04T08:00", "ends_at": "2037-06-30T23:59:59", "active": "off",
            "parameter.table": "carriers",
        },
    )  # fmt: skip
    assert answer.status_code == 302
    schedule = Schedule.objects.get(deployment=deployment, kind="cron")
    assert schedule.calendar.name == "fr-business-days"
    assert (schedule.on_day_off, schedule.catchup, schedule.catchup_seconds) == ("next", "all", 7200)
    assert (schedule.parameters, schedule.active) == ({"table": "carriers"}, False)
    assert schedule.starts_at.isoformat() == "2027-01-04T07:00:00+00:00"
    editor = reader.get(f"/schedules/{schedule.id}/").content.decode()
    for there in ('value="fr-business-days" selected', 'value="carriers"', 'value="2037-06-30T23:59:59"'):
        assert there in editor
    same = {
        "kind": "cron", "cron": "0 9 * * *", "timezone": "Europe/Paris", "calendar": "fr-business-days",
        "on_day_off": "next", "catchup": "all", "active": "on",
    }  # fmt: skip
    assert reader.post(f"/schedules/{schedule.id}/", same).status_code == 302
    schedule.refresh_from_db()
    assert (schedule.active, schedule.catchup_seconds, schedule.ends_at, schedule.parameters) == (True, None, None, {})
    assert Calendar.objects.count() == 1


def test_what_is_wrong_is_said_and_what_was_typed_stays(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    before = Schedule.objects.count()
    typed = {"kind": "cron", "cron": "99 8 * * *", "calendar": "country/FR", "parameter.year": "soon"}
    answer = reader.post(f"/deployments/{deployment.id}/schedules/new/", typed)
    assert answer.status_code == 422
    assert "99 8 * * *" in answer.content.decode()
    assert 'value="country/FR" selected' in answer.content.decode()
    assert Schedule.objects.count() == before
    answer = reader.post(f"/deployments/{deployment.id}/schedules/new/", {**typed, "parameter.year": "2013"})
    assert "The minute “99” cannot be read" in text(answer)
    assert not Calendar.objects.exists(), "a schedule that was refused leaves no calendar behind"


def test_preview_shows_the_year_both_clocks_and_what_daylight_saving_does(reader: Client, made: dict[str, Any]) -> None:
    reader.cookies["timezone"] = "America/New_York"
    shown = reader.get(f"/schedules/preview/?{WEEKDAYS}&calendar=country/FR&skip_weekends=on&on_day_off=next")
    said = text(shown)
    assert "for you" in said
    assert "For you (America/New_York) it runs at" in said
    assert "Europe/Paris goes from 02:00 on to 03:00" in said
    assert "day off (" in shown.content.decode()
    first = reader.get("/schedules/preview/?kind=cron&cron=0+8+1+*+*&calendar=country/FR&on_day_off=next")
    assert "moved there" in text(first)  # 1 May and 1 January
    assert shown.content.decode().count("<caption>") == 12
    night = text(reader.get("/schedules/preview/?kind=cron&cron=30+2+*+*+*&timezone=Europe/Paris"))
    assert "02:30 does not come that day: it runs at 03:00 instead." in night
    assert "02:30 comes twice that day: it runs once." in night


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("kind=interval&every=5&unit=minutes", "99+"),
        ("kind=rrule&rrule=FREQ=DAILY;UNTIL=20200101T000000Z", "no time to come"),
        ("kind=cron&cron=0+8+*+*+*&calendar=nothing", "There is no calendar “nothing”"),
        ("kind=cron&cron=0+8+*+*+*&calendar=country/QQ", "no country whose holidays are known"),
        ("kind=cron&cron=*/5+*+*+*+*&calendar=country/FR&on_day_off=next", "too often to be moved"),
        ("kind=cron&cron=0+8+*+*+*&ends_at=2020-01-01T00:00", "It ends before its first time"),
    ],
)
def test_preview_of_the_overfull_and_the_wrong(reader: Client, query: str, said: str) -> None:
    assert said in text(reader.get(f"/schedules/preview/?{query}&timezone=UTC"))


def test_calendar_is_made_changed_used_and_deleted(reader: Client, made: dict[str, Any]) -> None:
    assert "No calendars yet" in text(reader.get("/calendars/"))
    typed = {
        "name": "office", "weekend": ["SA", "SU"], "country": "US", "subdivision": "CA",
        "days_off": "2027-12-24 Christmas Eve\n\n2027-12-31", "working_days": "2027-02-06",
    }  # fmt: skip
    tried = text(reader.post("/calendars/preview/", typed))
    assert "Fri 24 Dec Christmas Eve" in tried
    assert "business days" in tried
    assert not Calendar.objects.exists()
    assert reader.post("/calendars/new/", typed).status_code == 302
    calendar = Calendar.objects.get()
    assert calendar.days_off == [
        {"date": "2027-12-24", "name": "Christmas Eve"}, {"date": "2027-12-31", "name": "day off"},
    ]  # fmt: skip
    page = f"/calendars/{calendar.id}/"
    assert "2027-12-24 Christmas Eve" in reader.get(page).content.decode()
    deployment = made["deployments"]["flights"]
    schedule = deployment.schedules.get()
    actions.change_schedule(schedule, calendar="office")
    assert "flights / nightly" in text(reader.get(page))
    assert "1 schedule" in text(reader.get("/calendars/"))
    refused = reader.post(f"{page}delete/", follow=True)
    assert "is used by the schedules of flights/nightly" in text(refused)
    assert reader.post(page, {**typed, "name": "büro", "weekend": ["SU"]}).status_code == 302
    calendar.refresh_from_db()
    assert (calendar.name, calendar.weekend) == ("büro", ["SU"])
    for field, value, said in (
        ("days_off", "tomorrow", "“tomorrow” is no date"),
        ("weekend", ["MO", "TU", "WE", "TH", "FR", "SA", "SU"], "All seven days would be off"),
        ("country", "QQ", "no country"),
        ("name", "", "Write a name"),
    ):
        answer = reader.post(page, {**typed, field: value})
        assert answer.status_code == 422, field
        assert said in text(answer), field
    actions.change_schedule(schedule, calendar="")
    assert reader.post(f"{page}delete/").status_code == 302
    assert not Calendar.objects.exists()


def test_backfill_shows_first_then_makes_follows_and_undoes(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["exchange-rates"]
    now = timezone.now()
    start = timezone.localtime(now - timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%S")
    address = f"/deployments/{deployment.id}/backfill/"
    assert "to make" not in text(reader.get(address))
    said = text(reader.get(address, {"from": start}))
    number = int(re.search(r"(\d+) runs? to make", said).group(1))  # type: ignore[union-attr]
    assert number in (4, 5)
    assert not FlowRun.objects.filter(trigger="backfill").exists()
    answer = reader.post(address, {"from": start})
    assert answer.status_code == 302
    assert FlowRun.objects.filter(trigger="backfill").count() == number
    page = answer.url
    assert f"0 of {number} runs ended" in text(reader.get(page))
    assert f"{number} runs not begun" in text(reader.get(address))
    again = text(reader.get(address, {"from": start}))
    assert "Nothing to make" in again
    assert f"{number} times have their run already: skipped" in again
    first = FlowRun.objects.filter(trigger="backfill").earliest("expected_start")
    FlowRun.objects.filter(pk=first.pk).update(state_type="RUNNING", state_name="Running", attempt=1)
    assert f"Cancel the {number - 1} that have not begun" in text(reader.get(page))
    reader.post(f"{page}undo/")
    assert FlowRun.objects.filter(state_name="Skipped", trigger="backfill").count() == number - 1
    assert f"{number - 1} runs to make" in text(reader.get(address, {"from": start})), "undone is as if not asked for"


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"from": "soon"}, "Write a date and time"),
        ({"from": "2026-11-01T08:00", "to": "2999-01-01T00:00"}, "cannot end later than now"),
        ({"from": "2026-11-08T08:00", "to": "2026-11-01T00:00"}, "It begins after its end"),
        ({"from": "0001-01-01T00:00"}, "Write a time from 1970 on"),
        ({"from": "2026-11-01T08:00", "schedule": "x"}, "no such schedule"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    reader: Client, made: dict[str, Any], window: dict[str, str], said: str
) -> None:
    address = f"/deployments/{made['deployments']['flights'].id}/backfill/"
    assert said in text(reader.get(address, window))
    assert reader.post(address, window).status_code == 422


def test_nothing_of_it_is_shown_to_other_teams(reader: Client, made: dict[str, Any]) -> None:
    reader.post("/calendars/new/", {"name": "ours", "weekend": "SU"})
    calendar, deployment = Calendar.objects.get(), made["deployments"]["flights"]
    stranger = User.objects.create_user("stranger", password="x")
    Membership.objects.create(user=stranger, team=Team.objects.create(name="other"))
    client = Client(headers={"host": "localhost"})
    client.force_login(stranger)
    assert "ours" not in client.get("/calendars/").content.decode()
    tried = client.get(f"/schedules/preview/?{WEEKDAYS}&calendar=ours&deployment={deployment.id}")
    assert "There is no calendar “ours”" in text(tried)
    for address in (
        f"/calendars/{calendar.id}/", f"/calendars/{calendar.id}/delete/", f"/deployments/{deployment.id}/backfill/",
        f"/deployments/{deployment.id}/backfills/backfill-12345678/",
    ):  # fmt: skip
        assert client.get(address).status_code == 404, address
    assert client.post(f"/deployments/{deployment.id}/backfills/backfill-12345678/undo/").status_code == 404
