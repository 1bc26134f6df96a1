"""Slots of limited tags: how soon a freed one starts the next task run that waits."""

from collections.abc import Iterator

from benchmarks.measures import BenchmarkError, Bound, Row, percentile
from benchmarks.processes import PROGRAMS, PYTHON, run
from benchmarks.serving import serving


def hand_over(quick: bool) -> Iterator[Row]:
    """From the end of the task run that holds the only slot to the next one's first line of user code."""
    count = 20 if quick else 200
    with serving(api=True) as server:
        server.call("POST", "/api/concurrency-limits/", {"tag": "bench", "limit": 1})
        output = run([PYTHON, PROGRAMS / "slots.py", str(count)], server.environment).output
    waited = [float(word) for word in output.split()]
    if len(waited) != count or min(waited) < 0:
        raise BenchmarkError(
            f"{len(waited)} of {count} were started, the soonest after {min(waited, default=0):.3f} ms"
        )
    note = f"{count} waiting in one script, limit 1"
    yield Row("slot freed to the next task run's code, p50", "ms", (percentile(waited, 50),), note=note)
    yield Row("slot freed to the next task run's code, p95", "ms", (percentile(waited, 95),), Bound(100), note)


BENCHMARKS = {"slots": hand_over}
