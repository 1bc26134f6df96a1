"""Runs in processes that their host keeps: recorded as in processes of their own, and kept apart where it counts."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.sdk.events import (
    AnyFact,
    Ended,
    Exited,
    FlowRunSnapshot,
    FlowRunState,
    Log,
    TaskRunCreated,
    TaskRunState,
)
from orchestrator.sdk.host_protocol import RunExited, Started
from tests.sdk.test_host import Host, is_alive, states, wait_for_file, wait_gone

FLOWS = """
import logging, os, signal, subprocess, sys, threading, time
from pathlib import Path
from orchestrator import flow, get_run_logger, runtime, tags, task
from constants import ANSWER

count = 0

@task(retries=1, retry_delay_seconds=0)
def shaky(number: int) -> int:
    print("task", number)
    if runtime.task_run.run_count == 1:
        raise ValueError(number)
    return number

@flow
def inner(text: str):
    print(text)

@flow
def works(number: int = 3):
    global count
    count += 1
    print("printed", number)
    logging.getLogger("mine").warning("logged %d", number)
    get_run_logger().info("run logger")
    inner("from below")
    with tags("a"):
        futures = shaky.map([number, number + 1])
    sys.stdout.write("no newline")
    return sum(future.result() for future in futures)

@flow
async def works_async():
    import asyncio
    await asyncio.sleep(0)
    print("async")

@flow(timeout_seconds=0.05)
def is_too_slow():
    time.sleep(10)

@flow
def fails():
    shaky(1)
    raise LookupError("no good")

@flow
def exits():
    sys.exit(4)

@flow
def dies():
    os._exit(3)

@flow
def waits(ready):
    Path(ready).write_text(str(os.getpid()))
    time.sleep(60)

@flow
def looks(out):
    global count
    count += 1
    Path(out).write_text(f"{ANSWER} {count} {os.getcwd()} {sys.argv[0]} {os.environ['ORCHESTRATOR_RUN_ID']} "
                         f"{os.environ['ORCHESTRATOR_API_TOKEN']} {os.environ.get('LEAKED', '')}")
    os.environ["LEAKED"] = "yes"
    os.chdir("/")

@flow
def leaves(what):
    if what == "thread":
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    elif what == "process":
        subprocess.Popen(["sleep", "60"])
    elif what == "orphan":
        subprocess.run(["sh", "-c", "sleep 60 & :"])
    elif what == "handler":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif what == "timer":
        signal.setitimer(signal.ITIMER_REAL, 60)
"""


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A user's file of flows, which imports another one of the project."""
    path = tmp_path / "project" / "my_flows.py"
    path.parent.mkdir()
    path.write_text(FLOWS)
    path.with_name("constants.py").write_text("ANSWER = 41\n")
    return path


@pytest.fixture
def host(home: Path, flows: Path) -> Iterator[Host]:
    """A run host that is ready."""
    started = Host(home, flows)
    yield started
    started.close()


def told(found: list[AnyFact]) -> list[tuple[object, ...]]:
    """What facts say, without ids, times and what differs from process to process."""
    lines: list[tuple[object, ...]] = []
    for fact in found:
        match fact:
            case FlowRunState():
                lines.append(("flow", fact.attempt, fact.type, fact.name, fact.message, fact.error and fact.error.type))
            case FlowRunSnapshot():
                lines.append(("snapshot", fact.parameters))
            case TaskRunCreated():
                lines.append(("task", fact.task, fact.key, fact.index, fact.name.startswith(fact.task), fact.tags))
            case TaskRunState():
                lines.append(("task state", fact.task_attempt, fact.type, fact.name, fact.message))
            case Log():
                text = fact.message if "flow run '" not in fact.message else ""  # names are made up
                lines.append(("log", bool(fact.task_run), fact.level, fact.logger, text))
            case Exited():
                lines.append(("exited", fact.exit_code, fact.signal, fact.message))
            case Ended():
                lines.append(("ended",))
            case _:
                lines.append((type(fact).__name__,))
    return sorted(lines, key=repr)  # mapped tasks run in threads


