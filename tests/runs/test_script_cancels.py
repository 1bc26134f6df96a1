"""A script that no worker runs is cancelled by who reads its journal: asked first, then killed with what it started."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from orchestrator.sdk.home import Home
from orchestrator.sdk.journal import CANCEL_SUFFIX
from runs import actions, script_cancels
from runs.models import FlowRun
from runs.passes import Tailer
from runs.script_cancels import ScriptCancels
from tests.sdk.processes import start_python

pytestmark = pytest.mark.django_db(transaction=True)

CODE = """
import signal, subprocess, sys, time
from pathlib import Path
from orchestrator import flow

def tell(flow, flow_run, state):
    print("hook says", state.type)

@flow(on_cancellation=[tell], on_crashed=[tell])
def waits(ready, stubborn):
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    Path(ready).write_text(str(child.pid))
    while True:
        time.sleep(1)

waits(sys.argv[1], len(sys.argv) > 2)
"""


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_script_is_asked_and_then_killed(
    home: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    settings.CANCEL_GRACE_SECONDS = 0.3 if stubborn else 30
    monkeypatch.setattr(script_cancels, "LOOK_SECONDS", 0.0)
    ready = tmp_path / "ready"
    process: subprocess.Popen[str] = start_python(CODE, home, str(ready), *(["x"] if stubborn else []))
    tailer, cancels = Tailer(Home(home), tell=False), ScriptCancels()

    def follow() -> None:
        tailer.pass_once()
        cancels.look(tailer.readers)

    wait_for(lambda: ready.exists() and ready.read_text() and (tailer.pass_once(), FlowRun.objects.exists())[1])
    child = int(ready.read_text())
    actions.cancel_flow_run(FlowRun.objects.get())
    wait_for(lambda: (follow(), process.poll() is not None)[1])
    assert process.returncode == -(signal.SIGKILL if stubborn else signal.SIGTERM)
    wait_for(lambda: (follow(), FlowRun.objects.get().is_final)[1])
    run = FlowRun.objects.get()
    assert run.state_type == "CANCELLED"
    messages = list(run.logs.values_list("message", flat=True))
    if stubborn:
        wait_for(lambda: not is_alive(child))
    else:
        assert run.state_message == "Cancelled on request"
        assert "hook says CANCELLED" in messages
        os.kill(child, signal.SIGKILL)  # a script's own children are its own to end when it can
    wait_for(lambda: (follow(), not tailer.has_journals)[1])  # a journal is over one look after its last fact
    assert not list(Home(home).journals.glob(f"*{CANCEL_SUFFIX}"))
