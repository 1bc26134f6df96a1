"""Scripts in processes of their own: how they end, and what is recorded of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sdk.conftest import Recorded

STARTS = """
import sys, time, threading
from orchestrator import flow, task

@task
def work():
    print("working", flush=True)
    time.sleep(30)

@flow(on_crashed=[lambda flow, run, state: print("hook:", state.message, flush=True)])
def one():
    try:
        work()
    finally:
        print("cleaned up", flush=True)
"""


def _run(tmp_path: Path, text: str, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=60)


def _start(tmp_path: Path, text: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


def test_sigterm_is_a_crash_that_cleans_up_and_runs_hooks(tmp_path: Path, recorded: Recorded):
    process = _start(tmp_path, STARTS + "one()\nprint('not reached')\n")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert out == "cleaned up\nhook: Terminated by SIGTERM\n"
    assert recorded.flow_states()[-1] == (1, "CRASHED", "Crashed")
    assert recorded.facts("flow_state")[-1]["message"] == "Terminated by SIGTERM"
    assert recorded.task_states("work-0")[-1] == (1, "Crashed")
    assert len(recorded.facts("end")) == 1


def test_sigterm_in_an_async_flow(tmp_path: Path, recorded: Recorded):
    text = """
import asyncio
from orchestrator import flow

@flow
async def one():
    print("working", flush=True)
    await asyncio.sleep(30)

asyncio.run(one())
"""
    process = _start(tmp_path, text)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert recorded.flow_states()[-1] == (1, "CRASHED", "Crashed")
    assert recorded.facts("flow_state")[-1]["message"] == "Terminated by SIGTERM"


def test_sigterm_while_waiting_for_a_future(tmp_path: Path, recorded: Recorded):
    process = _start(tmp_path, STARTS.replace("        work()", "        work.submit().result()") + "one()\n")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert recorded.flow_states()[-1] == (1, "CRASHED", "Crashed")


def test_users_own_handler_of_sigterm_is_left_alone(tmp_path: Path, recorded: Recorded):
    # os.write, since print may be interrupted in the middle of another print, which Python refuses.
    text = (
        "import os, signal\ncame = []\n"
        "signal.signal(signal.SIGTERM, lambda *all: came.append(os.write(1, b'mine\\n')))\n"
    ) + STARTS.replace("time.sleep(30)", "while not came: time.sleep(0.01)")
    process = _start(tmp_path, text + "one()\n")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert "mine" in out
    assert process.returncode == 0
    assert recorded.flow_states()[-1] == (1, "COMPLETED", "Completed")


def test_ctrl_c_is_a_crash_and_ends_the_script_as_usual(tmp_path: Path, recorded: Recorded):
    process = _start(tmp_path, STARTS + "one()\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "orchestrator/sdk" not in err
    assert "hook: Interrupted by KeyboardInterrupt" in out
    assert recorded.flow_states()[-1] == (1, "CRASHED", "Crashed")


def test_exit_code_is_that_of_the_script(tmp_path: Path, recorded: Recorded):
    text = "import sys\nfrom orchestrator import flow\n@flow\ndef one():\n    sys.exit(7)\none()\n"
    assert _run(tmp_path, text).returncode == 7
    assert recorded.flow_states()[-1] == (1, "CRASHED", "Crashed")


def test_exception_propagates_with_the_users_own_traceback(tmp_path: Path, recorded: Recorded):
    text = """
from orchestrator import flow, task

@task
def work():
    raise ValueError("boom")

@flow
def one():
    work()

one()
"""
    ended = _run(tmp_path, text)
    assert ended.returncode == 1
    frames = [line.split(", in ")[1] for line in ended.stderr.splitlines() if line.startswith("  File")]
    assert frames == ["<module>", "one", "work"]
    assert ended.stderr.splitlines()[-1] == "ValueError: boom"


def test_journal_has_everything_when_killed(tmp_path: Path, recorded: Recorded):
    process = _start(tmp_path, STARTS + "one()\n")
    process.kill()
    process.communicate(timeout=20)
    assert recorded.task_states("work-0") == [(1, "Running")]
    assert recorded.facts("end") == []
    assert recorded.printed() == ["working"]


def test_unwritable_home_warns_once_and_the_code_runs_on(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    text = """
from orchestrator import flow, task

@task
def work():
    return 1

@flow
def one():
    print(sum(work() for _ in range(50)))

one()
"""
    script = tmp_path / "script.py"
    script.write_text(text)
    ended = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ORCHESTRATOR_HOME": str(blocked)},
    )
    assert ended.returncode == 0
    assert ended.stdout == "50\n"
    assert ended.stderr.count("not recording") == 1


def test_forked_children_of_user_code_record_what_they_do(tmp_path: Path, recorded: Recorded):
    text = """
import multiprocessing, signal, time
from orchestrator import flow, task

@task
def work(x):
    print("child", x, flush=True)
    return x

def in_child(x):
    work(x)
    assert work.submit(x).result() == x

def terminated():
    time.sleep(30)

@flow
def one():
    work.fn(0)
    process = multiprocessing.get_context("fork").Process(target=in_child, args=(5,))
    process.start()
    process.join()
    assert process.exitcode == 0
    process = multiprocessing.get_context("fork").Process(target=terminated)
    process.start()
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM

one()
"""
    assert _run(tmp_path, text).returncode == 0
    (run,) = recorded.facts("flow_run")
    assert [created["run"] for created in recorded.facts("task_run")] == [run["run"]] * 2
    assert sorted(recorded.printed()) == ["child 0", "child 5", "child 5"]


@pytest.mark.parametrize("seconds", [0.2])
def test_time_is_not_spent_on_threads_that_are_left_behind(tmp_path: Path, recorded: Recorded, seconds: float):
    text = f"""
import time
from orchestrator import flow, task

@task(timeout_seconds={seconds})
def left():
    time.sleep(30)

@flow
def one():
    left.submit().result(raise_on_failure=False)

one()
"""
    began = time.monotonic()
    assert _run(tmp_path, text).returncode == 0
    assert time.monotonic() - began < 10
