"""The times of schedules, compared with what zoneinfo says that the clock on the wall shows."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.recurrences import cron, wall_clock
from flows.schedules import Spec

ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
# Changes of offset in those zones, and ordinary days.
DAYS = [
    datetime(2026, 3, 28, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
    datetime(2026, 3, 7, tzinfo=UTC),
    datetime(2026, 10, 31, tzinfo=UTC),
    datetime(2027, 4, 3, tzinfo=UTC),
    datetime(2026, 10, 3, tzinfo=UTC),
    datetime(2027, 1, 15, tzinfo=UTC),
    datetime(2028, 2, 28, tzinfo=UTC),
]
zones = st.sampled_from(ZONES)
instants = st.builds(
    lambda day, seconds, micro: day + timedelta(seconds=seconds, microseconds=micro),
    st.sampled_from(DAYS),
    st.integers(0, 3 * 86400),
    st.sampled_from([0, 0, 1, 500_000]),
)
minutes = st.integers(0, 59)
hours = st.integers(0, 23)


def shown(instant: datetime, zone: str) -> datetime:
    """What the clock on the wall shows."""
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def minutes_between(start: datetime, end: datetime) -> list[datetime]:
    """Every whole minute of real time in (start, end]."""
    first = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return [first + timedelta(minutes=n) for n in range(int((end - first) / timedelta(minutes=1)) + 1)]


def times(spec: Spec, after: datetime, end: datetime) -> list[datetime]:
    """All times of a schedule in (after, end]."""
    found = []
    for time in spec.times(after):
        if time > end:
            break
        found.append(time)
    return found


@settings(max_examples=60, deadline=None)
@given(zone=zones, after=instants, minute=minutes, hour=hours)
def test_daily_job_runs_once_each_day_of_the_wall_clock(zone: str, after: datetime, minute: int, hour: int) -> None:
    spec = Spec("cron", f"{minute} {hour} * * *", zone)
    found = times(spec, after, after + timedelta(days=6))
    assert all(time > after for time in found)
    assert all(earlier < later for earlier, later in pairwise(found))
    days = [shown(time, zone).date() for time in found]
    assert len(days) == len(set(days)), "twice on one day"
    assert all((later - earlier).days == 1 for earlier, later in pairwise(days)), "a day was left out"
    for time in found:
        wall = shown(time, zone)
        if (wall.hour, wall.minute) != (hour, minute):
            assert_first_moment_after_gap(time, zone, wall.replace(hour=hour, minute=minute))
        else:
            assert time == wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC), "the second pass of an hour"


def assert_first_moment_after_gap(time: datetime, zone: str, wanted: datetime) -> None:
    """The wanted wall time is in a gap, and this is the first moment after it."""
    before = shown(time - timedelta(seconds=1), zone)
    assert before < wanted < shown(time, zone)
    assert shown(time, zone) - before > timedelta(minutes=1)


@settings(max_examples=60, deadline=None)
@given(
    zone=zones,
    after=instants,
    step=st.sampled_from([1, 5, 7, 15, 30, 45]),
    hour=st.sampled_from(["*", "1-3", "*/2", "2"]),
)
def test_job_of_every_few_minutes_runs_at_every_such_minute_of_real_time(
    zone: str, after: datetime, step: int, hour: str
) -> None:
    spec = Spec("cron", f"*/{step} {hour} * * *", zone)
    end = after + timedelta(days=1, hours=6)
    in_hours = {"*": range(24), "1-3": range(1, 4), "*/2": range(0, 24, 2), "2": [2]}[hour]
    walls = [(minute, shown(minute, zone)) for minute in minutes_between(after, end)]
    expected = [minute for minute, wall in walls if wall.minute % step == 0 and wall.hour in in_hours]
    assert times(spec, after, end) == [time for time in expected if time <= end]


@settings(max_examples=40, deadline=None)
@given(zone=zones, after=instants, minute=minutes)
def test_hourly_job_runs_in_every_real_hour(zone: str, after: datetime, minute: int) -> None:
    end = after + timedelta(days=1)
    expected = [each for each in minutes_between(after, end) if shown(each, zone).minute == minute and each <= end]
    assert times(Spec("cron", f"{minute} * * * *", zone), after, end) == expected
    assert times(Spec("cron", f"{minute} 0-23 * * *", zone), after, end) == expected
    assert times(Spec("rrule", f"FREQ=HOURLY;BYMINUTE={minute};BYSECOND=0", zone), after, end) == expected


@settings(max_examples=60, deadline=None)
@given(
    zone=zones,
    after=instants,
    minute=minutes,
    hour=hours,
    days=st.sets(st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]), min_size=1),
)
def test_weekly_cron_and_rule_agree(zone: str, after: datetime, minute: int, hour: int, days: set[str]) -> None:
    weekly = Spec("weekly", f"{','.join(days)} {hour}:{minute:02}", zone)
    rule = Spec("rrule", f"FREQ=WEEKLY;BYDAY={','.join(days)};BYHOUR={hour};BYMINUTE={minute}", zone)
    cron = Spec("cron", f"{minute} {hour} * * {','.join(CRON[each] for each in days)}", zone)
    found = weekly.next_times(after, 8)
    assert found == rule.next_times(after, 8) == cron.next_times(after, 8)
    assert len(found) == 8
    assert {shown(time, zone).weekday() for time in found} <= {list(CRON).index(each) for each in days}


CRON = {"MO": "MON", "TU": "TUE", "WE": "WED", "TH": "THU", "FR": "FRI", "SA": "SAT", "SU": "SUN"}


@settings(max_examples=60, deadline=None)
@given(after=instants, seconds=st.integers(1, 10**6), anchor=instants)
def test_interval_is_elapsed_time_from_its_anchor(after: datetime, seconds: int, anchor: datetime) -> None:
    found = Spec("interval", str(seconds), anchor=anchor).next_times(after, 5)
    assert after < found[0] <= after + timedelta(seconds=seconds)
    assert all(later - earlier == timedelta(seconds=seconds) for earlier, later in pairwise(found))
    assert (found[0] - anchor) % timedelta(seconds=seconds) == timedelta()


@settings(max_examples=60, deadline=None)
@given(
    zone=zones,
    after=instants,
    spec=st.sampled_from(
        [
            ("cron", "30 2 * * *"),
            ("cron", "*/20 2 * * *"),
            ("cron", "0 */3 * * *"),
            ("cron", "10,50 1,2,3 * * *"),
            ("weekly", "SU,SA 02:30"),
            ("interval", "2700"),
            ("rrule", "FREQ=DAILY;BYHOUR=2;BYMINUTE=15,45"),
            ("rrule", "FREQ=MINUTELY;INTERVAL=25"),
            ("rrule", "DTSTART:20200101T013000\nRRULE:FREQ=DAILY;INTERVAL=2"),
        ]
    ),
)
def test_times_go_on_from_each_other(zone: str, after: datetime, spec: tuple[str, str]) -> None:
    schedule = Spec(*spec, timezone=zone)
    found = schedule.next_times(after, 12)
    assert len(found) == 12
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    assert all(time.tzinfo == UTC for time in found)
    one_by_one, last = [], after
    while len(one_by_one) < 12:
        [last] = schedule.next_times(last, 1)
        one_by_one.append(last)
    assert one_by_one == found
    assert schedule.last_time(after, found[-1]) == found[-1]
    assert schedule.last_time(after, found[-1] - timedelta(microseconds=1)) == found[-2]
    assert schedule.last_time(after, found[0] - timedelta(microseconds=1)) is None


def local(spec: Spec, after: str, count: int) -> list[str]:
    """The next times as the wall clock shows them."""
    start = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(spec.timezone))
    zone = ZoneInfo(spec.timezone)
    return [f"{time.astimezone(zone):%m-%d %H:%M %z}" for time in spec.next_times(start, count)]


def test_nonexistent_time_runs_once_at_the_end_of_the_gap() -> None:
    expected = ["03-28 02:30 +0100", "03-29 03:00 +0200", "03-30 02:30 +0200"]
    for spec in [
        Spec("cron", "30 2 * * *", "Europe/Paris"),
        Spec("weekly", "MO,TU,WE,TH,FR,SA,SU 02:30", "Europe/Paris"),
        Spec("rrule", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Paris"),
    ]:
        assert local(spec, "2026-03-28T00:00", 3) == expected


def test_two_times_in_one_gap_run_once() -> None:
    assert local(Spec("cron", "0,30 2 * * *", "Europe/Paris"), "2026-03-29T00:00", 2) == [
        "03-29 03:00 +0200",
        "03-30 02:00 +0200",
    ]


def test_daily_job_in_a_repeated_hour_runs_once_and_a_quarterly_one_in_both() -> None:
    assert local(Spec("cron", "30 2 * * *", "Europe/Paris"), "2026-10-25T00:00", 2) == [
        "10-25 02:30 +0200",
        "10-26 02:30 +0100",
    ]
    quarters = local(Spec("cron", "*/15 * * * *", "Europe/Paris"), "2026-10-25T01:50", 9)
    assert quarters[:5] == [f"10-25 02:{m:02} +0200" for m in (0, 15, 30, 45)] + ["10-25 02:00 +0100"]
    assert quarters[-1] == "10-25 03:00 +0100"


def test_half_hour_change_passes_over_nothing() -> None:
    """cronsim's own aware arithmetic leaves out 05:00 here."""
    assert local(Spec("cron", "*/30 5 * * *", "Australia/Lord_Howe"), "2026-10-04T01:00", 2) == [
        "10-04 05:00 +1100",
        "10-04 05:30 +1100",
    ]


