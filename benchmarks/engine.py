"""The engine alone, without a server: `python -m benchmarks.engine [TASKS]` prints what its parts cost.

`python -m benchmarks` measures the numbers to hold; this adds tasks that are submitted and mapped.
"""

import sys

from benchmarks.measures import BenchmarkError
from benchmarks.processes import PYTHON, environment, run, temporary_home
from benchmarks.scripts import hello_in_new_home, import_seconds, peak_megabytes

PROGRAM = """
import sys, time
from orchestrator import flow, task

@task
def noop(number):
    return number

@flow
def many(how: str, count: int) -> float:
    begun = time.perf_counter()
    if how == "called":
        for number in range(count):
            noop(number)
    elif how == "submitted":
        for number in range(count):
            noop.submit(number)
    else:
        noop.map(range(count)).result()
    return begun

begun = many(sys.argv[1], sys.argv[2])
print(int(sys.argv[2]) / (time.perf_counter() - begun))
"""


def rate(how: str, count: int) -> tuple[float, float]:
    """Return tasks a second, from the first to the end of the flow, all recorded; and the peak memory in megabytes."""
    with temporary_home() as home:
        command = [PYTHON, "-c", PROGRAM, how, str(count)]
        done = run(command, environment(home), watch_memory=True)
        completed = sum(
            line.count(b'"k":"task_state"') and line.count(b'"type":"COMPLETED"')
            for path in home.glob("journals/*.jsonl")
            for line in path.read_bytes().splitlines()
        )
        if completed != count:
            raise BenchmarkError(f"{completed:,} of {count:,} tasks are on record")
        return float(done.output.split()[-1]), done.peak_bytes / 1e6


def main(count: int = 20_000) -> None:
    """Measure and print."""
    print(f"{'import':34} {import_seconds() * 1000:10.0f} ms")
    print(f"{'one-print script, whole process':34} {hello_in_new_home() * 1000:10.0f} ms")
    for how in ("called", "submitted", "mapped"):
        per_second, megabytes = rate(how, count)
        print(f"{f'{count:,} no-op tasks {how}':34} {per_second:10,.0f} /s {megabytes:8.1f} MB")
    for many in (3_000, 300_000):
        print(f"{f'peak memory of {many:,} calls':34} {peak_megabytes(many):10.1f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
