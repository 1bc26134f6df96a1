"""What tasks cost on a runner: `runner_tasks.py KIND cpu|io|overhead`. Prints the seconds as JSON.

The cluster of Dask or Ray runs before anything is measured, as one does that is not started for a single flow.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator import DaskTaskRunner, ProcessPoolTaskRunner, RayTaskRunner, flow, task

CPU_TASKS, CPU_SECONDS = 8, 10.0
IO_TASKS, IO_SECONDS = 16, 0.5
NOOPS = 1_000


def count_to(number):
    while number:
        number -= 1


@task(resources={"num_cpus": 1})
def computes(number):
    count_to(number)


def wait_for_answer(seconds):
    time.sleep(seconds)


waits = task(wait_for_answer)


@task
def noop(number):
    return number


def same(number):
    return number


@contextmanager
def runner(kind, what) -> Iterator[tuple]:
    """Yield the runner, options for its tasks, and a function that has the bare engine call `same` so many times."""
    if kind == "processes":
        yield ProcessPoolTaskRunner(max_workers=8 if what == "io" else 2), {}, None
    elif kind == "dask":
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=2, threads_per_worker=4 if what == "io" else 1, dashboard_address=None) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):

            def bare(count):
                client.gather([client.submit(same, number, pure=False) for number in range(count)])

            yield DaskTaskRunner(cluster.scheduler_address), {}, bare
    else:
        import ray

        ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
        remote = ray.remote(same)

        def bare(count):
            ray.get([remote.remote(number) for number in range(count)])

        yield RayTaskRunner(), {"resources": {"num_cpus": 0.25}} if what == "io" else {}, bare
        ray.shutdown()


def seconds_of(call, *arguments):
    begun = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begun


def calibrated():
    """Return how far to count so that all the tasks of `cpu` take 10 s, one after the other."""
    number = 2_000_000
    return int(number * CPU_SECONDS / CPU_TASKS / min(seconds_of(count_to, number) for _ in range(3)))


def measure(kind, what):
    with runner(kind, what) as (pattern, options, bare):

        @flow(task_runner=pattern)
        def many(one, values):
            futures = [one.submit(value) for value in values]
            for future in futures:
                future.result()

        if what == "cpu":
            number = calibrated()
            alone = seconds_of(lambda: [count_to(number) for _ in range(CPU_TASKS)])
            return {"alone": alone, "flow": seconds_of(many, computes, [number] * CPU_TASKS)}
        if what == "io":
            one = waits.with_options(**options)
            many(one, [IO_SECONDS] * IO_TASKS)  # so that all processes are there
            return {"alone": IO_TASKS * IO_SECONDS, "flow": seconds_of(many, one, [IO_SECONDS] * IO_TASKS)}
        bare(200)
        many(noop, range(200))
        return {"count": NOOPS, "alone": seconds_of(bare, NOOPS), "flow": seconds_of(many, noop, range(NOOPS))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["processes", "dask", "ray"])
    parser.add_argument("what", choices=["cpu", "io", "overhead"])
    asked = parser.parse_args()
    print(json.dumps(measure(asked.kind, asked.what)))
