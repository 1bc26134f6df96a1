"""The schedule editor's fields."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.http import QueryDict

from flows.calendars import WantedDaysOff
from flows.models import Calendar, Schedule
from flows.schedules import Spec
from runs.schedule_form import ScheduleForm


def form(text: str) -> ScheduleForm:
    return ScheduleForm.typed(QueryDict(text))


def test_plain_choices_make_a_weekly_schedule() -> None:
    fields = form("kind=weekly&days=MO&days=WE&time=08:00&timezone=Europe/Paris").fields()
    assert Spec(**fields).clean().describe().startswith("every week on Monday and Wednesday at 08:00")


def test_interval_in_units() -> None:
    assert form("kind=interval&every=15&unit=minutes&timezone=UTC").fields()["expression"] == "900"
    assert form("kind=interval&every=1.5&unit=hours&timezone=UTC").fields()["expression"] == "5400"


def test_anchor_stands_in_the_schedule_s_zone() -> None:
    fields = form("kind=interval&every=1&unit=days&anchor=2027-01-04T08:00&timezone=Europe/Paris").fields()
    assert fields["anchor"].isoformat() == "2027-01-04T08:00:00+01:00"


@pytest.mark.parametrize(
    "text",
    [
        "kind=weekly&time=08:00",
        "kind=weekly&days=MO&time=",
        "kind=interval&every=often",
        "kind=interval&every=nan",
        "kind=interval&every=0.0001&unit=seconds",
        "kind=cron&cron=",
        "kind=rrule&rrule=",
        "kind=interval&every=1&unit=days&anchor=soon",
        "kind=interval&every=1&unit=days&anchor=2027-01-04T08:00&timezone=Nowhere",
    ],
)
def test_what_is_missing_is_said(text: str) -> None:
    with pytest.raises(ValidationError):
        form(text).fields()


@pytest.mark.parametrize(
    ("kind", "expression", "shown"),
    [
        ("weekly", "MO,FR 07:30", {"days": ("MO", "FR"), "time": "07:30"}),
        ("interval", "7200", {"every": "2", "unit": "hours"}),
        ("interval", "90", {"every": "90", "unit": "seconds"}),
        ("cron", "0 8 * * 1", {"cron": "0 8 * * 1"}),
    ],
)
def test_a_schedule_is_shown_as_it_is_and_says_the_same_again(
    kind: str, expression: str, shown: dict[str, object]
) -> None:
    editor = ScheduleForm.of(Schedule(kind=kind, expression=expression, timezone="UTC"))
    assert {name: getattr(editor, name) for name in shown} == shown
    assert editor.fields()["expression"] == expression


def test_every_choice_survives_the_editor() -> None:
    calendar = Calendar(name="france", weekend=["SA", "SU"], country="FR")
    schedule = Schedule(
        kind="cron", expression="0 8 * * *", timezone="Europe/Paris", calendar=calendar, on_day_off="next",
        catchup="all", catchup_seconds=5400, active=False,
        starts_at=datetime(2027, 1, 4, 7, tzinfo=UTC), ends_at=datetime(2027, 6, 30, 21, 59, 59, tzinfo=UTC),
    )  # fmt: skip
    editor = ScheduleForm.of(schedule)
    assert (editor.starts_at, editor.ends_at) == ("2027-01-04T08:00", "2027-06-30T23:59:59")
    assert (editor.oldest, editor.oldest_unit) == ("90", "minutes")
    fields = editor.fields()
    spec = Spec.of(schedule)
    assert {name: fields[name] for name in fields} == {name: getattr(spec, name) for name in fields}


def test_holidays_of_a_country_can_be_chosen_instead_of_a_calendar() -> None:
    chosen = form("kind=cron&cron=0+8+*+*+*&calendar=country/FR&skip_weekends=on")
    assert chosen.fields()["calendar"] == ""
    assert chosen.wanted() == WantedDaysOff("FR", "", weekends=True)
    assert form("kind=cron&calendar=france").wanted() is None
    with pytest.raises(ValidationError):
        form("kind=cron&calendar=country/QQ").wanted()


@pytest.mark.parametrize("text", ["oldest=often", "oldest=-1", "starts_at=soon", "ends_at=2027-13-01T00:00"])
def test_what_cannot_be_read_is_named_at_its_field(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        form(f"kind=cron&cron=0+8+*+*+*&{text}").fields()
    assert list(caught.value.message_dict) == [
        {"oldest": "catchup_seconds"}.get(text.split("=")[0], text.split("=")[0])
    ]
