"""Task runs that wait for one slot: prints how long after the end of each the next one began, in milliseconds."""

import sys
import threading
import time
from itertools import pairwise

from orchestrator import flow, task

all_wait = threading.Event()
times = []


@task(tags=["bench"])
def hold(number):
    all_wait.wait()
    times.append((time.monotonic(), time.monotonic()))


@flow
def hand_over(count):
    futures = [hold.submit(number) for number in range(count + 1)]
    while sum(future.state.name == "AwaitingConcurrencySlot" for future in futures) < count:
        time.sleep(0.05)
    all_wait.set()
    for future in futures:
        future.result()


if __name__ == "__main__":
    hand_over(int(sys.argv[1]))
    print(*(f"{(begun - ended) * 1000:.3f}" for (_, ended), (begun, _) in pairwise(times)))
