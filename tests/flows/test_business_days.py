"""Schedules on business days, compared with a walk over the days and with zoneinfo."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.calendars import BusinessCalendar
from flows.recurrences import wall_clock
from flows.schedules import Spec

NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo", "UTC"]
# Around changes of offset in those zones, Christmas, and ordinary days.
STARTS = [
    *(date(2026, 3, 26), date(2026, 10, 22), date(2026, 3, 5), date(2026, 10, 30), date(2027, 4, 1)),
    *(date(2026, 12, 20), date(2027, 4, 28), date(2027, 6, 10)),
]
DAY = timedelta(days=1)
WEEKEND = BusinessCalendar("office")

calendars = st.builds(
    lambda weekend, country, off, on: BusinessCalendar(
        "made",
        frozenset(weekend),
        country,
        days_off={date(2026, 1, 1) + timedelta(days=day): "own" for day in off},
        working_days=frozenset(date(2026, 1, 1) + timedelta(days=day) for day in on),
    ),
    st.sets(st.integers(0, 6), max_size=5),
    st.sampled_from(["", "FR", "US", "JP"]),
    st.sets(st.integers(60, 500), max_size=40),
    st.sets(st.integers(60, 500), max_size=40),
)
recurrences = st.one_of(
    st.tuples(st.just("cron"), st.builds("{} {} * * *".format, st.integers(0, 59), st.integers(0, 23))),
    st.tuples(st.just("cron"), st.sampled_from(["30 */6 * * *", "*/30 * * * *", "0 2,3 * * *", "15 0 1,15 * *"])),
    st.tuples(st.just("interval"), st.sampled_from(["3600", "5400", "40000", "86400", "200000"])),
    st.tuples(st.just("weekly"), st.sampled_from(["SA 08:00", "SA,SU 02:30", "MO,FR,SU 23:45"])),
    st.tuples(st.just("rrule"), st.sampled_from(["FREQ=DAILY;INTERVAL=3;BYHOUR=2;BYMINUTE=15"])),
)


def shown(instant: datetime, zone: str) -> datetime:
    """What the clock on the wall shows."""
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def at(day: date, clock: time, zone: str) -> datetime:
    """The instant of a wall time by zoneinfo alone: the first of two; in a gap, the first second behind it."""
    wall = datetime.combine(day, clock)
    instant = wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    if shown(instant, zone) == wall:
        return instant
    instant = wall.replace(tzinfo=ZoneInfo(zone), fold=1).astimezone(UTC).replace(second=0)
    while shown(instant, zone) < wall:
        instant += timedelta(minutes=1)
    return instant


def walked(spec: Spec, after: datetime, until: datetime) -> list[datetime]:
    """What the schedule should do in (after, until]: each time is taken on its own, by a walk from day to day."""
    calendar, found = spec.days, set()
    assert calendar is not None
    for each in Spec(spec.kind, spec.expression, spec.timezone).times(after - 100 * DAY):
        if each > until + 100 * DAY:
            break
        wall = shown(each, spec.timezone)
        day = wall.date()
        if calendar.day_off(day) is None:
            found.add(each)
        elif spec.on_day_off != "skip":
            while calendar.day_off(day) is not None:
                day += DAY if spec.on_day_off == "next" else -DAY
            found.add(at(day, wall.time(), spec.timezone))
    return sorted(each for each in found if after < each <= until)


def times(spec: Spec, after: datetime, until: datetime) -> list[datetime]:
    found = []
    for each in spec.times(after):
        if each > until:
            break
        found.append(each)
    return found


@settings(max_examples=250, deadline=None)
@given(
    recurrence=recurrences,
    calendar=calendars,
    rule=st.sampled_from(["skip", "next", "previous"]),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(STARTS),
    seconds=st.integers(0, 4 * 86400),
)
def test_times_are_those_of_a_walk_over_the_days(
    recurrence: tuple[str, str], calendar: BusinessCalendar, rule: str, zone: str, start: date, seconds: int
) -> None:
    spec = Spec(*recurrence, zone, calendar=calendar.name, on_day_off=rule, days=calendar)
    after = datetime.combine(start, time(), UTC) + timedelta(seconds=seconds)
    until = after + 12 * DAY
    found = times(spec, after, until)
    assert found == walked(spec, after, until)
    assert all(earlier < later for earlier, later in pairwise(found))
    for each in found:
        assert calendar.day_off(shown(each, zone).date()) is None, "it runs on a day off"


@settings(max_examples=60, deadline=None)
@given(recurrence=recurrences, calendar=calendars, rule=st.sampled_from(["skip", "next", "previous"]))
def test_times_after_any_of_them_go_on_where_they_were(
    recurrence: tuple[str, str], calendar: BusinessCalendar, rule: str
) -> None:
    spec = Spec(*recurrence, "Europe/Paris", calendar=calendar.name, on_day_off=rule, days=calendar)
    found = spec.next_times(NOW, 12)
    for index, each in enumerate(found[:9]):
        assert spec.next_times(each, 3) == found[index + 1 : index + 4]
        assert spec.next_times(each - timedelta(microseconds=1), 1) == [each]


def test_time_in_the_gap_of_spring_is_moved_to_its_end() -> None:
    calendar = BusinessCalendar("odd", frozenset({5}))  # Sunday 28 March 2027 is a working day in Paris
    spec = Spec("weekly", "SA 02:30", "Europe/Paris", calendar="odd", on_day_off="next", days=calendar)
    assert spec.next_times(datetime(2027, 3, 26, tzinfo=UTC), 1) == [datetime(2027, 3, 28, 1, tzinfo=UTC)]  # 03:00


def test_moved_times_that_fall_together_run_once() -> None:
    spec = Spec("cron", "0 8 * * *", "Europe/Paris", calendar="office", on_day_off="next", days=WEEKEND)
    days = [shown(each, "Europe/Paris") for each in spec.next_times(datetime(2026, 11, 20, 12, tzinfo=UTC), 3)]
    assert [f"{day:%a %d %H}" for day in days] == ["Mon 23 08", "Tue 24 08", "Wed 25 08"]
    before = [*Spec("cron", "0 8 * * *", calendar="o", on_day_off="previous", days=WEEKEND).next_times(NOW, 5)]
    assert [f"{day:%a}" for day in before] == ["Mon", "Tue", "Wed", "Thu", "Fri"]


def test_moved_time_takes_its_place_among_the_day_s_own() -> None:
    spec = Spec("cron", "0 6,18 * * SUN,MON", calendar="office", on_day_off="next", days=WEEKEND)
    assert [f"{each:%a %H}" for each in spec.next_times(NOW, 3)] == ["Mon 06", "Mon 18", "Mon 06"]


def test_holidays_have_their_names_and_working_days_beat_them() -> None:
    calendar = BusinessCalendar(
        "france",
        frozenset({5, 6}),
        "FR",
        days_off={date(2027, 5, 7): "bridge day"},
        working_days=frozenset({date(2027, 7, 14), date(2027, 1, 2)}),
    )
    assert calendar.day_off(date(2027, 1, 1)) == "New Year's Day"
    assert calendar.day_off(date(2027, 5, 7)) == "bridge day"
    assert calendar.day_off(date(2027, 7, 14)) is None
    assert calendar.day_off(date(2027, 1, 2)) is None, "a Saturday that is worked"
    assert calendar.day_off(date(2027, 1, 3)) == "Sunday"
    assert calendar.special_days(date(2027, 5, 1), date(2027, 5, 31)) == {
        date(2027, 5, 1): "Labor Day",
        date(2027, 5, 6): "Ascension Day",
        date(2027, 5, 7): "bridge day",
        date(2027, 5, 8): "Victory Day",
        date(2027, 5, 17): "Pentecost Monday",
    }


def test_every_second_passes_over_days_off_at_once() -> None:
    spec = Spec("interval", "1", calendar="office", days=WEEKEND)
    saturday = datetime(2026, 11, 21, tzinfo=UTC)
    assert spec.next_times(saturday, 2) == [datetime(2026, 11, 23, 0, 0, n, tzinfo=UTC) for n in (0, 1)]


@pytest.mark.parametrize(
    ("spec", "calendar", "field", "advice"),
    [
        (Spec("weekly", "SA 08:00", calendar="office"), WEEKEND, "calendar", "All its times in the next ten years"),
        (Spec("cron", "0 8 1 1 *", calendar="f"), BusinessCalendar("f", country="FR"), "calendar", "are days off"),
        (
            Spec("cron", "0 8 * * *", calendar="never", on_day_off="next"),
            BusinessCalendar("never", frozenset(range(7))),
            "calendar",
            "“never” has no business day in the year",
        ),
        (Spec("interval", "60", calendar="o", on_day_off="next"), WEEKEND, "on_day_off", "more than 24 times a day"),
        (Spec("interval", "60", calendar="o", on_day_off="later"), WEEKEND, "on_day_off", "skip, next, previous"),
        (Spec("cron", "@daily", calendar="o"), None, "calendar", "no calendar “o”"),
        (
            Spec("cron", "@daily", starts_at=NOW + DAY, ends_at=NOW),
            None,
            "ends_at",
            "ends before it starts",
        ),
        (Spec("cron", "@daily", ends_at=NOW), None, "ends_at", "before its first time"),
        (Spec("cron", "@daily", starts_at=datetime(2027, 1, 1)), None, "starts_at", "with its offset"),  # noqa: DTZ001
        (Spec("cron", "@daily", catchup_seconds=0), None, "catchup_seconds", "as in 7200"),
    ],
)
def test_what_leaves_no_time_to_come_is_refused(
    spec: Spec, calendar: BusinessCalendar | None, field: str, advice: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        replace(spec, days=calendar).clean(NOW)
    assert list(caught.value.message_dict) == [field]
    assert advice in caught.value.message_dict[field][0]


def test_hourly_may_be_moved_even_where_a_day_is_longer() -> None:
    """The day on which the clock is put back has 25 hours."""
    Spec("cron", "0 * * * *", "Europe/Paris", calendar="o", on_day_off="next", days=WEEKEND).clean(
        datetime(2026, 10, 24, 22, tzinfo=UTC)
    )


def test_start_and_end_bound_the_times_and_are_told() -> None:
    start, end = datetime(2026, 11, 24, 8, tzinfo=UTC), datetime(2026, 11, 26, 8, tzinfo=UTC)
    spec = Spec("cron", "0 8 * * *", starts_at=start, ends_at=end).clean(NOW)
    assert spec.next_times(NOW, 9) == [start, start + DAY, end]
    assert spec.describe() == "every day at 08:00, UTC, from 2026-11-24 08:00, until 2026-11-26 08:00"
    assert Spec.from_json(spec.as_json()) == spec


def test_schedule_that_has_ended_can_be_switched_off() -> None:
    Spec("cron", "@daily", ends_at=NOW - DAY, active=False).clean(NOW)


def test_calendar_is_told_in_words() -> None:
    spec = Spec("cron", "0 8 * * *", calendar="office", on_day_off="next", days=WEEKEND)
    assert spec.describe() == "every day at 08:00, UTC, on a day off on the next business day (office)"
    assert WEEKEND.describe() == "off on Saturday, Sunday"


def test_wall_clock_agrees_with_this_file_about_gaps() -> None:
    for day, clock, zone in [
        (date(2027, 3, 28), time(2, 30), "Europe/Paris"),
        (date(2027, 10, 31), time(2, 30), "Europe/Paris"),
        (date(2027, 10, 3), time(2, 15), "Australia/Lord_Howe"),
    ]:
        assert wall_clock.instant_of(datetime.combine(day, clock), ZoneInfo(zone)) == at(day, clock, zone)
