"""What is particular to Ray: where it comes from, resources, processes that cannot reach the flow's."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from orchestrator import RayTaskRunner, flow, get_run_logger, task
from orchestrator.sdk.runners import ray as ray_runner
from tests.runners.conftest import Gate, until_running
from tests.sdk.conftest import Recorded
from tests.sdk.processes import environment

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="the package ray is not installed"),
    pytest.mark.usefixtures("recorded"),
]


@pytest.fixture(scope="module")
def connected() -> Iterator[Any]:
    """A Ray that the user started, with a resource of its own."""
    import ray

    ray.init(
        num_cpus=2,
        resources={"licences": 1},
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
    )
    yield ray
    ray.shutdown()


@task
def add(x: int) -> int:
    return x + 1


@pytest.mark.usefixtures("connected")
def test_resources_of_a_task_bound_how_many_execute(tmp_path: Path):
    begun, go_on = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on")

    @task(resources={"licences": 1, "num_cpus": 0.5})
    def licensed() -> None:
        begun.open()
        go_on.wait()

    @flow(task_runner=RayTaskRunner())
    def whole() -> Any:
        first = licensed.submit()
        begun.wait()
        until_running(first)
        second = licensed.submit()
        free = add.submit(1).result()
        waiting = second.state.name
        go_on.open()
        begun.wait()
        go_on.open()
        return first.result(), second.result(), free, waiting

    assert whole() == (None, None, 2, "Pending")


@pytest.mark.usefixtures("connected")
def test_what_waits_for_its_place_is_taken_back(tmp_path: Path):
    begun, go_on = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on")

    @task(resources={"licences": 1})
    def licensed(second: bool) -> None:
        if not second:
            begun.open()
            go_on.wait()

    @flow(task_runner=RayTaskRunner())
    def whole() -> Any:
        first = licensed.submit(False)
        begun.wait()
        second = licensed.submit(True)
        cancelled = second.cancel()
        go_on.open()
        return cancelled, first.result(), second.state.name

    assert whole() == (True, None, "Cancelled")


def test_cancelling_cleans_up(connected: Any, tmp_path: Path):
    begun, go_on, cleaned = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on"), Gate(tmp_path / "cleaned")

    @task
    def blocks() -> None:
        try:
            begun.open()
            go_on.wait()
        finally:
            cleaned.open("up")

    @flow(task_runner=RayTaskRunner())
    def whole() -> str:
        future = blocks.submit()
        begun.wait()
        until_running(future)
        future.cancel()
        return cleaned.wait()

    assert whole() == "up"
    assert connected.is_initialized()


@pytest.mark.usefixtures("connected")
def test_processes_that_cannot_reach_the_flow_s_send_all_with_their_outcome(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    class Unreachable(ray_runner.Listener):
        def __init__(self, host: str, take: Any) -> None:
            super().__init__(host, take)
            super().close()

    monkeypatch.setattr(ray_runner, "Listener", Unreachable)

    @task
    def talks() -> bytes:
        print("far away")
        get_run_logger().info("and logged")
        return bytes(1_000_000)

    @flow(task_runner=RayTaskRunner())
    def whole() -> int:
        return len(talks.submit().result())

    assert whole() == 1_000_000
    assert recorded.printed() == ["far away"]
    assert recorded.printed("orchestrator.task_runs") == ["and logged"]
    assert "far away" in capfd.readouterr().out


SCRIPT = """
import os
from orchestrator import flow, task

@task
def move(x):
    print("moving")
    return x + 1, os.getpid()

@flow(task_runner="ray")
def main():
    x, pid = move.submit(1).result()
    assert pid != os.getpid()
    print("at", x)

main()
"""


def test_a_ray_that_is_not_there_is_told(home: Path, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.replace('"ray"', 'RayTaskRunner("ray://127.0.0.1:9")').replace("flow,", "flow, RayTaskRunner,")
    )
    done = subprocess.run([sys.executable, script], env=environment(home), capture_output=True, text=True, timeout=120)
    assert "RunnerError: The flow's Ray at ray://127.0.0.1:9 cannot be used" in done.stderr
