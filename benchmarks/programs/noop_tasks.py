"""N tasks that do nothing, in one flow: `noop_tasks.py N [--sync] [--when FILE]`.

Prints when it began and ended, as JSON. With --sync the journal is synced to disk after each task, as engines do that
commit each step; with --when the tasks begin when that file is there.
"""

import argparse
import json
import os
import time
from pathlib import Path

from orchestrator import flow, task


@task
def noop(number):
    return number


@flow
def many(count: int, sync: bool = False, when: str = ""):
    while when and not os.path.exists(when):
        time.sleep(0.02)
    descriptor = os.open(newest_journal(), os.O_RDONLY) if sync else -1
    begun = time.time()
    for number in range(count):
        noop(number)
        if sync:
            os.fdatasync(descriptor)
    return {"begun": begun, "ended": time.time()}


def newest_journal() -> Path:
    journals = Path(os.environ["ORCHESTRATOR_HOME"], "journals").glob("*.jsonl")
    return max(journals, key=lambda path: path.stat().st_mtime)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--sync", action="store_true")
    parser.add_argument("--when", default="")
    print(json.dumps(many(**vars(parser.parse_args()))))
