"""What breaks around runs, broken for real: a worker, a run host, the broker, messages; and what then happens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.server.running import FLOWS, RunningServer, until


def test_a_run_goes_through_celery_to_completed(server: RunningServer) -> None:
    run = server.wait(server.run("hello"), "COMPLETED")
    assert run["attempt"] == 1
    logs = server.call("GET", f"/api/flow-runs/{run['id']}/logs/")["results"]
    assert "hello" in [line["message"] for line in logs]


def test_a_worker_killed_hard_crashes_its_run_and_the_next_run_works(server: RunningServer) -> None:
    run = server.run("nap")
    server.wait(run, "RUNNING")
    os.kill(server.pid("worker"), signal.SIGKILL)
    crashed = server.wait(run, "CRASHED", seconds=30)
    assert "worker gone" in crashed["state_message"]
    server.wait(server.run("hello"), "COMPLETED", seconds=30)


def test_a_run_host_killed_hard_crashes_its_run_and_the_next_run_works(server: RunningServer, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    run = server.run("parent", path=str(note))
    grandchild = int(until(lambda: note.exists() and note.read_text()))
    worker = server.pid("worker")
    threads = Path(f"/proc/{worker}/task").iterdir()
    children = [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
    [host] = [pid for pid in children if b"orchestrator.sdk.host" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(host, signal.SIGKILL)
    server.wait(run, "CRASHED", seconds=30)
    until(lambda: not Path(f"/proc/{grandchild}").exists())  # what the run had started is gone with it
    server.wait(server.run("hello"), "COMPLETED")


def test_a_cancelled_run_stops_at_once(server: RunningServer) -> None:
    run = server.run("nap")
    server.wait(run, "RUNNING")
    server.call("POST", f"/api/flow-runs/{run}/cancel/")
    server.wait(run, "CANCELLED", seconds=3)


def test_a_cancelled_script_is_asked_to_stop(server: RunningServer) -> None:
    (server.home / "script.py").write_text(f"{FLOWS}\nnap()\n")
    with subprocess.Popen([sys.executable, "script.py"], cwd=server.home, env=server.environment) as script:
        run = until(lambda: next(iter(server.call("GET", "/api/flow-runs/?state=RUNNING&flow=nap")["results"]), None))
        server.call("POST", f"/api/flow-runs/{run['id']}/cancel/")
        server.wait(run["id"], "CANCELLED")
    assert script.returncode == -signal.SIGTERM


def test_a_broker_restarted_empty_loses_no_run(server: RunningServer) -> None:
    broker = server.pid("broker")
    os.kill(broker, signal.SIGKILL)
    runs = [server.run("hello") for _ in range(3)]  # while it is away, or just back with nothing in memory
    for run in runs:
        server.wait(run, "COMPLETED", seconds=10)
    until(lambda: server.pid("broker") != broker)
    server.wait(server.run("hello"), "COMPLETED", seconds=10)


def test_a_new_queue_is_served(server: RunningServer) -> None:
    server.wait(server.run("hello", queue="new"), "COMPLETED")


def test_a_bell_rung_many_times_runs_the_run_once(server: RunningServer, tmp_path: Path) -> None:
    counted = tmp_path / "count"
    run = server.run("hello", path=str(counted))
    ring = (
        "from orchestrator import site; site.setup()\n"
        "from flows.models import WorkQueue; from runs import bells\n"
        "for _ in range(50): bells.send(WorkQueue.objects.get(name='default').celery_queue)\n"
        "import time; time.sleep(0.5)\n"  # they are sent by a thread
    )
    subprocess.run([sys.executable, "-c", ring], env=server.environment, check=True)
    server.wait(run, "COMPLETED")
    server.wait(server.run("hello"), "COMPLETED")  # every bell was heard by now
    assert counted.read_text() == "x"
    assert server.flow_run(run)["attempt"] == 1


def test_a_part_that_dies_is_started_again(server: RunningServer) -> None:
    web = server.pid("web")
    os.kill(web, signal.SIGKILL)
    until(lambda: server.about["parts"]["web"] != web)
    until(lambda: server.cli("server", "status").returncode == 0)
