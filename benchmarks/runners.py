"""Task runners that execute elsewhere: what they save, and what a task costs beside the bare engine."""

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from benchmarks.measures import Bound, Row
from benchmarks.processes import PROGRAMS, PYTHON, environment, run, temporary_home
from benchmarks.records import Records
from benchmarks.rounds import interleave
from benchmarks.scripts import row

KINDS = ("processes", "dask", "ray")
PACKAGES = {"dask": "distributed", "ray": "ray"}


def runners(quick: bool) -> Iterator[Row]:
    """Each runner in turn; what is not installed is skipped."""
    rounds = 1 if quick else 3
    for kind in KINDS:
        yield _share(kind, "cpu", rounds, f"8 tasks of 10 s of computing in all, on {kind}", Bound(0.70))
    for kind in KINDS:
        yield _share(kind, "io", rounds, f"16 tasks that wait for I/O, on {kind}", Bound(0.50))
    for kind in ("dask", "ray"):
        yield _overhead(kind, rounds)


def _share(kind: str, what: str, rounds: int, title: str, bound: Bound) -> Row:
    """What a flow takes of the time that its tasks take one after the other."""

    def measure() -> float:
        one = _measured(kind, what, 8 if what == "cpu" else 32)
        return one["flow"] / one["alone"]

    note = "the start of the pool included" if kind == "processes" else "on a cluster that runs already"
    return _measured_row(kind, title, "of the time", measure, rounds, bound, note)


def _overhead(kind: str, rounds: int) -> Row:
    def measure() -> float:
        one = _measured(kind, "overhead", 1_200)
        return (one["flow"] - one["alone"]) / one["count"] * 1_000

    title = f"a no-op task on {kind}, beyond the bare engine's"
    return _measured_row(kind, title, "ms", measure, rounds, Bound(1.5), "every task run on record")


def _measured_row(
    kind: str, title: str, unit: str, measure: Callable[[], float], rounds: int, bound: Bound, note: str
) -> Row:
    package = PACKAGES.get(kind)
    if package and find_spec(package) is None:
        return Row(title, unit, problem=f"the package {package} is not installed", skipped=True)
    return row(title, unit, interleave({title: measure}, rounds), title, bound, note)


def _measured(kind: str, what: str, tasks: int) -> dict[str, float]:
    """Run the program once; BenchmarkError when a task run is not on record afterwards."""
    with temporary_home() as home:
        output = run([PYTHON, PROGRAMS / "runner_tasks.py", kind, what], environment(home)).output
        records = Records(home)
        records.bring_in()
        records.expect_tasks(tasks)
        found: dict[str, float] = json.loads(output.splitlines()[-1])
        return found


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"runners": runners}
