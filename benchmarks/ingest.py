"""How fast facts reach the database: one flow run with many no-op tasks, as a script's journal has it.

`python -m benchmarks.ingest [TASKS]` measures SQLite in a new home, and PostgreSQL where `ORCHESTRATOR_DATABASE_URL`
names one (`python -m tests.with_postgres` starts one and names it in `TEST_DATABASE_URL`).
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.sdk.events import Fact, FlowRunCreated, FlowRunState, Log, TaskRunCreated, TaskRunState
from orchestrator.sdk.ids import uuid7

LOG_EVERY = 100


def facts_of_a_run(tasks: int, *, mapped: bool = False) -> Iterator[Fact]:
    """Yield the facts of a flow run with no-op tasks: two a task, or three where they are submitted all at once."""
    run = str(uuid7())
    yield FlowRunCreated(run=run, flow="bench", name="swift-otter", parameters={"tasks": tasks})
    yield FlowRunState(run=run, type="RUNNING", name="Running", pid=os.getpid())
    ids = []
    for index in range(tasks):
        id_ = str(uuid7())
        ids.append(id_)
        first = ("PENDING", "Pending") if mapped else ("RUNNING", "Running")
        yield TaskRunCreated(
            run=run, id=id_, task="noop", key="bench.noop", index=index, name=f"noop-{index}",
            type=first[0], state=first[1],
        )  # fmt: skip
        if not mapped:
            yield TaskRunState(run=run, id=id_, type="COMPLETED", name="Completed")
        if index % LOG_EVERY == 0:
            yield Log(run=run, logger="stdout", message=f"task {index}")
    for id_ in ids if mapped else ():
        yield TaskRunState(run=run, id=id_, type="RUNNING", name="Running")
    for id_ in ids if mapped else ():
        yield TaskRunState(run=run, id=id_, type="COMPLETED", name="Completed")
    yield FlowRunState(run=run, type="COMPLETED", name="Completed")


def write_journal(facts: Iterator[Fact]) -> None:
    """Write a journal into the home, as a script does."""
    from orchestrator.sdk import journal

    for fact in facts:
        journal.record(fact)
    journal.close()


def main(tasks: int = 10_000) -> None:
    """Print tasks a second for plain calls and for mapped tasks, and how memory grew."""
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as folder:
        os.environ["ORCHESTRATOR_HOME"] = folder
        from orchestrator import site

        site.setup()
        from django.conf import settings
        from django.core.management import call_command
        from django.db import connection

        from orchestrator.sdk.reader import JournalReader, segments
        from runs.ingest import ingest
        from runs.models import TaskRun

        settings.AFTER_INGEST = "builtins.len"  # no broker here
        call_command("migrate", verbosity=0)
        for label, mapped in (("warm-up", False), ("called", False), ("mapped", True)):
            write_journal(facts_of_a_run(tasks if label != "warm-up" else 200, mapped=mapped))
            before = TaskRun.objects.count()
            memory = _peak()
            started, cpu = time.perf_counter(), time.process_time()
            for segment in segments(settings.HOME):
                for batch in JournalReader(segment).batches(max_facts=int(os.environ.get("BATCH", "2000"))):
                    ingest(batch)
                segment.path.unlink()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            done = TaskRun.objects.filter(state_type="COMPLETED").count() - before
            print(
                f"{connection.vendor:<11} {label:<8} {done:>7} task runs in {seconds:.2f} s: {done / seconds:>7,.0f}/s"
                f" (cpu {cpu:.2f} s), peak memory +{_peak() - memory} MB"
            )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main(*map(int, sys.argv[1:]))