@pytest.mark.parametrize(
    "function", ["works", "works_async", "is_too_slow", "fails", "exits", "dies", "works(number='x')", "missing"]
)
def test_run_is_recorded_as_in_a_process_of_its_own(host: Host, function: str) -> None:
    name, _, wrong = function.partition("(")
    parameters = {"number": "x"} if wrong else {}
    alone, exited_alone = host.run(name, **parameters)
    first, exited_first = host.run(name, keep="team", **parameters)
    second, exited_second = host.run(name, keep="team", **parameters)
    expected = told(host.facts(alone))
    assert expected
    assert told(host.facts(first)) == expected
    assert told(host.facts(second)) == expected
    codes = [(exited.exit_code, exited.signal) for exited in (exited_alone, exited_first, exited_second)]
    assert codes[0] == codes[1] == codes[2]


def test_kept_process_takes_the_next_run_of_its_place_and_no_other(host: Host, tmp_path: Path) -> None:
    outs = [tmp_path / str(number) for number in range(4)]
    first, _ = host.run("looks", out=str(outs[0]), keep="team")
    pid = host.pid
    second, _ = host.run("looks", out=str(outs[1]), keep="team")
    assert host.pid == pid
    for start, out, count in ((first, outs[0], "1"), (second, outs[1], "2")):
        answer, seen, directory, argument, run, token = out.read_text().split()
        assert (answer, seen, directory, argument) == ("41", count, str(host.flows.parent), str(host.flows))
        assert (run, token) == (start.run, "run-token")
    host.run("looks", out=str(outs[2]), keep="another team")
    assert host.pid != pid
    assert outs[2].read_text().split()[1] == "1"
    host.run("looks", out=str(outs[3]))
    assert outs[3].read_text().split()[1] == "1"
    assert is_alive(pid)


def test_two_runs_at_once_have_a_process_each(host: Host, tmp_path: Path) -> None:
    first = host.start("waits", keep="team", ready=str(tmp_path / "first"))
    second = host.start("waits", keep="team", ready=str(tmp_path / "second"))
    pids = {host.hear().pid for _ in range(2)}  # type: ignore[union-attr]
    assert len(pids) == 2
    wait_for_file(tmp_path / "first")
    wait_for_file(tmp_path / "second")
    host.stop(first)
    assert host.exited(first).signal == signal.SIGTERM
    assert states(host.facts(first))[-1] == "CANCELLED"
    assert states(host.facts(second))[-1] == "RUNNING"
    host.stop(second, grace_seconds=0.0)
    host.exited(second)


@pytest.mark.parametrize("changed", ["my_flows.py", "constants.py"])
def test_changed_code_is_loaded_anew(host: Host, tmp_path: Path, changed: str) -> None:
    out = tmp_path / "out"
    host.run("looks", out=str(out), keep="team")
    pid = host.pid
    path = host.flows.with_name(changed)
    path.write_text(path.read_text().replace("41", "42") + "\nADDED = 1\n")
    start = host.start("looks", out=str(out), keep="team")
    messages = [host.hear() for _ in range(3)]
    assert [type(message) for message in messages] == [Started, Started, RunExited]
    assert messages[-1].run == start.run  # type: ignore[union-attr]
    answer, count, *_ = out.read_text().split()
    assert (answer, count) == ("42" if changed == "constants.py" else "41", "1")
    wait_gone(pid)


@pytest.mark.parametrize("what", ["thread", "process", "orphan", "handler", "timer"])
def test_run_that_leaves_something_takes_its_process_along(host: Host, what: str) -> None:
    start, exited = host.run("leaves", what=what, keep="team")
    assert (exited.exit_code, exited.signal) == (0, 0)
    assert states(host.facts(start))[-1] == "COMPLETED"
    wait_gone(host.pid)
    host.run("leaves", what="nothing", keep="team")
    assert is_alive(host.pid)


def test_run_given_to_a_process_that_just_died_runs_in_another(host: Host, tmp_path: Path) -> None:
    out = tmp_path / "out"
    host.run("looks", out=str(out), keep="team")
    os.kill(host.process.pid, signal.SIGSTOP)  # so that the host does not see the death before the run
    os.kill(host.pid, signal.SIGSTOP)
    start = host.start("looks", out=str(out), keep="team")
    os.kill(host.pid, signal.SIGKILL)
    os.kill(host.process.pid, signal.SIGCONT)
    while not isinstance(message := host.hear(), RunExited):
        assert isinstance(message, Started)
    assert (message.run, message.exit_code) == (start.run, 0)
    assert out.read_text().split()[1] == "1"
    assert states(host.facts(start))[-1] == "COMPLETED"


def test_kept_processes_end_with_their_host(host: Host) -> None:
    host.run("works", keep="team")
    pid = host.pid
    assert is_alive(pid)
    host.close()
    wait_gone(pid)
