"""Limits under load: many processes take slots of the same tags at once, and none may be one too many."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measures import BenchmarkError, Bound, NotHereError, Row
from benchmarks.processes import PROGRAMS, PYTHON, environment, temporary_home

PROCESSES = 16
LIMITS = {"one": 1, "four": 4}  # as the program sets them
_PROGRAM = str(PROGRAMS / "acquiring.py")


def acquire(quick: bool) -> Iterator[Row]:
    """10,000 acquisitions by 16 processes on each database, judged from the times that the processes wrote down."""
    each = 10 if quick else 625
    for name, database in (("SQLite", _sqlite), ("PostgreSQL", _postgres)):
        with temporary_home() as home, database() as variables:
            seconds, spans = _run(environment(home, **variables), each)
        over = sum(_over([span for span in spans if tag in span[0]], limit) for tag, limit in LIMITS.items())
        what = f"slots on {name}, {len(spans):,} acquisitions by {PROCESSES} processes"
        yield Row(f"{what}: overshoots", "", (float(over),), Bound(0))
        yield Row(f"{what}: acquired", "/s", (len(spans) / seconds,), note="limits of 1 and 4, a quarter needs both")


def _run(variables: dict[str, str], each: int) -> tuple[float, list[tuple[list[str], float, float]]]:
    subprocess.run([PYTHON, _PROGRAM, "prepare"], env=variables, check=True, stdout=subprocess.DEVNULL)
    command = [PYTHON, _PROGRAM, str(each)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=variables, **pipes) for _ in range(PROCESSES)]  # type: ignore[call-overload]
    try:
        for process in processes:
            if process.stdout.readline() != "ready\n":
                raise BenchmarkError("a process did not start")
        begun = time.monotonic()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        printed = [process.communicate()[0] for process in processes]
        seconds = time.monotonic() - begun
    finally:
        for process in processes:
            process.kill()
            process.wait()
    spans = [tuple(span) for text in printed if text for span in json.loads(text)]
    if len(spans) != each * PROCESSES:
        raise BenchmarkError(f"{len(spans):,} of {each * PROCESSES:,} acquisitions came back")
    return seconds, spans


def _over(spans: list[tuple[list[str], float, float]], limit: int) -> int:
    """How many of these began while so many held already."""
    edges = sorted([(begun, 1) for _, begun, _ in spans] + [(ended, -1) for *_, ended in spans])
    now = over = 0
    for _, change in edges:
        now += change
        over += change > 0 and now > limit
    return over


@contextmanager
def _sqlite() -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def _postgres() -> Iterator[dict[str, str]]:
    try:
        from tests.servers import new_database, postgres  # they need packages of the development environment
    except ImportError as error:
        raise NotHereError(f"a PostgreSQL server for tests is not here: {error}") from None
    with postgres() as server, new_database(server, f"bench_{time.time_ns()}") as url:
        yield {"ORCHESTRATOR_DATABASE_URL": url}


BENCHMARKS = {"acquisitions": acquire}
