"""Runs that fail: `failing.py COUNT [--flow NAME] [--pause SECONDS] [--each RUNS]`.

Each is in a forked process, as a worker's are; with --each, so many one after the other in each process.
Three tasks, the last of which raises, and a few printed lines: a small run that somebody wants to hear of.
"""

import argparse
import contextlib
import os
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
    parser.add_argument("--each", type=int, default=1)
    options = parser.parse_args()
    fail = flow(failing, name=options.flow)
    for begun in range(0, options.count, options.each):
        if not (child := os.fork()):
            for _ in range(min(options.each, options.count - begun)):
                with contextlib.suppress(ConnectionError):
                    fail()
            journal.close()
            os._exit(0)
        os.waitpid(child, 0)
        time.sleep(options.pause)
