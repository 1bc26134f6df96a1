"""`python -m benchmarks`: measure, print the table, and exit with 1 when a number is not held."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from benchmarks import pages, peers, scripts, served, table
from benchmarks.load import OtherLoad
from benchmarks.measures import BenchmarkError, NotHereError, Row

BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = scripts.BENCHMARKS | served.BENCHMARKS | pages.BENCHMARKS


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
    failed = [row for row in rows if row.holds is False]
    if failed:
        print(f"\n{len(failed)} of {sum(row.holds is not None for row in rows)} numbers are not held.")
    return 1 if failed else 0


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
    print(f"{time.monotonic() - begun:.0f} s, others used {load.cores():.2f} cores", file=sys.stderr)
    return rows


def _machine() -> str:
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
