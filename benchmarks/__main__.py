"""`python -m benchmarks`: measure, print the table, and exit with 1 when a number is not held."""

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from benchmarks import (
    acquiring,
    celery_tasks,
    dispatch,
    launching,
    notifications,
    pages,
    parts,
    peers,
    runners,
    scripts,
    served,
    slots,
    sources,
    table,
    teams,
)
from benchmarks.load import OtherLoad
from benchmarks.measures import BenchmarkError, NotHereError, Row

BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = (
    scripts.BENCHMARKS
    | parts.BENCHMARKS
    | runners.BENCHMARKS
    | celery_tasks.BENCHMARKS
    | served.BENCHMARKS
    | dispatch.BENCHMARKS
    | launching.BENCHMARKS
    | sources.BENCHMARKS
    | slots.BENCHMARKS
    | acquiring.BENCHMARKS
    | notifications.BENCHMARKS
    | pages.BENCHMARKS
    | teams.BENCHMARKS
)


def main(arguments: list[str]) -> int:
    """Measure what was asked for; 1 when a number is not held."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the numbers that this project holds."
    )
    parser.add_argument(
        "--peers", action="store_true", help="also install Prefect, DBOS and Dagster and compare with them"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller numbers: does it work at all")
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=[*BENCHMARKS, "peers"],
        help=f"one of {', '.join(BENCHMARKS)}, peers",
    )
    options = parser.parse_args(arguments)
    chosen = options.only or [*BENCHMARKS, *(["peers"] if options.peers else [])]
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_machine()}", file=sys.stderr)
    rows = [row for name in BENCHMARKS if name in chosen for row in measure(name, options.quick)]
    if rows:
        print("\n" + "\n".join(table.lines(rows)))
    if "peers" in chosen:
        print("\n" + "\n".join(peers.compare(options.quick)))
    judged = [row.holds for row in rows if row.holds is not None]
    if judged:
        missed = judged.count(False)
        print(
            f"\n{missed} of {len(judged)} numbers are not held." if missed else f"\nAll {len(judged)} numbers are held."
        )
    return int(False in judged)


def measure(name: str, quick: bool) -> list[Row]:
    """Return a benchmark's rows; one that failed has a row that says why. Progress goes to standard error."""
    print(f"{name} … ", end="", file=sys.stderr, flush=True)
    begun, load = time.monotonic(), OtherLoad()
    rows: list[Row] = []
    try:
        for row in BENCHMARKS[name](quick):
            rows.append(row)
    except BenchmarkError as error:
        rows.append(Row(name, "", problem=str(error), skipped=isinstance(error, NotHereError)))
    others = load.cores()
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return [row if row.others_cores is not None else replace(row, others_cores=others) for row in rows]


def _machine() -> str:
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and homes removed
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
