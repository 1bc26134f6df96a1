"""How long it takes from a claim to the first line of user code, by what a deployment's block says."""

import os
import time
from collections.abc import Callable, Iterator

from benchmarks.measures import Bound, Row, percentile
from benchmarks.processes import PYTHON
from benchmarks.records import moment
from benchmarks.serving import Server, serving

HOLD_MILLISECONDS = 40.0
#: By what is measured: the options of the block, None for no block; and what is held.
WAYS: dict[str, tuple[tuple[str, ...] | None, Bound | None]] = {
    "a process": (None, Bound(HOLD_MILLISECONDS)),
    "a process with limits": (
        ("--memory-mb", "1024", "--cpu-seconds", "60", "--open-files", "256", "--environment", "A=1"),
        Bound(HOLD_MILLISECONDS),
    ),
    "another Python": (("--python", PYTHON), None),
    "another user": (("--user", "root"), None),
}


def launch(quick: bool) -> Iterator[Row]:
    """Runs of one deployment after the other, while nothing else happens."""
    runs = 5 if quick else 40
    with serving(api=True) as server:
        for number, (way, (options, bound)) in enumerate(WAYS.items()):
            if way == "another user" and os.geteuid() != 0:
                continue
            infrastructure = f"block-{number}" if options is not None else "process"
            if options is not None:
                server.command("block", "create", "process", infrastructure, *options)
            deployment = server.deploy("mark", f"way-{number}", "--infrastructure", infrastructure)
            claim_to_code(server, deployment, f"warm-up-{number}")
            times = [1000 * claim_to_code(server, deployment, f"{number}-{n}") for n in range(runs)]
            note = f"{runs} runs, idle; p95 {percentile(times, 95):.0f} ms"
            yield Row(f"claim to user code, {way}, p50", "ms", (percentile(times, 50),), bound, note)


def claim_to_code(server: Server, deployment: str, name: str) -> float:
    """Have a run executed; return the seconds from its claim, as the database has it, to its user code."""
    mark = server.home / name
    completed = server.records.completed_runs()
    run = server.start_run(deployment, path=str(mark))
    server.wait_for_completed(completed + 1, 30)
    time.sleep(0.15)  # idle again
    query = "SELECT created_at FROM runs_attempt WHERE flow_run_id = ?"
    ((claimed,),) = server.records.rows(query, run.replace("-", ""))
    return float(mark.read_text()) - moment(claimed)


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"launch": launch}
