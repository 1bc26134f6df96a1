"""Schedules as values: what they say about themselves, and what they say about mistakes."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.schedules import Spec

NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Spec("weekly", "MO 08:00", "Europe/Paris"), "every week on Monday at 08:00, Europe/Paris"),
        (Spec("weekly", "su,MO 8:05", "UTC"), "every week on Monday and Sunday at 08:05, UTC"),
        (Spec("weekly", "MO,TU,WE,TH,FR 08:00"), "every weekday (Monday to Friday) at 08:00, UTC"),
        (Spec("cron", "0 2 * * *", "Europe/Paris"), "every day at 02:00, Europe/Paris"),
        (Spec("cron", "@daily"), "every day at 00:00, UTC"),
        (Spec("cron", "30 8,17 * * MON-FRI"), "every weekday (Monday to Friday) at 08:30 and 17:30, UTC"),
        (Spec("cron", "0 9 * * 1,3"), "every week on Monday and Wednesday at 09:00, UTC"),
        (Spec("cron", "*/15 * * * *", "Europe/Paris"), "every 15 minutes"),
        (Spec("cron", "* * * * *"), "every minute"),
        (Spec("cron", "@hourly"), "every hour"),
        (Spec("cron", "0 0 13 * 5"), "at 00:00 on the 13th day of month and on Friday, UTC"),
        (Spec("cron", "0 9 * * MON#2"), "at 09:00 on the second Monday of the month, UTC"),
        (Spec("cron", "0 0 L * *"), "at 00:00 on the last day of every month, UTC"),
        (Spec("interval", "900"), "every 15 minutes"),
        (Spec("interval", "3600"), "every hour"),
        (Spec("interval", "1"), "every second"),
        (Spec("interval", "5400"), "every 1 hour and 30 minutes"),
        (Spec("interval", "86400", "Europe/Paris", NOW), "every day, counted from 2026-11-22 21:00:00, Europe/Paris"),
        (
            Spec("rrule", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;BYHOUR=8"),
            "every 2 weeks on Monday and Wednesday at 08:00, UTC",
        ),
        (Spec("rrule", "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17"), "every month on the last Friday at 17:00, UTC"),
        (Spec("rrule", "FREQ=HOURLY;INTERVAL=6"), "every 6 hours, UTC"),
        (
            Spec("rrule", "FREQ=MONTHLY;BYMONTHDAY=15,-1;BYHOUR=8;BYMINUTE=0"),
            "every month on day 15 and the last day of the month at 08:00, UTC",
        ),
        (Spec("rrule", "FREQ=DAILY;BYHOUR=6;BYMINUTE=0;BYSECOND=0"), "every day at 06:00, UTC"),
        (Spec("rrule", "FREQ=DAILY;BYHOUR=6;BYMINUTE=0;BYSECOND=30"), "every day (BYSECOND=30) at 06:00, UTC"),
    ],
)
def test_schedules_are_described_in_plain_words(spec: Spec, words: str) -> None:
    assert spec.clean(NOW).describe() == words


@pytest.mark.parametrize(
    ("spec", "field", "advice"),
    [
        (Spec("hourly", "1"), "kind", "Write one of weekly, interval, cron, rrule"),
        (Spec("weekly", "MO 8"), "expression", "as in “MO,WE 08:00”"),
        (Spec("weekly", "XX 08:00"), "expression", "the days are MO"),
        (Spec("weekly", "MO 24:00"), "expression", "00:00 to 23:59"),
        (Spec("interval", "0"), "expression", "1 or more"),
        (Spec("interval", "0.5"), "expression", "whole seconds"),
        (Spec("interval", "ten"), "expression", "whole seconds"),
        (Spec("interval", "9" * 40), "expression", "whole seconds"),
        (Spec("cron", "* * * * * *"), "expression", "For seconds, write an interval"),
        (Spec("cron", "* * *"), "expression", "has 3 fields"),
        (Spec("cron", ""), "expression", "has 0 fields"),
        (Spec("cron", "61 * * * *"), "expression", "The minute “61” cannot be read. Write 0 to 59"),
        (Spec("cron", "0 25 * * *"), "expression", "The hour “25”"),
        (Spec("cron", "0 0 32 * *"), "expression", "day of month “32”"),
        (Spec("cron", "0 0 30 2 *"), "expression", "day of month “30” never comes"),
        (Spec("cron", "0 0 * 13 *"), "expression", "The month “13”"),
        (Spec("cron", "0 0 * * 8"), "expression", "The day of week “8”"),
        (Spec("cron", "*/0 * * * *"), "expression", "The minute “*/0”"),
        (Spec("cron", "H * * * *"), "expression", "The minute “H”"),
        (Spec("cron", "@reboot"), "expression", "@daily"),
        (Spec("cron", "@daily", "paris"), "timezone", "such as Europe/Paris"),
        (Spec("cron", "@daily", "New York"), "timezone", "such as America/New_York"),
        (Spec("cron", "@daily", "../etc/passwd"), "timezone", "no time zone"),
        (Spec("cron", "@daily", ""), "timezone", "no time zone"),
        (Spec("cron", "@daily", catchup="some"), "catchup", "latest, all, none"),
        (Spec("interval", "60", anchor=datetime(2026, 1, 1)), "anchor", "with its offset"),  # noqa: DTZ001
        (Spec("rrule", "tomorrow"), "expression", "not a part of a recurrence rule"),
        (Spec("rrule", ""), "expression", "There is no rule"),
        (Spec("rrule", "FREQ=OFTEN"), "expression", "FREQ has to be one of"),
        (Spec("rrule", "FREQ=DAILY;BYHOUR=25"), "expression", "hour must be in 0..23"),
        (Spec("rrule", "FREQ=DAILY;INTERVAL=0"), "expression", "INTERVAL"),
        (Spec("rrule", "FREQ=DAILY;COUNT=3"), "expression", "DTSTART"),
        (Spec("rrule", "FREQ=DAILY;COUNT=3;UNTIL=20300101"), "expression", "not both"),
        (Spec("rrule", "FREQ=DAILY;UNTIL=20200101"), "expression", "no time to come"),
        (Spec("rrule", "FREQ=DAILY;UNTIL=soon"), "expression", "20270104T080000"),
        (Spec("rrule", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"), "expression", "no time to come"),
        (Spec("rrule", "FREQ=DAILY\nRRULE:FREQ=WEEKLY"), "expression", "one RRULE"),
    ],
)
def test_mistakes_are_named_with_what_to_write_instead(spec: Spec, field: str, advice: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec.clean(NOW)
    assert list(caught.value.message_dict) == [field]
    assert advice in caught.value.message_dict[field][0]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["cron", "weekly", "interval", "rrule"]),
    st.one_of(
        st.text(max_size=40),
        st.lists(st.text("0123456789*/,-#LWMONTUE", max_size=5), min_size=5, max_size=5).map(" ".join),
        st.lists(
            st.builds(
                "{}={}".format,
                st.sampled_from(["BYDAY", "BYHOUR", "BYMONTH", "BYSETPOS", "BYMONTHDAY", "INTERVAL", "COUNT", "WKST"]),
                st.one_of(st.integers(-3, 40), st.sampled_from(["MO", "1MO", "MO,TU", "x", "", "-1FR"])),
            ),
            max_size=3,
        ).map(lambda parts: ";".join(["FREQ=MONTHLY", *parts])),
    ),
)
def test_nothing_written_raises_anything_but_a_validation_error(kind: str, expression: str) -> None:
    try:
        spec = Spec(kind, expression, "Europe/Paris").clean(NOW)
    except ValidationError:
        return
    assert spec.next_times(NOW, 1)
    assert spec.describe()
    assert spec.clean(NOW) == spec, "the normal form is its own normal form"


def test_normal_form_and_json_keep_the_schedule() -> None:
    spec = Spec("weekly", " fr , mo  7:05 ", "Europe/Paris", parameters={"day": 1}).clean(NOW)
    assert spec.expression == "MO,FR 07:05"
    anchored = Spec("interval", "60.0", anchor=NOW, catchup="all", active=False).clean(NOW)
    for each in (spec, anchored):
        assert Spec.from_json(each.as_json()) == each


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"kind": "cron"}, "expression"),
        ({"expression": "@daily"}, "kind"),
        ({"kind": "cron", "expression": "@daily", "zone": "UTC"}, "zone"),
        ({"kind": "cron", "expression": "@daily", "anchor": "yesterday"}, "anchor"),
        ({"kind": "cron", "expression": "@daily", "anchor": "2026-01-01T00:00:00"}, "anchor"),
    ],
)
def test_json_that_is_no_schedule_names_its_field(value: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Spec.from_json(value)
    assert list(caught.value.message_dict) == [field]


def test_last_time_is_found_far_back_and_close_by() -> None:
    yearly = Spec("cron", "0 0 1 1 *")
    assert yearly.last_time(datetime(2000, 1, 1, tzinfo=UTC), NOW) == datetime(2026, 1, 1, tzinfo=UTC)
    every_second = Spec("interval", "1")
    assert every_second.last_time(NOW - timedelta(days=3000), NOW) == NOW


def test_wrong_stored_schedule_still_has_words() -> None:
    assert Spec("cron", "nonsense").describe() == "cron nonsense, UTC"
