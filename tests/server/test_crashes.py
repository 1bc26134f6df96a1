"""Crashes on a real server: what is killed is run again and completes, never twice at once, and the cause is named."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import RunningServer, until

FLOWS = """
import os, resource, signal, subprocess, sys, time
from pathlib import Path
from orchestrator import flow

def begin(path):
    notes = Path(path)
    before = notes.read_text().split() if notes.exists() else []
    alive = [pid for pid in before if Path(f"/proc/{pid}").exists()]
    with notes.open("a") as file:
        file.write(f"{os.getpid()}{'!' if alive else ''} ")
    return len(before) + 1

@flow
def shot_once(path: str):
    attempt = begin(path)
    print("attempt", attempt, flush=True)
    if attempt == 1:
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGKILL)

@flow
def naps_once(path: str):
    if begin(path) == 1:
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)

@flow
def greedy():
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    bytearray(2**31)

def tell(flow, flow_run, state):
    print("hook says", state.type, flush=True)

@flow(on_cancellation=[tell])
def stubborn(path: str):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    begin(path)
    Path(path + ".child").write_text(str(child.pid))
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass
"""


def start(server: RunningServer, flow: str, crash_retries: int = 0, **parameters: Any) -> str:
    path = server.home / "crashing.py"
    path.write_text(FLOWS)
    declaration = {
        "flow": flow, "name": f"crashes-{crash_retries}", "entrypoint": f"{path}:{flow}", "directory": str(server.home),
        "parameter_schema": {}, "crash_retries": crash_retries,
    }  # fmt: skip
    deployment = server.call("POST", "/api/deployments/", declaration)["id"]
    return str(server.call("POST", f"/api/deployments/{deployment}/runs/", {"parameters": parameters})["id"])


def lines(server: RunningServer, run: str) -> list[str]:
    return [line["message"] for line in server.call("GET", f"/api/flow-runs/{run}/logs/")["results"]]


def first_pid(notes: Path) -> int:
    return int(until(lambda: notes.exists() and notes.read_text(), 20).split()[0])


def test_a_run_that_is_shot_is_run_again_and_says_what_happened(server: RunningServer, tmp_path: Path) -> None:
    again = start(server, "shot_once", 1, path=str(tmp_path / "again"))
    final = start(server, "shot_once", 0, path=str(tmp_path / "final"))
    greedy = start(server, "greedy", 1)

    crashed = server.wait(final, "CRASHED")
    assert crashed["state_message"] == "Crashed: killed by signal 9 (SIGKILL)"
    assert crashed["last_log_lines"][-1] == "attempt 1"
    said = server.cli("flow-run", "inspect", final).stdout
    assert "killed by a signal" in said
    assert "MB at most" in said
    assert "attempt 1" in said

    completed = server.wait(again, "COMPLETED")
    first, second = completed["attempts"]
    assert (first["state_type"], first["cause"], first["signal"]) == ("CRASHED", "signal", 9)
    assert first["peak_memory_bytes"] > 5_000_000
    assert second["state_type"] == "COMPLETED"
    assert "!" not in (tmp_path / "again").read_text()
    samples = server.call("GET", f"/api/flow-runs/{again}/resources/")["results"]
    assert samples[0]["memory_bytes"] > 5_000_000
    assert samples[0]["attempt"] == 1

    failed = server.wait(greedy, "FAILED")
    assert [attempt["cause"] for attempt in failed["attempts"]] == ["out_of_memory"]


@pytest.mark.parametrize("part", ["worker", "host"])
def test_runs_of_a_killed_worker_or_host_are_run_again(server: RunningServer, tmp_path: Path, part: str) -> None:
    notes = tmp_path / "notes"
    run = start(server, "naps_once", 1, path=str(notes))
    pid = first_pid(notes)
    victim = server.pid("worker") if part == "worker" else int(Path(f"/proc/{pid}/stat").read_text().split()[3])
    os.kill(victim, signal.SIGKILL)
    completed = server.wait(run, "COMPLETED", 30)
    assert [attempt["state_type"] for attempt in completed["attempts"]] == ["CRASHED", "COMPLETED"]
    assert completed["attempts"][0]["cause"] == "lost"
    assert "!" not in notes.read_text()
    assert not Path(f"/proc/{pid}").exists()


def test_a_run_that_ignores_everything_is_cancelled_with_what_it_started(server: RunningServer, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    run = start(server, "stubborn", 3, path=str(notes))
    pid = first_pid(notes)
    child = int(until(lambda: (path := Path(f"{notes}.child")).exists() and path.read_text()))
    assert server.cli("flow-run", "cancel", run).returncode == 0
    cancelled = server.wait(run, "CANCELLED", 10)
    assert cancelled["state_message"] == "Cancelled: it did not stop when it was asked to and was killed"
    assert len(cancelled["attempts"]) == 1
    until(lambda: not any(Path(f"/proc/{one}").exists() for one in (pid, child)))
    until(lambda: "hook says CANCELLED" in lines(server, run))
    assert lines(server, run).count("hook says CANCELLED") == 1