def test_rule_with_a_start_an_end_and_exceptions() -> None:
    spec = Spec(
        "rrule",
        "DTSTART;TZID=Europe/Paris:20270104T080000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20270105T080000",
        "Europe/Paris",
    )
    assert local(spec, "2026-01-01T00:00", 9) == ["01-04 08:00 +0100", "01-06 08:00 +0100", "01-07 08:00 +0100"]
    until = Spec("rrule", "FREQ=DAILY;BYHOUR=8;UNTIL=20270102T070000Z", "Europe/Paris")
    assert local(until, "2026-12-31T09:00", 9) == ["01-01 08:00 +0100", "01-02 08:00 +0100"]


def test_rule_keeps_its_rhythm_wherever_it_is_asked() -> None:
    spec = Spec("rrule", "DTSTART:20200101T013000\nRRULE:FREQ=DAILY;INTERVAL=3", "UTC")
    every_third = [datetime(2020, 1, 1, 1, 30, tzinfo=UTC) + timedelta(days=3 * n) for n in range(5000)]
    for after in [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 10)]:
        assert spec.next_times(after, 3) == list(islice((time for time in every_third if time > after), 3))


def test_rule_of_29_february_finds_the_leap_year() -> None:
    spec = Spec("rrule", "DTSTART:20240229T060000\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "UTC")
    assert [time.year for time in spec.next_times(datetime(2026, 1, 1, tzinfo=UTC), 2)] == [2028, 2032]


def test_old_rule_of_every_second_is_quick_to_count() -> None:
    spec = Spec("rrule", "DTSTART:19990101T000000\nRRULE:FREQ=SECONDLY;INTERVAL=7", "Europe/Paris")
    assert len(spec.next_times(datetime(2026, 3, 29, tzinfo=UTC), 100)) == 100  # pytest's timeout is the clock


@pytest.mark.parametrize(
    "zone", ["Pacific/Apia", "America/Sao_Paulo", "Africa/Cairo", "Africa/Casablanca", "Asia/Gaza"]
)
def test_odd_zones_run_a_midnight_job_once_each_date(zone: str) -> None:
    start = datetime(2011, 1, 1, tzinfo=UTC)
    found = times(Spec("cron", "0 0 * * *", zone), start, start + timedelta(days=365))
    dates = [shown(time, zone).date() for time in found]
    assert len(dates) == len(set(dates))
    assert all((later - earlier).days <= 2 for earlier, later in pairwise(dates))  # Samoa left 30 December 2011 out


def test_first_change_is_exact() -> None:
    paris = ZoneInfo("Europe/Paris")
    change = wall_clock.first_change(
        paris, datetime(2026, 1, 1, 0, 0, 0, 7, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)
    )
    assert change == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert wall_clock.first_change(paris, change, datetime(2026, 10, 25, tzinfo=UTC)) is None


days_of_cron = st.sampled_from(["*", "1", "13,31", "L", "LW", "*/7", "29"])
months_of_cron = st.sampled_from(["*", "2", "1-3", "*/5", "12"])
week_days_of_cron = st.sampled_from(["*", "1-5", "0", "7", "5L", "MON#2", "SAT,SUN", "*/3"])


@settings(max_examples=150, deadline=None)
@given(
    hour=st.sampled_from(["*", "*/7", "0", "2", "1,3", "8-17", "1-23/5"]),
    minute=st.sampled_from(["*", "0", "59", "5,35", "10-20/5"]),
    day=days_of_cron,
    month=months_of_cron,
    week_day=week_days_of_cron,
    after=instants,
)
def test_walk_over_days_finds_what_cronsim_finds(
    hour: str, minute: str, day: str, month: str, week_day: str, after: datetime
) -> None:
    if day == "13,31" or (day == "29" and month == "2"):
        month = "*"
    expression, wall = f"{minute} {hour} {day} {month} {week_day}", shown(after, "UTC")
    assert list(islice(cron.walls_after(expression, wall), 30)) == list(islice(CronSim(expression, wall), 30))


def test_walk_over_days_finds_leap_days_and_gives_up_on_days_that_never_come() -> None:
    wall = datetime(2096, 3, 1)  # noqa: DTZ001 - a wall time; 2100 has no 29 February
    assert next(cron.walls_after("0 8 29 2 *", wall)) == datetime(2104, 2, 29, 8)  # noqa: DTZ001
    assert next(cron.walls_after("0 8 * 2 MON#5", datetime(2026, 1, 1))) == datetime(2044, 2, 29, 8)  # noqa: DTZ001
