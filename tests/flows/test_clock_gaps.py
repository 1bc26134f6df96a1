"""Every kind of schedule over gaps and folds of many zones, compared with a minute-by-minute reading of zoneinfo."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.schedules import Spec

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
# Zones with a day on which their offset changes, or none.
PLACES = [
    ("Europe/Paris", date(2027, 3, 28)), ("Europe/Paris", date(2026, 10, 25)),
    ("Europe/Dublin", date(2027, 3, 28)),  # its winter is the exception: negative daylight saving
    ("America/New_York", date(2027, 3, 14)), ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 10, 4)), ("Australia/Lord_Howe", date(2027, 4, 4)),  # by half an hour
    ("America/Santiago", date(2026, 9, 6)), ("America/Santiago", date(2027, 4, 3)),  # at midnight: a day begins at one
    ("Asia/Tehran", date(2021, 3, 22)), ("Asia/Tehran", date(2022, 9, 21)),  # abolished since
    ("Africa/Casablanca", date(2026, 2, 15)), ("Africa/Casablanca", date(2026, 3, 22)),  # for Ramadan
    ("Asia/Pyongyang", date(2015, 8, 15)), ("Asia/Pyongyang", date(2018, 5, 5)),  # for good, by half an hour
    ("Asia/Kathmandu", date(1986, 1, 1)),  # for good, by a quarter
    ("Pacific/Apia", date(2011, 12, 30)),  # a day that never was
    ("Asia/Kolkata", date(2027, 3, 28)), ("UTC", date(2027, 3, 28)), ("Etc/GMT+5", date(2028, 2, 29)),
]  # fmt: skip
places = st.sampled_from(PLACES)


def shown(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def window(zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    """From a day and a half before the day to as much after it, on whole minutes of UTC."""
    noon = datetime.combine(day, time(12), zone).astimezone(UTC).replace(second=0)
    return noon - 2 * DAY, noon + 2 * DAY


def first_shown_at_or_after(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first minute at which the clock shows this wall time, or has gone beyond it."""
    start = wall.replace(tzinfo=UTC) - timedelta(hours=27)
    low, step = start, timedelta(hours=1)
    while shown(low + step, zone) < wall:
        low += step
    while shown(low, zone) < wall:
        low += MINUTE
    return low


def found(kind: str, expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda one: one <= end, Spec(kind, expression, zone).times(start)))


@settings(max_examples=120, deadline=None)
@given(place=places, hour=st.integers(0, 23), minute=st.integers(0, 59))
@example(("Europe/Paris", date(2027, 3, 28)), 2, 30)
@example(("America/Santiago", date(2026, 9, 6)), 0, 0)
@example(("Australia/Lord_Howe", date(2026, 10, 4)), 2, 15)
@example(("Pacific/Apia", date(2011, 12, 30)), 8, 0)
def test_a_time_of_day_comes_once_each_day_whatever_kind_says_it(
    place: tuple[str, date], hour: int, minute: int
) -> None:
    name, day = place
    zone = ZoneInfo(name)
    start, end = window(zone, day)
    walls = [datetime.combine(day + number * DAY, time(hour, minute)) for number in range(-4, 5)]
    expected = sorted({first_shown_at_or_after(wall, zone) for wall in walls})
    expected = [one for one in expected if start < one <= end]
    weekly = found("weekly", f"MO,TU,WE,TH,FR,SA,SU {hour:02}:{minute:02}", name, start, end)
    assert weekly == expected
    assert found("cron", f"{minute} {hour} * * *", name, start, end) == expected
    rule = f"DTSTART:19800101T{hour:02}{minute:02}00\nRRULE:FREQ=DAILY"
    assert found("rrule", rule, name, start, end) == expected


@settings(max_examples=20, deadline=None)
@given(place=places, step=st.sampled_from([10, 15, 20, 30]))
@example(("Australia/Lord_Howe", date(2027, 4, 4)), 15)
@example(("Pacific/Apia", date(2011, 12, 30)), 30)
def test_what_runs_all_day_runs_at_every_minute_that_the_clock_shows(place: tuple[str, date], step: int) -> None:
    name, day = place
    zone = ZoneInfo(name)
    start, end = window(zone, day)
    minutes = [start + number * MINUTE for number in range(1, int((end - start) / MINUTE) + 1)]
    expected = [one for one in minutes if shown(one, zone).minute % step == 0]
    assert found("cron", f"*/{step} * * * *", name, start, end) == expected
    rule = f"DTSTART:19800101T000000\nRRULE:FREQ=HOURLY;BYMINUTE={','.join(map(str, range(0, 60, step)))};BYSECOND=0"
    assert found("rrule", rule, name, start, end) == expected
    elapsed = found("interval", str(step * 60), name, start, end)
    assert elapsed == [one for one in minutes if one.timestamp() % (step * 60) == 0], "an interval knows no clock"
