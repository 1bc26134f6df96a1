"""Upcoming and missed runs of schedules with calendars, starts, ends, and a bound on what is caught up."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows import calendar_actions
from flows.declarations import Declaration
from flows.models import Calendar, Deployment, Schedule
from flows.schedules import Spec
from runs import actions, scheduling
from runs.models import FlowRun
from teams.models import Team

NOW = datetime(2026, 12, 24, 10, 0, 30, tzinfo=UTC)  # a Thursday
DAILY = Spec("cron", "0 8 * * *", calendar="france")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def traveller(monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    monkeypatch.setattr("runs.scheduling.database_now", timezone.now)
    monkeypatch.setattr("runs.live.announce", lambda ids: None)
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def france(db: None) -> Calendar:
    return calendar_actions.create_calendar(Team.default(), name="france", country="fr")


@pytest.fixture
def make(db: None) -> Callable[..., Deployment]:
    def make(*specs: Spec, name: str = "nightly", **fields: Any) -> Deployment:
        declaration = Declaration(flow_name="etl", name=name, entrypoint="etl.py:etl", schedules=specs, **fields)
        return actions.deploy(team=Team.default(), user=None, declaration=declaration)[0]

    return make


def upcoming(deployment: Deployment) -> list[str]:
    runs = deployment.runs.filter(scheduled_for__gt=timezone.now()).order_by("scheduled_for")
    return [f"{run.scheduled_for:%d %H}" for run in runs]


def states(deployment: Deployment) -> list[tuple[str, str]]:
    runs = deployment.runs.filter(scheduled_for__lte=timezone.now()).order_by("scheduled_for")
    return [(f"{run.scheduled_for:%d %H}", run.state_name) for run in runs]


def test_runs_are_made_for_business_days(france: Calendar, make: Callable[..., Deployment]) -> None:
    assert upcoming(make(DAILY)) == ["28 08", "29 08", "30 08", "31 08"]  # 4 January is beyond the horizon
    assert make(DAILY).schedules.get().calendar == france


def test_change_of_a_calendar_makes_upcoming_runs_anew(
    france: Calendar, make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployments = [make(DAILY, name=name) for name in "ab"]
    paused = make(DAILY, name="c")
    actions.pause_deployment(paused)
    calendar = actions.change_calendar(
        france, days_off=[{"date": "2026-12-28", "name": "closed"}, "2026-12-29"], working_days=["2026-12-26"]
    )
    assert calendar.value.day_off(date(2026, 12, 28)) == "closed"
    for deployment in deployments:
        assert upcoming(deployment) == ["26 08", "30 08", "31 08"]
    assert upcoming(paused) == []
    traveller.move_to(datetime(2026, 12, 26, 8, 0, 1, tzinfo=UTC))
    scheduling.materialize(timezone.now())
    for deployment in deployments:
        assert states(deployment) == [("26 08", "Scheduled")]
        assert upcoming(deployment) == ["30 08", "31 08"]


def test_queries_do_not_grow_with_schedules_of_a_calendar(
    france: Calendar, make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    make(DAILY, name="a")
    with CaptureQueriesContext(connection) as one:
        actions.change_calendar(france, days_off=["2026-12-28"])
    for name in "bcdef":
        make(DAILY, name=name)
    with CaptureQueriesContext(connection) as six:
        actions.change_calendar(france, days_off=["2026-12-29"])
    assert len(one) == len(six)
    traveller.move_to(datetime(2026, 12, 28, 8, 0, 1, tzinfo=UTC))
    with CaptureQueriesContext(connection) as tick:
        assert len(scheduling.materialize(timezone.now())) == 6
    assert len(tick) <= 13


def test_calendar_in_use_is_not_deleted(france: Calendar, make: Callable[..., Deployment]) -> None:
    deployment = make(DAILY)
    with pytest.raises(ValidationError, match="etl/nightly"):
        calendar_actions.delete_calendar(france)
    actions.set_schedules(deployment, [])
    calendar_actions.delete_calendar(france)
    assert not Calendar.objects.exists()


def test_declaring_again_with_a_calendar_changes_nothing(france: Calendar, make: Callable[..., Deployment]) -> None:
    make(DAILY)
    before = list(Schedule.objects.values_list("pk", flat=True))
    make(DAILY)
    assert list(Schedule.objects.values_list("pk", flat=True)) == before


def test_declaration_of_an_earlier_version_is_no_change(make: Callable[..., Deployment]) -> None:
    deployment = make(Spec("cron", "0 8 * * *"))
    deployment.schedules.update(expression="0 9 * * *")  # set in the browser
    old = ("kind", "expression", "timezone", "anchor", "catchup", "parameters", "active")
    deployment.declared["schedules"] = [{name: spec[name] for name in old} for spec in deployment.declared["schedules"]]
    deployment.save()
    assert make(Spec("cron", "0 8 * * *")).schedules.get().expression == "0 9 * * *"


def test_calendar_of_another_team_is_not_found(make: Callable[..., Deployment]) -> None:
    calendar_actions.create_calendar(Team.objects.create(name="other"), name="france")
    with pytest.raises(ValidationError, match="There is no calendar “france”"):
        make(DAILY)


@pytest.mark.parametrize(
    ("values", "field", "advice"),
    [
        ({"country": "XX"}, "country", "no country"),
        ({"country": "Frence"}, "country", "Did you mean FR (France)?"),
        ({"country": "US", "subdivision": "ZZ"}, "subdivision", "It has AK"),
        ({"subdivision": "CA"}, "subdivision", "needs its country"),
        ({"weekend": "MO,TU,WE,TH,FR,SA,SU"}, "weekend", "All seven days"),
        ({"weekend": "XX"}, "weekend", "is no day"),
        ({"days_off": ["24.12."]}, "days_off", "is no date. Write it like 2027-12-24"),
        ({"working_days": ["2027-13-01"]}, "working_days", "is no date"),
        ({"name": ""}, "name", "1 to 200"),
        ({"name": "Office"}, "name", "already"),
        ({"colour": "red"}, "colour", "A calendar has no"),
        (
            {
                "weekend": "MO,TU,WE,TH,FR,SA",
                "days_off": [str(date(2026, 1, 4) + timedelta(days=7 * n)) for n in range(200)],
            },
            "days_off",
            "no business day in the year",
        ),
    ],
)
@pytest.mark.django_db
def test_mistakes_in_a_calendar_are_named(values: dict[str, Any], field: str, advice: str) -> None:
    calendar_actions.create_calendar(Team.default(), name="Office")
    with pytest.raises(ValidationError) as caught:
        calendar_actions.create_calendar(Team.default(), **{"name": "mine", **values})
    assert list(caught.value.message_dict) == [field]
    assert advice in caught.value.message_dict[field][0]


@pytest.mark.django_db
def test_calendar_takes_the_weekend_and_the_code_of_its_country() -> None:
    calendar = calendar_actions.create_calendar(Team.default(), name="riyadh", country="saudi arabia")
    assert (calendar.country, calendar.weekend) == ("SA", ["FR", "SA"])
    changed = actions.change_calendar(calendar, country="US", subdivision="ca", weekend="Sunday")
    assert (changed.country, changed.subdivision, changed.weekend) == ("US", "CA", ["SU"])


def test_start_and_end_bound_what_is_made(make: Callable[..., Deployment], traveller: time_machine.Traveller) -> None:
    hourly = Spec("cron", "0 * * * *", starts_at=NOW + 2 * HOUR, ends_at=NOW + 4 * HOUR)
    deployment = make(hourly)
    assert upcoming(deployment) == ["24 13", "24 14"]
    traveller.shift(2 * HOUR + timedelta(minutes=59, seconds=31))
    assert scheduling.materialize(timezone.now()) == []
    traveller.shift(HOUR)
    assert scheduling.materialize(timezone.now()) == []
    assert deployment.schedules.get().tick_at is None


# Not older than


def outage(deployment: Deployment, traveller: time_machine.Traveller, hours: float) -> list[FlowRun]:
    traveller.shift(hours * HOUR)
    return scheduling.materialize(timezone.now())


def test_latest_missed_time_runs_while_it_is_young(
    make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployment = make(Spec("cron", "0 * * * *", catchup_seconds=3600))
    outage(deployment, traveller, 3)
    assert states(deployment)[-1] == ("24 13", "Late")


def test_latest_missed_time_that_is_too_old_does_not_run(
    make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployment = make(Spec("cron", "0 */6 * * *", catchup_seconds=3600))
    outage(deployment, traveller, 4)  # 14:00, and 12:00 was missed
    assert states(deployment) == [("24 12", "Skipped")]
    deployment = make(Spec("cron", "0 8 * * *", catchup_seconds=3600), name="none-ahead")
    deployment.runs.all().delete()
    outage(deployment, traveller, 48)
    [(_, state)] = states(deployment)
    message = deployment.runs.order_by("scheduled_for").first().state_message
    assert state == "Skipped"
    assert message == "This and 1 earlier time were missed while no scheduler ran, more than 1 h ago; none runs."


def test_all_catches_up_what_is_not_older(make: Callable[..., Deployment], traveller: time_machine.Traveller) -> None:
    deployment = make(Spec("cron", "0 * * * *", catchup="all", catchup_seconds=3 * 3600))
    outage(deployment, traveller, 8)  # 18:00:30; runs were made ahead until 15:00
    assert states(deployment) == [
        *((f"24 {hour}", "Skipped") for hour in range(11, 16)),
        *((f"24 {hour}", "Scheduled") for hour in range(16, 19)),
    ]
    assert scheduling.materialize(timezone.now()) == []
    assert len(upcoming(deployment)) == 5


def test_all_runs_what_waits_already_and_is_young_enough(
    make: Callable[..., Deployment], traveller: time_machine.Traveller
) -> None:
    deployment = make(Spec("cron", "0 * * * *", catchup="all", catchup_seconds=6 * 3600))
    outage(deployment, traveller, 4)
    assert {state for _, state in states(deployment)} == {"Scheduled"}
