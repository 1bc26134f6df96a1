"""Runs that fail, one after the other in one process: `failing.py COUNT [--flow NAME] [--pause SECONDS]`."""

import argparse
import contextlib
import time

from orchestrator import flow, task


@task
def load():
    raise ConnectionError("no answer from the warehouse")


def failing():
    print("loading")
    load()


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
        time.sleep(options.pause)
