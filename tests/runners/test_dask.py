"""What is particular to Dask: clusters of one's own, its futures and collections, its dashboard."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from orchestrator import CrashedRun, DaskTaskRunner, RunnerError, flow, task
from tests.runners.conftest import Gate, until_running
from tests.sdk.conftest import Recorded
from tests.sdk.processes import environment

pytestmark = [
    pytest.mark.dask,
    pytest.mark.skipif(find_spec("distributed") is None, reason="the package dask is not installed"),
    pytest.mark.usefixtures("recorded"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one worker in this process's event loop thread, with a resource of its own."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        dashboard_address="127.0.0.1:0",
        resources={"licences": 1},
        memory_limit=0,
    ) as running:
        yield running


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """A client of the user's own."""
    from distributed import Client

    with Client(cluster, set_as_default=False) as connected:
        yield connected


@task
def total(values: Any) -> int:
    return int(sum(values["all"]))


def test_dask_futures_arrive_as_their_values(cluster: Any, client: Any):
    numbers = client.submit(range, 5)

    @flow(task_runner=DaskTaskRunner(cluster.scheduler_address))
    def whole() -> int:
        return total.submit({"all": numbers}).result()

    assert whole() == 10


def test_a_retry_gets_the_same_dask_futures(cluster: Any, client: Any, tmp_path: Path):
    numbers = client.submit(range, 5)

    @task(retries=1)
    def second_time(values: Any, marker: Path) -> int:
        if not marker.exists():
            marker.touch()
            raise ValueError("once more")
        return sum(values[0])

    @flow(task_runner=DaskTaskRunner(cluster.scheduler_address))
    def whole() -> int:
        return second_time.submit([numbers], tmp_path / "marker").result()

    assert whole() == 10


def test_dask_collections_compute_on_the_cluster_that_executes_the_task(cluster: Any):
    import dask

    @task
    def computes(collection: Any) -> int:
        return collection.compute()

    @flow(task_runner=DaskTaskRunner(cluster.scheduler_address))
    def whole() -> int:
        return computes.submit(dask.delayed(sum)([dask.delayed(abs)(-1), 2])).result()

    assert whole() == 3


def test_resources_of_a_task_bound_how_many_execute(cluster: Any, tmp_path: Path):
    begun, go_on = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on")

    @task(resources={"licences": 1, "num_cpus": 1})
    def licensed() -> None:
        begun.open()
        go_on.wait()

    @flow(task_runner=DaskTaskRunner(cluster.scheduler_address))
    def whole() -> Any:
        first = licensed.submit()
        begun.wait()
        until_running(first)
        second = licensed.submit()
        free = total.submit({"all": [1]}).result()
        waiting = second.state.name
        go_on.open()
        begun.wait()
        go_on.open()
        return first.result(), second.result(), free, waiting

    assert whole() == (None, None, 1, "Pending")


def test_async_code_is_cancelled_on_its_worker(cluster: Any, tmp_path: Path, recorded: Recorded):
    begun, ended = Gate(tmp_path / "begun"), Gate(tmp_path / "ended")

    @task
    async def awaits() -> None:
        import asyncio

        begun.open()
        try:
            await asyncio.Event().wait()
        finally:
            ended.open("cancelled")

    @flow(task_runner=DaskTaskRunner(cluster.scheduler_address))
    def whole() -> str:
        future = awaits.submit()
        begun.wait()
        until_running(future)
        future.cancel()
        return ended.wait()

    assert whole() == "cancelled"
    assert not [line for line in recorded.printed("orchestrator.task_runs") if "left behind" in line]


def test_the_dashboard_is_recorded_with_the_run(cluster: Any, recorded: Recorded):
    @flow(task_runner=DaskTaskRunner(cluster.scheduler_address))
    def whole() -> int:
        return total.submit({"all": [1, 2]}).result()

    assert whole() == 3
    (line,) = [line for line in recorded.printed("orchestrator.engine") if line.startswith("Dask dashboard: ")]
    assert line.endswith(cluster.dashboard_link.rpartition(":")[2])


def test_a_cluster_of_a_class_that_adapts(recorded: Recorded):
    runner = DaskTaskRunner(
        cluster_class="distributed.LocalCluster",
        cluster_kwargs={"processes": False, "n_workers": 0, "threads_per_worker": 1, "memory_limit": 0},
        adapt_kwargs={"minimum": 0, "maximum": 2, "interval": "50ms"},
    )

    @flow(task_runner=runner)
    def whole() -> Any:
        return total.map([{"all": [n]} for n in range(4)]).result()

    assert whole() == [0, 1, 2, 3]


def test_a_cluster_that_is_not_there_is_told(recorded: Recorded):
    @flow(task_runner=DaskTaskRunner("tcp://127.0.0.1:9", client_kwargs={"timeout": 0.2}))
    def whole() -> None:
        total.submit({"all": []}).result()

    with pytest.raises(RunnerError, match=r"Dask cluster at tcp://127.0.0.1:9 cannot be used"):
        whole()
    with pytest.raises(ValueError, match="not both"):
        DaskTaskRunner("tcp://127.0.0.1:9", cluster_kwargs={"n_workers": 1})


def test_what_waits_on_a_lost_worker_goes_to_another_one(tmp_path: Path, recorded: Recorded):
    begun, go_on = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on")

    @task
    def blocks() -> None:
        begun.open(str(os.getpid()))
        go_on.wait()

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 1, "threads_per_worker": 1, "memory_limit": 0}))
    def whole() -> Any:
        blocking = blocks.submit()
        pid = int(begun.wait())
        until_running(blocking)
        waiting = total.map([{"all": [n]} for n in range(6)])
        os.kill(pid, signal.SIGKILL)
        return type(blocking.result(raise_on_failure=False)), waiting.result()

    assert whole() == (CrashedRun, [0, 1, 2, 3, 4, 5])
    assert recorded.task_states("total-0") == [(1, "Pending"), (1, "Running"), (1, "Completed")]


SCRIPT = """
import os
from orchestrator import flow, task

class Point:
    def __init__(self, x):
        self.x = x

@task
def move(point):
    print("moving")
    return Point(point.x + 1), os.getpid()

@flow(task_runner="dask")
def main():
    (point, pid) = move.submit(Point(1)).result()
    assert type(point) is Point and pid != os.getpid()
    print("at", point.x)

main()
"""


def test_a_script_with_a_cluster_of_its_own_needs_no_guard(home: Path, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split("\n") == ["moving", "at 2", ""], done.stderr
    assert "Traceback" not in done.stderr
    assert [fact["message"] for fact in Recorded(home).facts("log") if fact["logger"].startswith("distributed")] == []
