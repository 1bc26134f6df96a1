"""Plain scripts, no server: import, one print, many tasks, memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measures import BenchmarkError, Bound, NotHereError, Row
from benchmarks.processes import PROGRAMS, PYTHON, environment, run, temporary_home
from benchmarks.records import Records
from benchmarks.rounds import Rounds, interleave

IMPORT = "from orchestrator import flow, task"
DURABLE = "written to the journal before the engine goes on; not synced"


def start_up(quick: bool) -> Iterator[Row]:
    """The import, and a one-print script as a whole process: in an empty home and in one with runs."""
    with temporary_home() as warm:
        run([PYTHON, PROGRAMS / "hello.py"], environment(warm))
        contenders = {
            "import": import_seconds,
            "bare": lambda: run([PYTHON, "-c", "pass"], environment(warm)).seconds,
            "cold": hello_in_new_home,
            "warm": lambda: run([PYTHON, PROGRAMS / "hello.py"], environment(warm)).seconds,
        }
        rounds = interleave(contenders, 3 if quick else 9, warm_up=True)
    yield row(f"`{IMPORT}`", "s", rounds, "import", Bound(0.08))
    yield row("one-print script, whole process, empty home", "s", rounds, "cold", Bound(0.15))
    yield row("one-print script, whole process, warm", "s", rounds, "warm", Bound(0.15))
    yield row("(python that does nothing, for comparison)", "s", rounds, "bare", None)


def import_seconds() -> float:
    """How long the import takes, in a process of its own and without Python's own start."""
    with temporary_home() as home:
        program = f"import time; begun = time.perf_counter(); {IMPORT}; print(time.perf_counter() - begun)"
        return float(run([PYTHON, "-c", program], environment(home)).output)


def tasks(quick: bool) -> Iterator[Row]:
    """No-op tasks in one flow; every one has to be on record at the end."""
    count, synced = (5_000, 200) if quick else (20_000, 1_000)
    with temporary_home() as home:
        contenders = {
            "written": lambda: tasks_per_second(home, count),
            "synced": lambda: tasks_per_second(home, synced, "--sync"),
        }
        rounds = interleave(contenders, 3 if quick else 5)
    yield row(
        f"no-op tasks in one flow, {count:,} recorded", "/s", rounds, "written", Bound(10_000, at_least=True), DURABLE
    )
    yield row(f"the same, each synced to disk, {synced:,} recorded", "/s", rounds, "synced", None)


def tasks_per_second(home: Path, count: int, *options: str) -> float:
    """Run so many tasks; BenchmarkError when one of them is not on record afterwards."""
    records = Records(home)
    before = records.completed_tasks()
    begun, ended = run_tasks(count, environment(home), *options)
    records.bring_in()
    records.expect_tasks(before + count)
    return count / (ended - begun)


def run_tasks(count: int, variables: dict[str, str], *options: str) -> tuple[float, float]:
    """Run so many no-op tasks in one flow; return when the flow's first and last line ran, in seconds of the epoch."""
    output = run([PYTHON, PROGRAMS / "noop_tasks.py", str(count), *options], variables).output
    times = json.loads(output.splitlines()[-1])
    return times["begun"], times["ended"]


def memory(quick: bool) -> Iterator[Row]:
    """The peak of that script, summed over its process tree, and how it grows with the number of tasks."""
    few, many = 3_000, 30_000 if quick else 300_000
    base = peak_megabytes(few)
    yield Row(f"peak memory of that script, {few:,} tasks", "MB", (base,), Bound(60), "process tree, a run of its own")
    grown = peak_megabytes(many)
    yield Row(f"its growth with {many:,} tasks", "MB", (max(0.0, grown - base),), Bound(5), f"peak {grown:.1f} MB")


def peak_megabytes(count: int) -> float:
    """The peak memory of a script of so many tasks."""
    if not Path("/proc/self/status").exists():
        raise NotHereError("memory is read from /proc, which is not here")
    with temporary_home() as home:
        command = [PYTHON, PROGRAMS / "noop_tasks.py", str(count)]
        finished = run(command, environment(home), watch_memory=True)
        if (facts := _facts(home)) < 2 * count:
            raise BenchmarkError(f"the journal has {facts:,} facts of {count:,} tasks")
        return finished.peak_bytes / 1e6


def row(what: str, unit: str, rounds: Rounds, name: str, bound: Bound | None, note: str = "") -> Row:
    """Make a row of what one contender measured."""
    notes = "; ".join(filter(None, [note, rounds.note]))
    values, problem = rounds.values.get(name, ()), rounds.problems.get(name, "")
    return Row(what, unit, values, bound, notes, problem, others_cores=rounds.others_cores)


def hello_in_new_home() -> float:
    """How long one print takes as a whole process, in a new home."""
    with temporary_home() as home:
        return run([PYTHON, PROGRAMS / "hello.py"], environment(home)).seconds


def _facts(home: Path) -> int:
    """How many facts the journals of a home have: one a line, and two a task."""
    total = 0
    for path in (home / "journals").iterdir():
        with path.open("rb") as file:
            total += sum(1 for _ in file)
    return total


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"start-up": start_up, "tasks": tasks, "memory": memory}
