"""Runs that fail, one after the other: `failing.py COUNT [--flow NAME] [--pause SECONDS]`.

Each has a journal of its own, as if it were a process of its own, which the runs of a worker are. Three tasks, the last
of which raises, and a few printed lines: a small run that somebody wants to hear of.
"""

import argparse
import contextlib
import time

from orchestrator import flow, task
from orchestrator.sdk import journal


@task
def extract():
    print("extracting")
    return list(range(10))


@task
def transform(rows):
    print(f"transforming {len(rows)} rows")
    return sum(rows)


@task
def load(total):
    print(f"loading {total}")
    raise ConnectionError("no answer from the warehouse")


def failing():
    load(transform(extract()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--flow", default="failing")
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    fail = flow(failing, name=options.flow)
    for _ in range(options.count):
        with contextlib.suppress(ConnectionError):
            fail()
        journal.close()
        time.sleep(options.pause)
