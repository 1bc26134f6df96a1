"""Calendars, schedules and backfills on the command line, against the embedded database."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import click
import pytest

from orchestrator.cli.specs import complete, moment
from tests.cli.conftest import Cli, ScriptWriter

FLOW = """
from orchestrator import flow

@flow
def etl(limit: int = 1):
    pass
"""
SCHEDULE = ("deployment", "schedule")


@pytest.fixture
def nightly(local: Cli, write: ScriptWriter) -> Cli:
    write("etl.py", FLOW)
    local("deploy", "etl.py:etl", "--name", "nightly", "--cron", "0 * * * *", "--timezone", "Europe/Paris")
    return local


def test_calendar_is_made_used_changed_and_deleted(nightly: Cli) -> None:
    made = nightly(
        "calendar", "create", "france", "--country", "France",
        "--day-off", "2027-05-07=Bridge day", "--day-off", "2099-05-07=Far away",
    )  # fmt: skip
    assert "off on Saturday, Sunday, holidays of FR, 2 more days off" in made.stdout
    (listed,) = nightly.json("calendar", "ls")
    assert (listed["name"], listed["country"]) == ("france", "FR")

    (schedule,) = nightly.json(*SCHEDULE, "set", "etl/nightly", "--calendar", "france", "--on-day-off", "next")
    assert (schedule["calendar"], schedule["on_day_off"], schedule["expression"]) == ("france", "next", "0 * * * *")
    shown = nightly("calendar", "inspect", "fra").stdout
    assert "Bridge day" in shown
    assert "Far away" in shown
    assert "etl/nightly" in shown

    changed = nightly.json("calendar", "set", "france", "--working-day", "2027-05-08", "--remove", "2027-05-07")
    assert [day["name"] for day in changed["days_off"]] == ["Far away"]
    assert changed["working_days"] == ["2027-05-08"]
    assert "used by the schedules of etl/nightly" in nightly("calendar", "delete", "france", "--yes", code=1).stderr
    nightly(*SCHEDULE, "set", "etl/nightly", "--calendar", "")
    nightly("calendar", "delete", "france", "--yes")
    assert nightly.json("calendar", "ls") == []
    assert "country" in nightly("calendar", "create", "x", "--country", "Utopia", code=1).stderr


def test_setting_a_deployment_says_what_was_set(nightly: Cli) -> None:
    def said(*options: str) -> str:
        return str(nightly("deployment", "set", "etl/nightly", *options).stdout)

    assert "after a crash runs again, 3 times at most" in said("--crash-retries", "3")
    assert "after a crash not run again" in said("--crash-retries", "0")
    assert "executes in in-worker" in said("--isolation", "worker")
    assert "executes in process" in said("--isolation", "process")
    assert "executes in in-worker" in said("--infra", "in-worker")
    assert "executes in process" in said("--infrastructure", "process")
    assert "tasks on processes:2" in said("--task-runner", "processes:2")
    assert "tasks where the code says" in said("--task-runner", "")
    assert "1 at once; one more waits" in said("--limit", "1")
    assert "no limit" in said("--limit", "none")
    assert said("--description", "x") == "Changed etl/nightly: queue default.\n"


def test_schedules_are_added_numbered_changed_and_deleted(nightly: Cli) -> None:
    added = nightly.json(
        *SCHEDULE, "add", "etl/nightly", "--weekly", "SUN 20:00", "--timezone", "Europe/Paris", "--param", "limit=5",
        "--start", "2027-01-04", "--end", "2027-06-30", "--catchup", "all", "--not-older-than", "2h",
    )  # fmt: skip
    assert (added["parameters"], added["catchup_seconds"]) == ({"limit": 5}, 7200)
    assert datetime.fromisoformat(added["starts_at"]) == datetime(2027, 1, 4, tzinfo=ZoneInfo("Europe/Paris"))
    assert datetime.fromisoformat(added["ends_at"]).astimezone(ZoneInfo("Europe/Paris")).hour == 23

    listed = nightly(*SCHEDULE, "ls", "etl/nightly").stdout
    assert "1. every hour" in listed
    assert "2. every week on Sunday at 20:00" in listed
    assert "  with limit=5" in listed
    assert "say which" in nightly(*SCHEDULE, "set", "etl/nightly", "--off", code=1).stderr
    schedules = nightly.json(*SCHEDULE, "set", "etl/nightly", "2", "--off", "--not-older-than", "")
    assert [one["active"] for one in schedules] == [True, False]
    assert schedules[1]["catchup_seconds"] is None
    assert "every week on Sunday" in nightly(*SCHEDULE, "delete", "etl/nightly", "2").stdout
    assert len(nightly.json(*SCHEDULE, "ls", "etl/nightly")) == 1


def test_preview_saves_nothing_and_prints_a_year(nightly: Cli) -> None:
    nightly("calendar", "create", "france", "--country", "FR")
    year = nightly(
        *SCHEDULE, "preview", "--cron", "0 8 * * *", "--calendar", "france", "--on-day-off", "previous", "--year"
    ).stdout
    assert "Christmas Day" in year
    assert max(map(len, year.splitlines())) <= 90
    assert "Mo  Tu  We  Th  Fr  Sa  Su" in year
    changed = nightly.json(*SCHEDULE, "preview", "etl/nightly", "--calendar", "france", "--count", "30")
    assert len(changed["next_times"]) == 30
    assert "not on days off (france)" in changed["description"]
    assert nightly.json(*SCHEDULE, "ls", "etl/nightly")[0]["calendar"] == ""
    assert "Say when" in nightly(*SCHEDULE, "preview", code=2).stderr


def test_backfill_says_first_then_makes_once(nightly: Cli) -> None:
    start = (datetime.now().astimezone() - timedelta(hours=5)).isoformat(timespec="seconds")
    window = ("deployment", "backfill", "etl/nightly", "--from", start)
    assert nightly.json(*window, "--dry-run")["count"] == 5
    assert "Say --yes" in nightly(*window, code=2).stderr
    assert "Made 5 runs of etl/nightly, tagged backfill-" in nightly(*window, "--yes").stdout
    again = nightly(*window, "--yes").stdout
    assert "0 runs to make; 5 times have their run already" in again
    future = nightly("deployment", "backfill", "etl/nightly", "--from", "2026-01-01", "--to", "2999-01-01", code=1)
    assert "cannot end later than now" in future.stderr


def test_deploy_takes_a_calendar(nightly: Cli) -> None:
    nightly("calendar", "create", "office")
    made = nightly.json(
        "deploy",
        "etl.py:etl",
        "--name",
        "daily",
        "--cron",
        "@daily",
        "--calendar",
        "office",
        "--on-day-off",
        "previous",
    )
    assert made["schedules"][0]["calendar"] == "office"
    assert "Say when" in nightly("deploy", "etl.py:etl", "--name", "x", "--calendar", "office", code=2).stderr


def test_times_are_read_on_the_clock_that_is_meant() -> None:
    paris = ZoneInfo("Europe/Paris")
    assert moment("2027-01-04", "--start", paris) == datetime(2027, 1, 4, tzinfo=paris)
    assert moment("2027-01-04", "--end", paris, ends=True) == datetime(2027, 1, 4, 23, 59, 59, tzinfo=paris)
    assert moment("2027-01-04T08:00+02:00", "--end", paris, ends=True).isoformat() == "2027-01-04T08:00:00+02:00"
    assert complete({"starts_at": "2027-07-04", "timezone": "Europe/Paris"})["starts_at"].endswith("+02:00")
    assert complete({"starts_at": ""}, "Europe/Paris") == {"starts_at": None}
    with pytest.raises(click.UsageError, match="--from 'soon'"):
        moment("soon", "--from", None)


def test_holidays_and_weekends_are_left_out_in_one_command(nightly: Cli) -> None:
    one = ("--cron", "0 8 * * *", "--timezone", "Europe/Paris", "--holidays", "France", "--skip-weekends")
    added = nightly.json(*SCHEDULE, "add", "etl/nightly", *one)
    assert (added["calendar"], added["on_day_off"]) == ("fr-business-days", "skip")
    assert added["description"].endswith("not on days off (fr-business-days)")
    changed = nightly.json(*SCHEDULE, "set", "etl/nightly", "1", "--holidays", "US-CA")[0]
    assert (changed["calendar"], changed["expression"]) == ("us-ca-holidays", "0 * * * *")
    tried = nightly.json(*SCHEDULE, "preview", "etl/nightly", "1", "--skip-weekends")
    assert tried["description"].endswith("(weekends)")
    bad = nightly(*SCHEDULE, "add", "etl/nightly", "--cron", "0 8 * * *", "--holidays", "Utopia", code=1).stderr
    assert "no country whose holidays are known" in bad
    both = nightly(*SCHEDULE, "set", "etl/nightly", "1", "--holidays", "FR", "--calendar", "weekends", code=2).stderr
    assert "not both" in both
