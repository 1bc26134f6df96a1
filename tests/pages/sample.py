"""Sample rows for looking at pages: what a team would have after some days, and what overfills a page.

    ORCHESTRATOR_HOME=/tmp/somewhere python -m tests.pages.sample [empty|typical|overfull]

prints a one-time sign-in path. Never point it at a home that somebody uses.
"""

import random
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType, default_name

TRACEBACK = """Traceback (most recent call last):
  File "/srv/flows/flights.py", line 41, in connect_warehouse
    return connect(url, timeout=5)
  File "/srv/flows/warehouse.py", line 17, in connect
    raise OperationalError("connection timed out")
OperationalError: connection timed out
"""
SCHEMA = {
    "type": "object",
    "title": "Parameters",
    "properties": {
        "year": {"type": "integer", "default": 2013, "minimum": 2000, "description": "The year of the flights."},
        "carriers": {"type": "array", "items": {"type": "string"}, "default": ["AA", "B6"]},
        "share": {"type": "number", "default": 0.05},
        "mode": {"enum": ["append", "replace"], "default": "append", "type": "string"},
        "since": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
        "notify": {"type": "boolean", "default": True},
        "table": {"type": "string", "description": "Where it is loaded."},
    },
    "required": ["table"],
}


_ADJECTIVES = ["jumpy", "brisk", "quiet", "amber", "lucid"]
_ANIMALS = ["puppy", "heron", "otter", "wren", "tapir"]


def _now() -> datetime:
    from django.utils import timezone

    return timezone.now()


def make_run(flow: Any, start: datetime, seconds: float | None, state: str = "COMPLETED", **values: Any) -> Any:
    """Make a run of a flow; without seconds it goes on."""
    return make_runs([new_run(flow, start, seconds, state, **values)])[0]


def new_run(flow: Any, start: datetime, seconds: float | None, state: str = "COMPLETED", **values: Any) -> Any:
    """A run as `make_run` makes it, not yet in the database."""
    from runs.models import FlowRun

    run_id = values.pop("id", None) or uuid7(int(start.timestamp() * 1_000_000))
    ended = StateType(state).is_final
    end = start + timedelta(seconds=seconds or 0) if ended else None
    began = None if state in {"SCHEDULED", "PENDING"} else start
    return FlowRun(
        **{
            "id": run_id,
            "team": flow.team,
            "flow": flow,
            "name": f"{random.choice(_ADJECTIVES)}-{random.choice(_ANIMALS)}",
            "state_type": state,
            "state_name": default_name(StateType(state)),
            "state_time": end or start,
            "expected_start": start,
            "start_time": began,
            "end_time": end,
            "attempt": 1 if began else 0,
            "revision": 1,
            **values,
        }
    )


def make_runs(runs: list[Any]) -> list[Any]:
    """Write new runs, and the attempts of those that began."""
    from runs.models import Attempt, FlowRun

    FlowRun.objects.bulk_create(runs)
    Attempt.objects.bulk_create(
        Attempt(
            flow_run=run,
            number=1,
            state_type=run.state_type,
            state_name=run.state_name,
            created_at=run.start_time,
            start_time=run.start_time,
            end_time=run.end_time,
            host="laptop",
            pid=4711,
            error=run.error,
            state_message=run.state_message,
        )
        for run in runs
        if run.start_time
    )
    return runs


