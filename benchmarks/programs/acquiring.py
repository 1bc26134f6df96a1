"""Take and free slots of a limited tag, one after the other, and write down when each was held, by one clock.

`acquiring.py prepare` makes the database and the limits; `acquiring.py COUNT` waits for a line, then acquires.
"""

import json
import random
import sys
import time
from uuid import UUID

from orchestrator import site

site.setup()

from django.core.management import call_command  # noqa: E402  the site has to be set up first
from django.db import OperationalError, connection  # noqa: E402

from orchestrator.sdk.events import FlowRunCreated, FlowRunState, Header, TaskRunCreated, TaskRunState  # noqa: E402
from orchestrator.sdk.ids import uuid7  # noqa: E402
from orchestrator.sdk.reader import Batch  # noqa: E402
from runs import slots, tag_limits  # noqa: E402
from runs.ingest import ingest  # noqa: E402
from runs.models import Slot  # noqa: E402
from teams.models import Team  # noqa: E402

LIMITS = {"one": 1, "four": 4}
MOMENT_SECONDS = 0.0005
LOOK_SECONDS = 0.01
AGAIN_SECONDS = 2.0


def prepare() -> None:
    """Make the database and the limits."""
    call_command("migrate", verbosity=0)
    for tag, limit in LIMITS.items():
        tag_limits.create_limit(Team.default(), tag=tag, limit=limit)


class Script:
    """What a script records."""

    def __init__(self) -> None:
        self.run = str(uuid7())
        self._header = Header(journal=str(uuid7()), t=time.time_ns() // 1000)
        self._number = 0

    def record(self, *facts: FlowRunCreated | FlowRunState | TaskRunCreated | TaskRunState) -> None:
        """Have these facts brought in."""
        for fact in facts:
            self._number += 1
            fact.n, fact.t = self._number, time.time_ns() // 1000
        ingest(Batch(self._header, list(facts)), tell=False)


def wait_for_grant(task_run: UUID) -> None:
    """Wait as a task run does that is told by push, and asks again by itself only after a while.

    Nobody pushes here: the process looks at its own row, which takes no lock and keeps nobody else waiting.
    """
    deadline = time.monotonic() + AGAIN_SECONDS
    granted = f"SELECT 1 FROM {Slot._meta.db_table} WHERE task_run = %s AND granted_at IS NOT NULL"
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            time.sleep(random.uniform(0.5, 1.5) * LOOK_SECONDS)
            cursor.execute(granted, [task_run if connection.vendor == "postgresql" else task_run.hex])
            if cursor.fetchone() is not None:
                return


def is_granted(question: slots.Ask, team: Team) -> bool:
    """Ask; a database that is busy for too long answers later, as the API says it to a script."""
    try:
        return slots.ask(question, team).granted
    except OperationalError:
        return False


def acquire(count: int) -> list[tuple[list[str], float, float]]:
    """Run so many task runs; return the tags of each with the times between which it held its slots."""
    team, script = Team.default(), Script()
    script.record(
        FlowRunCreated(run=script.run, flow="bench", name="bench"),
        FlowRunState(run=script.run, type="RUNNING", name="Running"),
    )
    held = []
    for number in range(count):
        tags = (["one"], ["four"], ["four", "one"], ["four"])[number % 4]
        task = str(uuid7())
        question = slots.Ask(UUID(script.run), 1, UUID(task), tags)
        while not is_granted(question, team):
            wait_for_grant(question.task_run)
        begun = time.monotonic()
        time.sleep(MOMENT_SECONDS)
        held.append((tags, begun, time.monotonic()))
        script.record(
            TaskRunCreated(run=script.run, id=task, task="load", key="load", index=number, tags=tags,
                           type="RUNNING", state="Running"),
            TaskRunState(run=script.run, id=task, type="COMPLETED", name="Completed"),
        )  # fmt: skip
    script.record(FlowRunState(run=script.run, type="COMPLETED", name="Completed"))
    return held


if sys.argv[1] == "prepare":
    prepare()
else:
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(acquire(int(sys.argv[1]))))
