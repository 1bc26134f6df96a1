"""Several beats after an hour without any, as processes of their own on one database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BEATS = 3

_AN_HOUR_AGO = """
from orchestrator import site; site.setup()
from datetime import timedelta
from django.core.management import call_command; call_command("migrate", verbosity=0)
from django.db.models import F
from flows.declarations import Declaration
from flows.models import Schedule
from flows.schedules import Spec
from runs import actions
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
import json, sys
from orchestrator import site; site.setup()
from django.utils import timezone
from runs import scheduling
print("ready", flush=True); sys.stdin.readline()
made = [str(run.pk) for _ in range(6) for run in scheduling.materialize(timezone.now())]
print(json.dumps(made))
"""

_WHAT_THERE_IS = """
import json
from orchestrator import site; site.setup()
from collections import Counter
from flows.models import Schedule
from runs.models import FlowRun
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
print(json.dumps({"schedules": found, "runs": [str(key) for key in FlowRun.objects.values_list("pk", flat=True)]}))
"""


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
def test_beats_at_once_settle_an_outage_once(vendor: str, home: Path, request: pytest.FixtureRequest) -> None:
    environment = dict(os.environ)
    environment.pop("ORCHESTRATOR_DATABASE_URL", None)
    if vendor == "postgresql":
        environment["ORCHESTRATOR_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    subprocess.run([sys.executable, "-c", _AN_HOUR_AGO], env=environment, check=True)
    made = _beat_together(environment)
    answer = subprocess.run(
        [sys.executable, "-c", _WHAT_THERE_IS], env=environment, check=True, capture_output=True, text=True
    )
    found = json.loads(answer.stdout)
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


def _beat_together(environment: dict[str, str]) -> list[str]:
    """Start the beats, fire the starting shot when all are ready, and return the ids of the runs that they made."""
    beats = [
        subprocess.Popen(
            [sys.executable, "-c", _BEAT], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(BEATS)
    ]
    for beat in beats:
        assert beat.stdout is not None
        assert beat.stdout.readline() == "ready\n"
    for beat in beats:
        assert beat.stdin is not None
        beat.stdin.write("go\n")
        beat.stdin.flush()
    return [run for beat in beats for run in json.loads(beat.communicate()[0])]
