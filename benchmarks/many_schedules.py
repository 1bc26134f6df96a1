"""`python -m benchmarks.many_schedules DEPLOYMENTS DUE [tick]`: deployments with schedules, made in a home's database.

DUE of them are due within one minute, spread evenly over it, which begins in a minute or two; the others a day later.
Prints when that minute begins, in seconds since the epoch. With `tick`, it also makes all upcoming runs and prints how
long the tick took, in seconds, that then looked at the DUE ones, at the end of their minute.
"""

import sys
import time
from datetime import UTC, datetime, timedelta

import django
from django.core.management import call_command

from benchmarks.processes import PROGRAMS
from orchestrator import site


def main(deployments: int, due: int, tick: bool) -> None:
    """Make them, and print what the module says."""
    site.load_settings()
    django.setup()
    from runs import scheduling  # needs the settings

    if tick:
        call_command("migrate", verbosity=0)
    minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
    make(deployments, due, minute)
    print(minute.timestamp())
    if tick:
        scheduling.materialize(datetime.now(UTC))
        begun = time.perf_counter()
        made = scheduling.materialize(minute + timedelta(seconds=60))
        print(time.perf_counter() - begun if len(made) == due else f"{len(made)} runs were made")


def make(deployments: int, due: int, minute: datetime) -> None:
    """Write deployments of the one-print flow with a daily schedule each, which the next tick looks at."""
    from django.db import transaction  # all of these need the settings

    from flows.models import Deployment, Flow, Schedule, WorkQueue
    from teams.models import Team

    team = Team.default()
    flow = Flow.objects.get_or_create(team=team, slug="hello", defaults={"name": "hello"})[0]
    shared = {
        "team": team,
        "flow": flow,
        "queue": WorkQueue.default(team),
        "entrypoint": f"{PROGRAMS / 'hello.py'}:hello",
        "directory": str(PROGRAMS),
        "isolation": "worker",
    }
    made = [Deployment(name=f"many-{number}", slug=f"many-{number}", **shared) for number in range(deployments)]
    times = [
        minute + timedelta(seconds=60 * number / due) if number < due else minute + timedelta(hours=20)
        for number in range(deployments)
    ]
    with transaction.atomic():
        Deployment.objects.bulk_create(made, batch_size=500)
        Schedule.objects.bulk_create(
            [
                Schedule(deployment=deployment, kind="interval", expression="86400", anchor=time_)
                for deployment, time_ in zip(made, times, strict=True)
            ],
            batch_size=500,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["tick"])
