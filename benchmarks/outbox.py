"""What writing deliveries costs ingest: failing runs, each in a batch of its own or several together.

`python -m benchmarks.outbox [RUNS [RUNS_IN_A_BATCH]]` measures SQLite in a new home, and PostgreSQL where
`ORCHESTRATOR_DATABASE_URL` names one. Contenders, each a team of its own, take turns batch by batch; printed is the
median of the CPU time of this process.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from orchestrator.sdk.events import (
    AnyFact,
    Ended,
    Error,
    FlowRunCreated,
    FlowRunState,
    Header,
    Log,
    TaskRunCreated,
    TaskRunState,
)
from orchestrator.sdk.ids import uuid7

WARM_UP = 30  # batches
POLICIES = 50


def nobody(runs: Any, *, tell: bool = True) -> None:
    """An outbox that keeps nothing: what ingest costs without."""


def facts_of_a_failing_run(flow: str) -> list[AnyFact]:
    """Return what the process of a small run that fails records: three task runs and ten log lines."""
    run = str(uuid7())
    facts: list[AnyFact] = [
        FlowRunCreated(run=run, flow=flow, name="swift-otter", parameters={"day": "Mon"}),
        FlowRunState(run=run, type="RUNNING", name="Running", pid=os.getpid()),
    ]
    for index in range(3):
        task = str(uuid7())
        facts.append(
            TaskRunCreated(run=run, id=task, task="load", key="etl.load", index=index, name=f"load-{index}",
                           type="RUNNING", state="Running")
        )  # fmt: skip
        facts += [Log(run=run, task_run=task, logger="stdout", message=f"row {line} of {index}") for line in range(3)]
        facts.append(TaskRunState(run=run, id=task, type="COMPLETED", name="Completed"))
    error = Error("ValueError", "boom", "Traceback (most recent call last):\n" + '  File "etl.py", line 1\n' * 20)
    facts += [
        Log(run=run, logger="orchestrator", level=40, message="ValueError: boom"),
        FlowRunState(run=run, type="FAILED", name="Failed", message="ValueError: boom", error=error),
    ]
    return facts


def facts_of_failing_runs(flow: str, count: int) -> list[AnyFact]:
    """Return what a process records that runs so many of them and ends."""
    facts = [fact for _ in range(count) for fact in facts_of_a_failing_run(flow)]
    facts.append(Ended())
    now = time.time_ns() // 1000
    for number, fact in enumerate(facts, 1):
        fact.n, fact.t = number, now + number
    return facts


def main(runs: int = 1_000, together: int = 1) -> None:
    """Print the time of a run's batch for each contender, and its ratio to ingest without an outbox."""
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as folder:
        os.environ["ORCHESTRATOR_HOME"] = folder
        from orchestrator import site

        site.setup()
        from django.conf import settings
        from django.core.management import call_command
        from django.db import connection

        from notifications.models import Delivery, Destination, Policy, Subscription
        from orchestrator.encryption import Secret
        from orchestrator.sdk.boot import this_boot
        from orchestrator.sdk.reader import Batch
        from runs.ingest import ingest
        from teams.models import Team

        def team_with(policies: int, matching: int) -> Team:
            team = Team.objects.create(name=f"{policies}-{matching}")
            made = Policy.objects.bulk_create(
                Policy(
                    team=team,
                    name=str(number),
                    events=["FAILED", "CRASHED"],
                    flows=["bench-*" if number < matching else f"other-{number}-*"],
                )
                for number in range(policies)
            )
            destinations = Destination.objects.bulk_create(
                Destination(team=team, name=str(number), kind="webhook", config=Secret.of({})) for number in range(5)
            )
            Subscription.objects.bulk_create(
                Subscription(policy=policy, destination=destinations[number % 5]) for number, policy in enumerate(made)
            )
            return team

        boot = this_boot()

        def seconds_of_a_run(team: Team) -> float:
            facts = facts_of_failing_runs("bench-flow", together)
            header = Header(
                journal=str(uuid7()),
                t=facts[0].t,
                pid=os.getpid(),
                host=boot.host,
                machine=boot.machine,
                boot=boot.boot,
            )
            batch = Batch(header, facts)
            started = time.process_time()
            ingest(batch, team=team)
            return (time.process_time() - started) / together

        settings.AFTER_INGEST = "builtins.len"  # no broker here
        call_command("migrate", verbosity=0)
        recorded = settings.STATE_OUTBOX
        contenders = {
            "without": ("benchmarks.outbox.nobody", bare := team_with(0, 0)),
            "no policy": (recorded, bare),
            "50 policies, none matches": (recorded, team_with(POLICIES, 0)),
            "50 policies, 1 matches": (recorded, team_with(POLICIES, 1)),
            "50 policies, 5 match": (recorded, team_with(POLICIES, 5)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(-WARM_UP, runs // together):
            for name, (outbox, team) in contenders.items():
                settings.STATE_OUTBOX = outbox
                spent = seconds_of_a_run(team)
                if turn >= 0:
                    seconds[name].append(spent)
        due = (WARM_UP + runs // together) * together * 6
        if Delivery.objects.count() != due:
            raise SystemExit(f"{Delivery.objects.count()} deliveries where {due} were due")
        for name, spent in seconds.items():
            middle, least = statistics.median(spent), statistics.quantiles(spent, n=10)[0]
            base = seconds["without"]
            print(
                f"{connection.vendor:<11} {name:<26} {middle * 1000:5.2f} ms a run,"
                f" {middle / statistics.median(base):.3f} times as long as without"
                f" (of the fastest tenth: {least / statistics.quantiles(base, n=10)[0]:.3f})"
            )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main(*map(int, sys.argv[1:]))