def make_task_runs(
    run: Any, task: str, states: Iterable[str], begin: float, seconds: float, lanes: int = 4
) -> list[Any]:
    """Make task runs of one task, `lanes` at a time, from `begin` seconds after the run's start."""
    from runs.models import TaskRun

    rows = []
    for index, state in enumerate(states):
        created = run.start_time + timedelta(seconds=begin)
        start = created + timedelta(seconds=index // lanes * seconds)
        ended = StateType(state).is_final
        rows.append(
            TaskRun(
                id=uuid7(int(created.timestamp() * 1_000_000) + index * 10),
                flow_run=run,
                task=task,
                key=f"flights.{task}",
                index=index,
                name=f"{task}-{index}",
                state_type=state,
                state_name=default_name(StateType(state)),
                created_at=created,
                start_time=None if state == "PENDING" else start,
                attempt_start_time=None if state == "PENDING" else start,
                end_time=start + timedelta(seconds=seconds) if ended else None,
                state_message="OperationalError: connection timed out" if state == "FAILED" else "",
            )
        )
    return TaskRun.objects.bulk_create(rows)


def make_logs(run: Any, lines: Iterable[tuple[float, int, str, str]]) -> list[Any]:
    """Make log lines: seconds after the start, level, logger, message."""
    from runs.models import Log

    rows = []
    for number, (seconds, level, logger, message) in enumerate(lines):
        time = run.start_time + timedelta(seconds=seconds)
        id = uuid7(int(time.timestamp() * 1_000_000) + number)
        rows.append(Log(id=id, flow_run=run, time=time, level=level, logger=logger, message=message))
    return Log.objects.bulk_create(rows)


LINES = [
    (0.0, 20, "orchestrator.engine", "Created flow run 'jumpy-puppy' for flow 'flights'"),
    (2.9, 20, "extract", "Read 336,776 rows in 2.9 s"),
    (4.4, 30, "check_quality", "9,430 rows have no arrival delay (2.8 %, allowed 5 %)"),
    (8.9, 40, "connect_warehouse", "OperationalError: connection timed out; attempt 1 of 4, again in 3 s"),
    (13.0, 20, "connect_warehouse", "Connected"),
    (23.9, 20, "load_warehouse", "Loaded 327,346 rows"),
    (24.8, 20, "stdout", "Mapped over 16 carriers"),
    (39.3, 20, "publish", "Writing the report"),
]


def make_flights_run(flow: Any, start: datetime, state: str = "RUNNING", **values: Any) -> Any:
    """Make a run with a retried task, a mapped one, and logs."""
    from runs.models import TaskRun, TaskRunAttempt

    run = make_run(flow, start, 48.2, state, **values)
    make_task_runs(run, "extract", ["COMPLETED"], 0.1, 2.9)
    make_task_runs(run, "check_quality", ["COMPLETED"], 3.1, 1.4)
    [connect] = make_task_runs(run, "connect_warehouse", ["COMPLETED"], 4.6, 4.3)
    first = connect.start_time
    TaskRun.objects.filter(id=connect.id).update(
        attempt=2,
        max_retries=3,
        attempt_start_time=first + timedelta(seconds=7.5),
        end_time=first + timedelta(seconds=8.8),
    )
    TaskRunAttempt.objects.create(
        task_run=connect,
        number=1,
        state_type="FAILED",
        state_name="Failed",
        start_time=first,
        state_message="OperationalError: connection timed out",
        end_time=first + timedelta(seconds=4.3),
    )
    make_task_runs(run, "load_warehouse", ["COMPLETED"], 13.5, 10.6)
    make_task_runs(run, "delays_by_carrier", ["COMPLETED"] * 16, 24.4, 3.6)
    last = "COMPLETED" if state == "COMPLETED" else ("RUNNING" if state == "RUNNING" else "FAILED")
    make_task_runs(run, "publish", [last], 40.1, 6.7)
    make_logs(run, LINES)
    return run


def typical() -> dict[str, Any]:
    """What a small team has after two days. Returns what tests want by name."""
    from django.db import transaction

    with transaction.atomic():
        return _typical()


def _typical() -> dict[str, Any]:
    from flows.models import Deployment, Flow, Schedule, WorkQueue
    from runs.models import Trigger, Worker
    from teams.models import Team, User

    random.seed(7)
    now, team, admin = _now(), Team.default(), User.first_admin()
    queue = WorkQueue.default(team)
    Worker.objects.create(
        name="worker-1", host="laptop", pid=99, places=8, started_at=now, heartbeat_at=now + timedelta(days=1)
    )
    flows = {
        name: Flow.objects.create(
            team=team, name=name, description="Delays of flights by carrier." if name == "flights" else ""
        )
        for name in ("flights", "new-thing", "customer-report", "exchange-rates")
    }
    deployments, runs = {}, []
    for flow_name, name, kind, expression in (
        ("flights", "nightly", "weekly", "MO,TU,WE,TH,FR 02:00"),
        ("customer-report", "north", "cron", "30 15 * * 1-5"),
        ("exchange-rates", "hourly", "interval", "3600"),
    ):
        deployment = Deployment.objects.create(
            team=team,
            flow=flows[flow_name],
            name=name,
            entrypoint=f"flows/{flow_name}.py:{flow_name.replace('-', '_')}",
            directory="/srv/flows",
            queue=queue,
            parameter_schema=SCHEMA if flow_name == "flights" else {},
            tags=["warehouse"],
            parameters={"table": "delays", "year": 2013} if flow_name == "flights" else {},
            created_by=admin,
        )
        schedule = Schedule.objects.create(
            deployment=deployment, kind=kind, expression=expression, timezone="Europe/Paris"
        )
        deployments[flow_name] = deployment
        for ahead in range(1, 4):
            run = new_run(
                flows[flow_name],
                now + timedelta(hours=ahead * 3),
                None,
                "SCHEDULED",
                deployment=deployment,
                schedule=schedule,
                scheduled_for=now + timedelta(hours=ahead * 3),
                trigger=Trigger.SCHEDULE,
                queue=queue,
            )
            runs.append(run)
    for index in range(130):
        flow = random.choice(list(flows.values()))
        deployment = deployments.get(flow.name)
        state = "FAILED" if index in {5, 40} else "CRASHED" if index == 23 else "COMPLETED"
        base = {"flights": 48, "new-thing": 3, "customer-report": 72, "exchange-rates": 0.8}[flow.name]
        message = {
            "FAILED": "OperationalError: connection timed out",
            "CRASHED": "The process was killed by signal 9 (out of memory?)",
        }
        run = new_run(
            flow,
            now - timedelta(minutes=20 + index * 21),
            base * random.uniform(0.9, 1.15),
            state,
            deployment=deployment,
            trigger=Trigger.SCHEDULE if deployment else Trigger.SCRIPT,
            state_message=message.get(state, ""),
            queue=queue,
            parameters={"table": "delays"},
            error={"type": "OperationalError", "message": "connection timed out", "traceback": TRACEBACK}
            if state == "FAILED"
            else None,
        )
        runs.append(run)
    make_runs(runs)
    common = {"deployment": deployments["flights"], "trigger": Trigger.PERSON, "created_by": admin, "queue": queue}
    parameters = {"table": "delays", "year": 2013, "carriers": ["AA", "B6", "DL"], "notify": True}
    running = make_flights_run(
        flows["flights"], now - timedelta(seconds=47), parameters=parameters, tags=["warehouse"], **common
    )
    error = {"type": "OperationalError", "message": "connection timed out", "traceback": TRACEBACK}
    failed = make_flights_run(
        flows["flights"],
        now - timedelta(minutes=9),
        "FAILED",
        error=error,
        parameters=parameters,
        state_message="OperationalError: connection timed out",
        **common,
    )
    completed = make_flights_run(
        flows["flights"], now - timedelta(minutes=14), "COMPLETED", parameters=parameters, **common
    )
    make_run(flows["new-thing"], now - timedelta(seconds=1), None, "RUNNING")
    return {
        "flows": flows,
        "deployments": deployments,
        "running": running,
        "failed": failed,
        "completed": completed,
        "team": team,
        "admin": admin,
    }


def overfull() -> dict[str, Any]:
    """Long names, 10,000 task runs, a huge traceback, a long log."""
    from flows.models import Flow
    from runs.models import TaskRun

    made = typical()
    now, team = _now(), made["team"]
    long = (
        "a_flow_whose_author_wanted_to_say_everything_about_it_in_its_name_and_then_some_more_because_names_are_free_"
    )
    flow = Flow.objects.create(team=team, name=(long * 2)[:200], description="word " * 400)
    big = make_run(
        flow, now - timedelta(minutes=4), None, "RUNNING", name=(long * 3)[:200], tags=[long[:60], "b", "c" * 80]
    )
    states = (["COMPLETED"] * 49 + ["FAILED"]) * 200
    rows = make_task_runs(big, long[:100], states[:9000], 1, 0.2, lanes=10)
    make_task_runs(big, "square", ["COMPLETED"] * 900 + ["RUNNING"] * 8 + ["PENDING"] * 92, 30, 1.5, lanes=10)
    for index in range(80):
        make_task_runs(big, f"step_{index:02d}_{long[:40]}", ["COMPLETED"], 180 + index * 0.5, 0.4)
    make_logs(
        big,
        (
            (
                index * 0.01,
                (10, 20, 30, 40)[index % 4],
                "flights.module.with.a.long.name",
                f"Line {index}: " + "word " * (index % 40),
            )
            for index in range(12_000)
        ),
    )
    make_logs(big, [(200, 20, "stdout", "x" * 400_000)])
    error = {
        "type": "RecursionError",
        "message": "maximum recursion depth exceeded " * 60,
        "traceback": TRACEBACK * 700,
    }
    broken = make_run(
        flow,
        now - timedelta(minutes=30),
        3,
        "FAILED",
        error=error,
        state_message="RecursionError: " + "deep " * 900,
        parameters={"n" * 60: {"deep": list(range(900))}},
    )
    assert TaskRun.objects.filter(flow_run=big).count() == 10_080
    assert len(rows) == 9000
    for index in range(25):
        make_run(flow, now - timedelta(seconds=20 + index), None, "RUNNING", parent=big)
    return made | {"big": big, "broken": broken}


def main(kind: str = "typical") -> None:
    """Fill the home's database and print what to open."""
    from orchestrator import site

    site.setup()
    from django.core.management import call_command

    from teams.models import SignInLink, User

    call_command("migrate", verbosity=0)
    made: dict[str, Any] = {"empty": dict, "typical": typical, "overfull": overfull}[kind]()
    for name, value in made.items():
        if isinstance(getattr(value, "id", None), UUID):
            print(f"{name}={value.id}")
        elif isinstance(value, dict):
            print(*(f"{name}.{key}={one.id}" for key, one in value.items()), sep="\n")
    print(f"path=/sign-in/{SignInLink.issue(User.first_admin())}/")


if __name__ == "__main__":
    main(*sys.argv[1:])
