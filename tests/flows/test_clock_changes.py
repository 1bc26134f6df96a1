"""What is said of a schedule where clocks change is what its times do."""

from datetime import UTC, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.calendars import BusinessCalendar
from flows.clock_changes import ClockChange, clock_changes
from flows.schedules import Spec

NOW = datetime(2026, 11, 29, 8, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


def said(spec: Spec, reader: str = "Europe/Paris") -> list[ClockChange]:
    return clock_changes(spec, ZoneInfo(reader), NOW)


@pytest.mark.parametrize(
    ("kind", "expression", "zone", "forward", "back"),
    [
        ("cron", "0 8 * * *", "Europe/Paris", "no time in what is left out", "no time in what comes twice"),
        ("cron", "30 2 * * *", "Europe/Paris", "02:30 does not come that day: it runs at 03:00 instead.",
         "02:30 comes twice that day: it runs once."),
        ("weekly", "SU 02:15", "Europe/Paris", "02:15 does not come that day: it runs at 03:00 instead.",
         "02:15 comes twice that day: it runs once."),
        ("cron", "*/30 * * * *", "Europe/Paris", "02:00 and 02:30 do not come that day.",
         "02:00 and 02:30 come twice that day: it runs both times."),
        ("rrule", "FREQ=DAILY;BYHOUR=2;BYMINUTE=10;BYSECOND=0", "Australia/Lord_Howe",
         "02:10 does not come that day: it runs at 02:30 instead.", "no time in what comes twice"),
        ("cron", "45 1 * * *", "Australia/Lord_Howe", "no time in what is left out",
         "01:45 comes twice that day: it runs once."),
        ("interval", "900", "Europe/Paris", "goes on as before", "goes on as before"),
        ("interval", "86400", "Europe/Paris", "shift from then on", "shift from then on"),
        ("cron", "0 3 * * *", "Europe/Paris", "no time in what is left out", "no time in what comes twice"),
        ("cron", "0 2,3 * * *", "Europe/Paris", "02:00 does not come that day.",
         "02:00 comes twice that day: it runs once."),
    ],
)  # fmt: skip
def test_words(kind: str, expression: str, zone: str, forward: str, back: str) -> None:
    changes = said(Spec(kind, expression, zone), zone)
    assert len(changes) == 2
    by_direction = {change.is_forward: change.words for change in changes}
    assert forward in by_direction[True]
    assert back in by_direction[False]


def test_zone_without_changes_says_nothing() -> None:
    assert said(Spec("cron", "30 2 * * *", "Asia/Kathmandu"), "Asia/Kathmandu") == []


def test_day_off_is_left_alone() -> None:
    spec = Spec("cron", "30 2 * * *", "Europe/Paris", calendar="c", days=BusinessCalendar("c"))
    assert {change.words for change in said(spec)} == {"That day is a day off."}


def test_reader_elsewhere_hears_when_it_shifts_for_them() -> None:
    changes = said(Spec("weekly", "MO,WE 08:00", "Europe/Paris"), "America/New_York")
    assert [change.zone for change in changes] == ["America/New_York", "Europe/Paris"] * 1 + [
        "Europe/Paris", "America/New_York",
    ]  # fmt: skip
    assert changes[0].for_reader == "For you (America/New_York) it runs at 03:00 from then on, no longer at 02:00."
    assert changes[1].for_reader == "For you (America/New_York) it runs at 02:00 from then on, no longer at 03:00."
    assert all(change.for_reader for change in changes)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]),
    minute=st.integers(0, 59),
    hour=st.integers(0, 4),
)
def test_a_daily_time_is_said_to_move_or_repeat_exactly_where_it_does(zone: str, minute: int, hour: int) -> None:
    spec = Spec("cron", f"{minute} {hour} * * *", zone)
    for change in clock_changes(spec, ZoneInfo(zone), NOW):
        day = change.after.date()
        near = islice(spec.times(change.at - timedelta(days=2)), 4)
        walls = [each.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) for each in near]
        on_day = [wall for wall in walls if wall.date() == day]
        [wall] = on_day if len(on_day) == 1 else [None]
        wanted = datetime.combine(day, time(hour, minute))
        if change.is_forward:
            moved = change.before <= wanted < change.after
            assert ("instead" in change.words) == moved
            assert not moved or wall == change.after
        else:
            assert ("it runs once" in change.words) == (change.after <= wanted < change.before)
