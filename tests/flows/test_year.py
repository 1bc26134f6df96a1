"""The year ahead of a schedule, as the editor and the command line show it."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from time import process_time
from zoneinfo import ZoneInfo

from flows.calendars import BusinessCalendar
from flows.schedules import Spec
from flows.year import MAX_A_DAY, Day, months, year_ahead

NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
FRANCE = BusinessCalendar("france", country="FR")
DAILY = Spec("cron", "0 8 * * *", "Europe/Paris", calendar="france", days=FRANCE)


def by_date(spec: Spec) -> dict[date, Day]:
    return {day.date: day for day in year_ahead(spec, NOW)}


def test_year_has_twelve_whole_months_from_this_one() -> None:
    days = year_ahead(DAILY, NOW)
    assert (days[0].date, days[-1].date, len(days)) == (date(2026, 11, 1), date(2027, 10, 31), 365)
    assert [len(month) for month in months(days)] == [30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31]


def test_days_count_what_the_schedule_says() -> None:
    spec = Spec("cron", "30 */6 * * MON,WED", "Europe/Paris")
    expected = Counter(
        time.astimezone(ZoneInfo("Europe/Paris")).date()
        for time in spec.next_times(NOW, 500)
        if time < datetime(2027, 10, 31, 23, tzinfo=UTC)
    )
    assert {day.date: day.runs for day in year_ahead(spec, NOW) if day.runs} == expected


def test_days_off_are_left_out_with_their_names() -> None:
    days = by_date(DAILY)
    assert days[date(2026, 12, 25)] == Day(date(2026, 12, 25), left_out=1, day_off="Christmas Day")
    assert days[date(2026, 12, 26)] == Day(date(2026, 12, 26), left_out=1, day_off="Saturday")
    assert days[date(2026, 12, 24)] == Day(date(2026, 12, 24), runs=1)
    assert days[date(2026, 11, 20)] == Day(date(2026, 11, 20)), "what has passed is not counted"


def test_moved_runs_stand_where_they_go() -> None:
    weekly = Spec("weekly", "FR 08:00", "Europe/Paris", calendar="france", on_day_off="next", days=FRANCE)
    days = by_date(weekly)
    assert days[date(2026, 12, 25)].left_out == 1
    assert days[date(2026, 12, 28)] == Day(date(2026, 12, 28), runs=1, moved_here=1)


def test_year_of_every_second_is_bounded() -> None:
    began = process_time()
    days = year_ahead(Spec("interval", "1"), NOW)
    assert process_time() - began < 5
    assert days[40].runs == MAX_A_DAY
    assert all(day.runs for day in days if day.date > NOW.date() + timedelta(days=1))
