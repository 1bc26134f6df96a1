"""What tasks cost on Celery's workers, from within a run: writes the seconds to a file, as JSON."""

import json
import os
import time

from orchestrator import flow, task

CPU_TASKS, CPU_SECONDS = 8, 10.0
IO_TASKS, IO_SECONDS = 16, 0.5
WARM_UP = 300


def count_to(number):
    while number:
        number -= 1


@task
def computes(number):
    count_to(number)


@task
def waits(seconds):
    time.sleep(seconds)


@task
def noop(number):
    return number


def seconds_of(call, *arguments):
    begun = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begun


def many(one, values):
    one.map(values).result()


def calibrated():
    """Return how far to count so that all the tasks of `cpu` take 10 s, one after the other."""
    number = 2_000_000
    return int(number * CPU_SECONDS / CPU_TASKS / min(seconds_of(count_to, number) for _ in range(3)))


def measured(what, count):
    if what == "cpu":
        number = calibrated()
        alone = seconds_of(lambda: [count_to(number) for _ in range(CPU_TASKS)])
        return {"alone": alone, "flow": seconds_of(many, computes, [number] * CPU_TASKS)}
    if what == "io":
        many(waits, [IO_SECONDS] * IO_TASKS)  # so that all processes are there
        return {"alone": IO_TASKS * IO_SECONDS, "flow": seconds_of(many, waits, [IO_SECONDS] * IO_TASKS)}
    many(noop, range(WARM_UP))
    return {"flow": seconds_of(many, noop, range(count))}


@flow
def celery_tasks(what: str, path: str, count: int = 0):
    result = measured(what, count)
    with open(path + ".new", "w") as file:
        json.dump(result, file)
    os.rename(path + ".new", path)
