"""The schedule editor's fields."""

import pytest
from django.core.exceptions import ValidationError
from django.http import QueryDict

from flows.models import Schedule
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
