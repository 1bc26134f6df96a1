"""Bare Celery: `celery_bare.py COUNT` sends so many no-ops to a worker of its own and prints the seconds as JSON.

The broker is the one of `BARE_BROKER`, the settings are those of the project's workers, results are ignored.
"""

import itertools
import json
import os
import subprocess
import sys
import time

import redis
from celery import Celery

BROKER = os.environ["BARE_BROKER"]
DONE = "bare.done"
WARM_UP = 300

app = Celery("bare", broker=BROKER)
app.conf.update(
    task_ignore_result=True,
    task_default_queue="bare",
    worker_pool="threads",
    worker_concurrency=4,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
executed = itertools.count(1)
client = redis.Redis.from_url(BROKER.replace("redis+socket://", "unix://"))


@app.task
def noop(number, last):
    """Return the number; the last of them says so."""
    if next(executed) == last:
        client.lpush(DONE, last)
    return number


def seconds_of(count, before):
    begun = time.perf_counter()
    for number in range(count):
        noop.delay(number, before + count)
    assert client.blpop(DONE, timeout=120) is not None
    return time.perf_counter() - begun


def main(count):
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_bare", "worker", "--without-gossip", "--without-mingle"],
        cwd=os.path.dirname(os.path.abspath(__file__)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        seconds_of(WARM_UP, 0)
        print(json.dumps(seconds_of(count, WARM_UP)))
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    from celery_bare import main as main_of_the_module  # tasks are named by their module

    main_of_the_module(int(sys.argv[1]))
