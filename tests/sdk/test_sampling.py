"""While a run goes on, its process says what it uses; short runs say nothing, and nothing is left of it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import flow
from orchestrator.sdk import sampling
from orchestrator.sdk.events import Resources
from tests.sdk.conftest import Recorded
from tests.sdk.processes import facts, run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_SECONDS", 0.05)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.usefixtures("often")
def test_what_a_run_and_its_children_use_is_recorded(recorded: Recorded):
    @flow
    def heavy() -> None:
        child = subprocess.Popen([sys.executable, "-c", "x = bytearray(200_000_000)\nwhile True: pass"])
        try:
            wait_for(lambda: any(fact["memory"] > 200_000_000 for fact in recorded.facts("resources")))
            wait_for(lambda: any(fact.get("cpu", 0) > 0.1 for fact in recorded.facts("resources")))
        finally:
            child.kill()
            child.wait()

    heavy()
    samples = recorded.facts("resources")
    (run,) = recorded.facts("flow_run")
    assert {(fact["run"], fact.get("attempt", 1)) for fact in samples} == {(run["run"], 1)}
    assert samples[-1]["peak"] > 200_000_000
    assert samples[-1]["cpu_seconds"] >= samples[0]["cpu_seconds"]
    assert not [thread for thread in threading.enumerate() if thread.name == "orchestrator-resources"]


def test_a_short_run_records_none(recorded: Recorded):
    @flow
    def short() -> None:
        pass

    short()
    assert recorded.facts("resources") == []


def test_a_forked_child_samples_nothing_and_its_parent_goes_on(home: Path):
    code = """
import os, time
from orchestrator import flow
from orchestrator.sdk import sampling
sampling.FIRST_SECONDS = 0.05

@flow
def forks():
    pid = os.fork()
    if pid == 0:
        time.sleep(0.3)
        os._exit(0)
    os.waitpid(pid, 0)
    time.sleep(0.2)

@flow
def inner():
    pass

forks()
if os.fork() == 0:
    inner()
    os._exit(0)
os.wait()
"""
    assert run_python(code, home).returncode == 0
    samples = [[fact for fact in of_one if isinstance(fact, Resources)] for of_one in facts(home).values()]
    assert sum(map(bool, samples)) == 1


def test_samples_grow_sparser(monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []
    monkeypatch.setattr(sampling, "record", lambda fact: None)

    class Ended:
        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            return sum(waits) > 24 * 3600

    @flow
    def long() -> None:
        pass

    sampler = sampling.Sampler(sampling.FlowRun(long, (), {}, id="r", name="n", tags=frozenset()))
    sampler._ended = Ended()  # type: ignore[assignment]
    sampler._family = lambda now: []  # type: ignore[method-assign]
    sampler._loop()
    assert waits[:61] == [1.0] * 60 + [2.0]
    assert len(waits) < 700
    assert os.getpid() == sampler._pid
