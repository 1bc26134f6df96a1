"""What is particular to processes: where they come from, and that none is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ProcessPoolTaskRunner, flow, runtime, task
from tests.runners.conftest import WAIT_SECONDS, Gate, until_gone
from tests.sdk.conftest import Recorded
from tests.sdk.processes import environment
from tests.sdk.slot_server import slot_server

pytestmark = pytest.mark.usefixtures("recorded")


@task
def pid() -> int:
    return os.getpid()


def test_processes_are_used_again_and_end_with_their_flow():
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def whole() -> Any:
        return {pid.submit().result() for _ in range(5)}

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def several() -> set[int]:
        return {future.result() for future in [pid.submit() for _ in range(20)]}

    assert len(whole()) == 1
    pids = several()
    assert 1 <= len(pids) <= 2
    assert not [number for number in pids if Path(f"/proc/{number}").exists()]


def test_a_pool_by_name_and_by_the_environment(monkeypatch: pytest.MonkeyPatch):
    @flow(task_runner="processes")
    def by_name() -> int:
        return pid.submit().result()

    @flow
    def by_default() -> int:
        return pid.submit().result()

    assert by_name() != os.getpid()
    assert by_default() == os.getpid()
    monkeypatch.setenv("ORCHESTRATOR_TASK_RUNNER", "processes")
    assert by_default() != os.getpid()
    monkeypatch.setenv("ORCHESTRATOR_TASK_RUNNER", "proceses")
    with pytest.raises(ValueError, match=r"no task runner 'proceses'\. There are celery, dask, inline, processes"):
        by_default()
    monkeypatch.setenv("ORCHESTRATOR_TASK_RUNNER", "processes:1")
    assert by_default() != os.getpid()
    monkeypatch.setenv("ORCHESTRATOR_TASK_RUNNER", "inline:1")
    with pytest.raises(ValueError, match="'inline' takes nothing after its name"):
        by_default()
    with pytest.raises(ValueError, match="no task runner 'thread'"):
        flow(task_runner="thread")(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="max_workers"):
        ProcessPoolTaskRunner(max_workers=0)


def test_cancelling_cleans_up_and_keeps_the_process(tmp_path: Path, recorded: Recorded):
    begun, go_on, cleaned = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on"), Gate(tmp_path / "cleaned")

    @task
    def blocks() -> None:
        try:
            begun.open(str(os.getpid()))
            go_on.wait()
        finally:
            cleaned.open("up")

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def whole() -> Any:
        future = blocks.submit()
        before = int(begun.wait())
        future.cancel()
        assert cleaned.wait() == "up"
        return before == pid.submit().result()

    assert whole() is True


def test_a_timed_out_flow_leaves_no_process(tmp_path: Path, recorded: Recorded):
    begun, go_on = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on")
    seen: list[int] = []

    @task
    def blocks() -> None:
        begun.open(str(os.getpid()))
        go_on.wait()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1), timeout_seconds=2)
    def whole() -> None:
        future = blocks.submit()
        seen.append(int(begun.wait()))
        future.result()

    with pytest.raises(TimeoutError):
        whole()
    until_gone(seen[0])


@task(tags=["database"], retries=1)
def load() -> None:
    if runtime.task_run.run_count == 1:
        raise ValueError("once more")


def test_limited_tasks_within_a_task_ask_after_the_facts_before(
    home: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
):
    @task
    def outer() -> None:
        load()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def whole() -> None:
        outer.submit().result()

    with slot_server(database=1) as server:
        monkeypatch.setenv("ORCHESTRATOR_API_URL", server.url)
        monkeypatch.setenv("ORCHESTRATOR_RUN_ID", "a-run-of-a-worker")
        (home / "limits.json").write_text(json.dumps({"version": 1, "tags": ["database"]}))
        whole()
    first, second = server.asked
    (journal,) = recorded.facts("header")
    assert first["task_run"] == second["task_run"]
    assert second["journal"] == journal["journal"]
    (before,) = [fact["n"] for fact in recorded.facts("task_state") if fact["name"] == "AwaitingRetry"]
    assert second["sequence"] >= before


SCRIPT = """
import os, sys
from orchestrator import flow, task

class Point:
    def __init__(self, x):
        self.x = x

@task
def move(point):
    print("moving", flush=True)
    return Point(point.x + 1)

@flow(task_runner="processes")
def main():
    point = move.submit(move.submit(Point(1))).result()
    assert type(point) is Point
    print("at", point.x)

main()
"""


def test_a_script_needs_no_guard(home: Path, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], env=environment(home), capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n") == ["moving", "moving", "at 3", ""], done.stderr


KILLED = """
import os, sys, time
from orchestrator import flow, task

@task
def blocks():
    print(os.getpid(), flush=True)
    time.sleep(600)

@flow(task_runner="processes")
def main():
    blocks.submit().result()

main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_tasks_clean_up_when_the_flow_is_stopped(number: signal.Signals, home: Path, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(KILLED.replace("    print(os.getpid(), flush=True)\n    time.sleep(600)", CLEANS_UP))
    stopped = subprocess.Popen([sys.executable, script], env=environment(home), stdout=subprocess.PIPE, text=True)
    assert stopped.stdout is not None
    with stopped:
        worker = int(stopped.stdout.readline())
        until_recorded_running(Recorded(home))
        stopped.send_signal(number)
        assert stopped.stdout.read() == "cleaned up\n"
    assert not Path(f"/proc/{worker}").exists()
    states = [(fact["k"], fact["name"]) for fact in Recorded(home).facts() if fact["k"].endswith("_state")]
    assert states == [("flow_state", "Running"), ("task_state", "Running"), ("flow_state", "Crashed")]


def until_recorded_running(recorded: Recorded) -> None:
    """Wait for a task run's Running, which another thread of the flow records than the one that prints."""
    until = time.monotonic() + WAIT_SECONDS
    while not any(fact["name"] == "Running" for fact in recorded.facts("task_state")):
        assert time.monotonic() < until, recorded.facts()
        time.sleep(0.005)


CLEANS_UP = """
    try:
        print(os.getpid(), flush=True)
        time.sleep(600)
    finally:
        print("cleaned up", flush=True)
"""


def test_processes_go_when_the_flow_is_killed(home: Path, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    flow_process = subprocess.Popen([sys.executable, script], env=environment(home), stdout=subprocess.PIPE, text=True)
    assert flow_process.stdout is not None
    with flow_process:
        worker = int(flow_process.stdout.readline())
        flow_process.send_signal(signal.SIGKILL)
        until_gone(worker)
