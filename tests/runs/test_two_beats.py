"""Several beats after an hour without any, as processes of their own on one database."""

from tests.racing import race

BEATS = 3

_AN_HOUR_AGO = """
from collections import Counter
from datetime import timedelta
from django.db.models import F
from django.utils import timezone
from flows.declarations import Declaration
from flows.models import Schedule
from flows.schedules import Spec
from runs import actions, scheduling
from runs.models import FlowRun
from teams.models import Team
hour = timedelta(hours=1)
specs = [Spec("cron", "* * * * *"), Spec("interval", "15", catchup="all"), Spec("interval", "60", catchup="none")]
for number in range(12):
    declaration = Declaration(flow_name="etl", name=f"d{number}", entrypoint="etl.py:etl", schedules=specs)
    actions.deploy(team=Team.default(), user=None, declaration=declaration)
Schedule.objects.update(tick_at=F("tick_at") - hour, materialized_until=F("materialized_until") - hour)
FlowRun.objects.update(scheduled_for=F("scheduled_for") - hour, expected_start=F("expected_start") - hour)
"""

_BEAT = """
wait_for_all()
result = [str(run.pk) for _ in range(6) for run in scheduling.materialize(timezone.now())]
"""

_WHAT_THERE_IS = """
found = []
for schedule in Schedule.objects.all():
    runs = list(schedule.runs.order_by("scheduled_for"))
    times = [run.scheduled_for for run in runs]
    past = [run for run in runs if run.scheduled_for < schedule.tick_at]
    found.append({
        "catchup": schedule.catchup,
        "twice": len(times) - len(set(times)),
        "past": Counter(run.state_name for run in past),
        "upcoming": len(runs) - len(past),
        "latest": past[-1].state_name,
        "gaps": max((later - earlier).total_seconds() for earlier, later in zip(times, times[1:])),
    })
result = {"schedules": found, "runs": [str(key) for key in FlowRun.objects.values_list("pk", flat=True)]}
"""


def test_beats_at_once_settle_an_outage_once(environment: dict[str, str]) -> None:
    beats, found = race(environment, _AN_HOUR_AGO, _BEAT, BEATS, look=_WHAT_THERE_IS)
    made = [run for beat in beats for run in beat]
    assert len(made) == len(set(made)), "two beats say that they made the same run"
    assert set(made) <= set(found["runs"])
    assert len(found["schedules"]) == 36
    for schedule in found["schedules"]:
        assert schedule["twice"] == 0
        assert schedule["upcoming"] >= 4
        if schedule["catchup"] == "latest":
            assert schedule["past"]["Late"] == 1, schedule
            assert schedule["past"]["Skipped"] == 5
        elif schedule["catchup"] == "none":
            assert set(schedule["past"]) <= {"Skipped", "Scheduled"}
            assert schedule["past"]["Skipped"] == 6, schedule
        else:
            assert set(schedule["past"]) == {"Scheduled"}
            assert schedule["past"]["Scheduled"] >= 235, schedule
            assert schedule["gaps"] == 15
