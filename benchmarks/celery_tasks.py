"""Tasks on Celery's workers, beside bare Celery on the same broker."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from urllib.parse import quote

from benchmarks.measures import Bound, Row
from benchmarks.processes import PROGRAMS, PYTHON, run
from benchmarks.records import wait_until
from benchmarks.rounds import interleave
from benchmarks.scripts import row
from benchmarks.serving import Server, serving

WARM_UP = 300
IO_TASKS, CPU_TASKS = 32, 8
BARE, OURS = "bare Celery, no-ops sent and executed", "no-op tasks on CeleryTaskRunner, every one on record"
_SHARE = "no-op tasks on CeleryTaskRunner, of bare Celery's throughput"
_CPU, _IO = "8 tasks of 10 s of computing in all, on Celery", "16 tasks that wait for I/O, on Celery"


def celery(quick: bool) -> Iterator[Row]:
    """The throughput of no-ops as a share of bare Celery's, and what parallel work saves."""
    rounds, noops = (1, 2_000) if quick else (5, 5_000)
    with serving(api=True) as server:
        site = _Site(server)
        contenders = {BARE: lambda: site.bare(noops), OURS: lambda: site.noops(noops)}
        taken = interleave(contenders, rounds)
        yield row(BARE, "/s", taken, BARE, None)
        yield row(OURS, "/s", taken, OURS, None)
        problem = "; ".join(taken.problems.values())
        shares = () if problem else tuple(a / b for a, b in zip(taken.values[OURS], taken.values[BARE], strict=True))
        yield Row(
            _SHARE, "of it", shares, Bound(0.4, at_least=True), taken.note, problem, others_cores=taken.others_cores
        )
        fewer = 1 if quick else 3
        for what, title, bound in (("cpu", _CPU, Bound(0.70)), ("io", _IO, Bound(0.50))):
            measure = {title: lambda what=what: site.share(what)}  # type: ignore[misc]
            yield row(title, "of the time", interleave(measure, fewer), title, bound, "the start of processes included")


class _Site:
    """A server, and the deployment whose runs measure."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._deployment = server.deploy("celery_tasks", "celery", "--task-runner", "celery")
        self._numbers = count()
        self._tasks = 0

    def bare(self, noops: int) -> float:
        """Return how many no-ops bare Celery executes a second."""
        broker = f"redis+socket://{quote(str(self._server.home / 'broker.sock'))}"
        variables = {**self._server.environment, "BARE_BROKER": broker}
        output = run([PYTHON, PROGRAMS / "celery_bare.py", str(noops)], variables).output
        return noops / float(output.splitlines()[-1])

    def noops(self, noops: int) -> float:
        """Return how many no-op tasks a flow run has executed a second."""
        return noops / self._measured("noops", noops + WARM_UP, count=noops)["flow"]

    def share(self, what: str) -> float:
        """Return what a flow takes of the time that its tasks take one after the other."""
        one = self._measured(what, CPU_TASKS if what == "cpu" else IO_TASKS)
        return one["flow"] / one["alone"]

    def _measured(self, what: str, tasks: int, **parameters: int) -> dict[str, float]:
        """Run the flow once. BenchmarkError when a task run is not on record afterwards."""
        path = self._server.home / f"measured-{next(self._numbers)}"
        self._server.start_run(self._deployment, what=what, path=str(path), **parameters)
        wait_until(path.exists, f"the run that measures {what}", 180)
        self._tasks += tasks
        records = self._server.records
        wait_until(lambda: records.completed_tasks() >= self._tasks, f"{self._tasks:,} task runs on record", 30)
        records.expect_tasks(self._tasks)
        found: dict[str, float] = json.loads(path.read_text())
        return found


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"celery": celery}
