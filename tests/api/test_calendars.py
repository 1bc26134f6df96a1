"""Calendars, schedules that have them, and backfills over REST."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Calendar, Deployment
from runs.models import FlowRun
from tests.api.conftest import SCHEMA

FRANCE = {
    "name": "france",
    "country": "FR",
    "days_off": [{"date": "2027-05-07", "name": "Bridge day"}],
    "working_days": ["2027-05-08"],
}
HOURLY = {"kind": "cron", "expression": "0 * * * *"}


@pytest.fixture
def address(api: APIClient) -> str:
    said = {"flow": "etl", "name": "nightly", "entrypoint": "etl.py:etl", "parameter_schema": SCHEMA}
    made = api.post("/api/deployments/", {**said, "schedules": [HOURLY]})
    return f"/api/deployments/{made.data['id']}/"


def test_calendar_is_made_inspected_changed_and_deleted(api: APIClient) -> None:
    made = api.post("/api/calendars/", FRANCE)
    assert made.status_code == 201
    assert made.data["weekend"] == ["SA", "SU"]
    assert made.data["description"] == "off on Saturday, Sunday, holidays of FR, 1 more day off, 1 working day"
    one = f"/api/calendars/{made.data['id']}/"
    changed = api.patch(one, {"weekend": ["SU"], "days_off": []})
    assert (changed.data["weekend"], changed.data["days_off"], changed.data["country"]) == (["SU"], [], "FR")
    read = api.get(one)
    assert read.data == changed.data
    assert {day["name"] for day in read.data["special_days"]} >= {"Christmas Day", "New Year's Day"}
    assert [row["name"] for row in api.get("/api/calendars/?name=france").data["results"]] == ["france"]
    assert api.delete(one).status_code == 204
    assert api.get("/api/calendars/").data["results"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"country": "XX"}, "country"),
        ({"weekend": ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]}, "weekend"),
        ({"days_off": [{"date": "tomorrow"}]}, "days_off.0.date"),
        ({"colour": "red"}, "colour"),
        ({"name": ""}, "name"),
    ],
)
def test_mistakes_are_named(api: APIClient, change: dict[str, object], field: str) -> None:
    answer = api.post("/api/calendars/", {**FRANCE, **change})
    assert answer.status_code == 400
    assert answer.data["field"] == field


def test_calendar_in_use_is_kept_and_says_by_whom(api: APIClient, address: str) -> None:
    made = api.post("/api/calendars/", FRANCE)
    schedule = api.post(f"{address}schedules/", {**HOURLY, "calendar": "france", "on_day_off": "skip"})
    assert schedule.data["calendar"] == "france"
    assert schedule.data["description"] == "every hour, not on days off (france)"
    one = f"/api/calendars/{made.data['id']}/"
    assert api.get(one).data["used_by"] == ["etl/nightly"]
    refused = api.delete(one)
    assert refused.status_code >= 400
    assert "etl/nightly" in refused.data["message"]


def test_stranger_sees_and_uses_no_calendar_of_ours(api: APIClient, strange_api: APIClient, address: str) -> None:
    made = api.post("/api/calendars/", FRANCE)
    assert strange_api.get("/api/calendars/").data["results"] == []
    for verb in (strange_api.get, strange_api.delete):
        assert verb(f"/api/calendars/{made.data['id']}/").status_code == 404
    tried = strange_api.post("/api/schedules/preview/", {**HOURLY, "calendar": "france"})
    assert tried.data["field"] == "calendar"
    assert strange_api.post(f"{address}backfill/", {"start": "2026-01-01T00:00:00Z"}).status_code == 404


def test_preview_shows_next_times_and_a_year(api: APIClient) -> None:
    api.post("/api/calendars/", FRANCE)
    said = {"kind": "cron", "expression": "0 8 * * *", "calendar": "france", "on_day_off": "next"}
    short = api.post("/api/schedules/preview/", said)
    assert (len(short.data["next_times"]), short.data["year"]) == (5, None)
    long = api.post("/api/schedules/preview/", {**said, "count": 20, "year": True})
    assert len(long.data["next_times"]) == 20
    christmas = next(day for day in long.data["year"] if day["date"].endswith("-12-25"))
    assert (christmas["runs"], christmas["left_out"], christmas["day_off"]) == (0, 1, "Christmas Day")


def test_schedule_fields_are_kept_and_changed_one_by_one(api: APIClient, address: str) -> None:
    api.post("/api/calendars/", FRANCE)
    start = (timezone.now() + timedelta(days=1)).replace(microsecond=0)
    said = {**HOURLY, "starts_at": start.isoformat(), "catchup": "all", "catchup_seconds": 7200}
    made = api.post(f"{address}schedules/", said)
    assert made.data["catchup_seconds"] == 7200
    one = f"/api/schedules/{made.data['id']}/"
    changed = api.patch(one, {"calendar": "france"})
    assert (changed.data["calendar"], changed.data["catchup"]) == ("france", "all")
    assert changed.data["starts_at"] == made.data["starts_at"]
    assert api.patch(one, {"calendar": "", "starts_at": None}).data["starts_at"] is None
    assert api.patch(one, {"calendar": "spain"}).data["field"] == "calendar"


def test_list_of_deployments_reads_calendars_at_once(api: APIClient, address: str) -> None:
    api.post("/api/calendars/", FRANCE)
    with CaptureQueriesContext(connection) as before:
        api.get("/api/deployments/")
    for _ in range(3):
        api.post(f"{address}schedules/", {**HOURLY, "calendar": "france"})
    with CaptureQueriesContext(connection) as after:
        assert len(api.get("/api/deployments/").data["results"][0]["schedules"]) == 4
    assert len(after) == len(before)


def test_backfill_says_first_and_makes_once(api: APIClient, address: str) -> None:
    start = (timezone.now() - timedelta(hours=5)).isoformat()
    before = FlowRun.objects.count()
    dry = api.post(f"{address}backfill/", {"start": start, "dry_run": True})
    assert (dry.status_code, dry.data["count"], dry.data["flow_runs"]) == (200, 5, [])
    assert FlowRun.objects.count() == before
    made = api.post(f"{address}backfill/", {"start": start})
    assert (made.status_code, len(made.data["flow_runs"]), made.data["there"]) == (201, 5, 0)
    assert made.data["times"] == sorted(made.data["times"])
    run = api.get(f"/api/flow-runs/{made.data['flow_runs'][0]}/")
    assert (run.data["trigger"], run.data["scheduled_for"]) == ("backfill", made.data["times"][0])
    again = api.post(f"{address}backfill/", {"start": start})
    assert (again.status_code, again.data["count"], again.data["there"]) == (200, 0, 5)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-01-01T00:00:00Z", "end": "2999-01-01T00:00:00Z"}, "end"),
        ({"start": "2026-01-01T00:00:00Z", "schedule": "01999999-9999-7999-8999-999999999999"}, "schedule"),
    ],
)
def test_wrong_window_is_named(api: APIClient, address: str, said: dict[str, str], field: str) -> None:
    answer = api.post(f"{address}backfill/", said)
    assert answer.status_code >= 400
    assert answer.data["field"] == field


def test_backfill_checks_what_its_runs_would_lack(api: APIClient) -> None:
    schema = {**SCHEMA, "required": ["day"]}
    made = api.post("/api/deployments/", {"flow": "f", "name": "d", "entrypoint": "f.py:f", "parameter_schema": schema})
    api.post(f"/api/deployments/{made.data['id']}/schedules/", {**HOURLY, "active": False})
    answer = api.post(f"/api/deployments/{made.data['id']}/backfill/", {"start": "2026-01-01T00:00:00Z"})
    assert answer.data["field"] == "parameters.day"
    assert not Deployment.objects.get().runs.exists()
    assert not Calendar.objects.exists()


def test_days_off_can_be_asked_for_without_a_calendar(api: APIClient, address: str) -> None:
    wanted = {**HOURLY, "holidays": "FR", "skip_weekends": True}
    tried = api.post("/api/schedules/preview/", wanted)
    assert tried.data["description"] == "every hour, not on days off (fr-business-days)"
    assert not Calendar.objects.exists()
    assert api.post(f"{address}schedules/", {**wanted, "expression": "99 * * * *"}).status_code == 400
    assert not Calendar.objects.exists(), "a schedule that was refused leaves none behind"
    assert api.post(f"{address}schedules/", wanted).data["calendar"] == "fr-business-days"
    calendar = Calendar.objects.get()
    assert (calendar.country, calendar.weekend) == ("FR", ["SA", "SU"])
    api.patch(f"/api/calendars/{calendar.id}/", {"days_off": [{"date": "2027-05-07", "name": "Bridge day"}]})
    said = {"flow": "etl", "name": "daily", "entrypoint": "etl.py:etl", "schedules": [wanted]}
    assert api.post("/api/deployments/", said).data["schedules"][0]["calendar"] == "fr-business-days"
    assert api.post("/api/deployments/", said).data["changes"] == {}
    assert Calendar.objects.count() == 1, "the same one, with what its team added"
    [schedule] = api.put(f"{address}schedules/", [{**HOURLY, "skip_weekends": True}]).data
    assert schedule["calendar"] == "weekends"
    one = f"/api/schedules/{schedule['id']}/"
    assert api.patch(one, {"holidays": "us-ca"}).data["calendar"] == "us-ca-holidays"
    assert api.patch(one, {"holidays": "FR", "calendar": "weekends"}).data["field"] == "calendar"
    assert api.patch(one, {"holidays": "Utopia"}).data["field"] == "holidays"
    Calendar.objects.filter(name="weekends").update(country="DE")
    assert "other days off" in api.patch(one, {"skip_weekends": True}).data["message"]
