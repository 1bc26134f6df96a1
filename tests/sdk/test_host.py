"""A run host runs each flow run in a process of its own, and every run's journal gets an ending."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sdk.boot import boot_seconds
from orchestrator.sdk.causes import LEASE_LOST, Cause
from orchestrator.sdk.events import AnyFact, Ended, Exited, FlowRunState, Log
from orchestrator.sdk.host import LEASE_GRACE_SECONDS, LEASE_MARGIN_SECONDS
from orchestrator.sdk.host_protocol import (
    Extend,
    FromHost,
    Ready,
    RunExited,
    Start,
    Started,
    Stop,
    decode_from_host,
    pack,
)
from orchestrator.sdk.host_secrets import part, send
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.infrastructure.base import Placement
from tests.sdk.processes import environment, facts

FLOWS = """
import os, subprocess, sys, time
from pathlib import Path
from orchestrator import flow

@flow
def hello(name="world"):
    print("hello", name)

@flow
def fails():
    raise ValueError("no good")

@flow
def ends_hard():
    os._exit(3)

@flow
def killed():
    os.kill(os.getpid(), 9)

@flow
def waits(ready):
    Path(ready).write_text(str(os.getpid()))
    time.sleep(60)

@flow
def stubborn(ready):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(ready).write_text(str(os.getpid()))
    time.sleep(60)

@flow
def spawns(ready):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(ready).write_text(str(child.pid))

@flow
def spawns_and_waits(ready):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(ready).write_text(str(child.pid))
    time.sleep(60)

@flow
def leaves_its_session(ready):
    code = (
        "import os, pathlib, sys, time\\n"
        "os.fork() and os._exit(0)\\n"
        "os.setsid()\\n"
        "os.fork() and os._exit(0)\\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\\n"
        "time.sleep(60)"
    )
    subprocess.run([sys.executable, "-c", code, ready], env={})
    time.sleep(60)

def tell(flow, flow_run, state):
    print("hook of", flow.name, flow_run.id, state.type, state.message)

@flow(on_crashed=[tell], on_cancellation=[tell])
def hooked(ready):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(ready).write_text(str(os.getpid()))
    time.sleep(60)

@flow(on_crashed=[tell], on_cancellation=[tell])
def hooked_by_itself(ready):
    Path(ready).write_text(str(os.getpid()))
    time.sleep(60)

@flow
def looks(out):
    import json, signal
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    named = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")}
    Path(out).write_text(json.dumps({
        "cwd": os.getcwd(), "argv": sys.argv, "environment": dict(os.environ), "session": os.getsid(0) == os.getpid(),
        "stdin": named[0], "open": [name for fd, name in named.items() if fd > 2 and not name.endswith("/fd")],
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "path": sys.path, "name": __name__, "django": "django" in sys.modules,
    }))

@flow
def remembers(out):
    import re
    found = set()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and not line.endswith(("[vvar]\\n", "[vsyscall]\\n")):
                try:
                    memory.seek(begin)
                    found.update(re.findall(rb"hush-[0-9a-f]{32}", memory.read(end - begin)))
                except OSError:
                    pass
    for fd in Path("/proc/self/fd").iterdir():
        if fd.exists() and "orchestrator-secrets" in os.readlink(fd):
            found.add(b"a descriptor")
    Path(out).write_text(b" ".join(sorted(found)).decode())

@flow
def leaves_something_at_exit(out):
    import atexit
    atexit.register(Path(out).write_text, "done")

hello("from the top level")
"""


class Host:
    """A run host process and the worker's end of its socket."""

    def __init__(self, home: Path, flows: Path, **more: str) -> None:
        self.home = home
        self.flows = flows
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        self.lines = self.socket.makefile("rb")
        self.pid = 0  #: of the run that `run` ran last
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.sdk.host", "--fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment(home, **more),
            cwd=home,
        )
        theirs.close()
        assert isinstance(self.hear(), Ready)

    def hear(self) -> FromHost:
        """The next message."""
        return decode_from_host(self.lines.readline())

    def start(
        self,
        function: str,
        attempt: int = 1,
        entrypoint: str = "",
        lease_until: float = 0.0,
        run: str = "",
        keep: str = "",
        infrastructure: Placement | None = None,
        token: str = "run-token",
        **parameters: Any,
    ) -> Start:
        """Start a run of a function in the file of flows."""
        start = Start(
            run=run or str(uuid7()),
            lease_until=lease_until,
            attempt=attempt,
            journal=str(uuid7()),
            entrypoint=entrypoint or f"{self.flows}:{function}",
            flow=function,
            name="jumpy-puppy",
            directory=str(self.flows.parent),
            parameters=parameters,
            token=token,
            api_url="http://127.0.0.1:4200",
            keep=keep,
            infrastructure=infrastructure,
        )
        public, secrets = part(start)
        send(self.socket, pack(public), secrets)
        os.close(secrets)
        return start

    def stop(self, start: Start, grace_seconds: float = 5.0, reason: str = "cancelled") -> None:
        """Stop a run."""
        self.socket.sendall(pack(Stop(run=start.run, grace_seconds=grace_seconds, reason=reason)))

    def run(self, function: str, **parameters: Any) -> tuple[Start, RunExited]:
        """Run a function to its end."""
        start = self.start(function, **parameters)
        started = self.hear()
        assert isinstance(started, Started)
        assert started.run == start.run
        self.pid = started.pid
        return start, self.exited(start)

    def exited(self, start: Start) -> RunExited:
        """The exit of a run, which must be what comes next."""
        message = self.hear()
        assert isinstance(message, RunExited)
        assert (message.run, message.attempt) == (start.run, start.attempt)
        return message

    def facts(self, start: Start) -> list[AnyFact]:
        """What stands in a run's journal."""
        return facts(self.home)[start.journal]

    def close(self) -> None:
        """Do as a worker that is gone."""
        self.lines.close()
        self.socket.close()
        self.process.wait(timeout=20)


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A user's file of flows."""
    path = tmp_path / "project" / "my_flows.py"
    path.parent.mkdir()
    path.write_text(FLOWS)
    return path


@pytest.fixture
def host(home: Path, flows: Path) -> Iterator[Host]:
    """A run host that is ready."""
    started = Host(home, flows)
    yield started
    started.close()


def states(found: list[AnyFact]) -> list[str]:
    """The states of flow runs among facts."""
    return [fact.type for fact in found if isinstance(fact, FlowRunState)]


def wait_for_file(path: Path) -> str:
    """The content of a file that a run writes."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.005)
    raise AssertionError(f"{path} was not written")


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_gone(pid: int) -> None:
    """Wait until a process is gone."""
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, f"{pid} still lives"
        time.sleep(0.005)


def printed(home: Path) -> list[str]:
    """What was printed, in all journals."""
    return [fact.message for of_one in facts(home).values() for fact in of_one if isinstance(fact, Log)]


def test_run_is_recorded_under_its_own_id_and_journal(host: Host) -> None:
    start, exited = host.run("hello", name="Ada")
    assert (exited.exit_code, exited.signal) == (0, 0)
    found = host.facts(start)
    assert states(found)[-1] == "COMPLETED"
    assert all(getattr(fact, "run", start.run) == start.run for fact in found)
    assert "hello Ada" in [fact.message for fact in found if isinstance(fact, Log)]
    assert isinstance(found[-1], Ended)
    assert not any(isinstance(fact, Exited) for fact in found)


def test_flow_called_at_the_top_level_is_not_started(host: Host) -> None:
    start, _ = host.run("hello")
    assert list(facts(host.home)) == [start.journal]
    assert "hello from the top level" not in [fact.message for fact in host.facts(start) if isinstance(fact, Log)]


def test_failing_run_ends_its_journal_itself(host: Host) -> None:
    start, exited = host.run("fails")
    assert exited.exit_code == 1
    found = host.facts(start)
    assert states(found)[-1] == "FAILED"
    assert isinstance(found[-1], Ended)
    assert not any(isinstance(fact, Exited) for fact in found)


@pytest.mark.parametrize(
    ("function", "exit_code", "signal_number", "message"),
    [("ends_hard", 3, 0, "exit code 3"), ("killed", None, 9, "killed by signal 9 (SIGKILL)")],
)
def test_host_has_the_last_word_on_a_process_that_had_none(
    host: Host, function: str, exit_code: int | None, signal_number: int, message: str
) -> None:
    start, exited = host.run(function)
    assert (exited.exit_code, exited.signal) == (exit_code, signal_number)
    *_, last, ended = host.facts(start)
    assert isinstance(last, Exited)
    assert (last.run, last.attempt, last.exit_code, last.signal) == (start.run, 1, exit_code, signal_number)
    assert last.message == message
    assert isinstance(ended, Ended)


def test_run_gets_an_ordinary_process(host: Host, tmp_path: Path) -> None:
    import json

    out = tmp_path / "looks.json"
    start, exited = host.run("looks", out=str(out))
    assert exited.exit_code == 0
    seen = json.loads(out.read_text())
    assert seen["cwd"] == str(host.flows.parent)
    assert seen["argv"] == [str(host.flows)]
    assert seen["session"]
    assert seen["stdin"] == os.devnull
    assert all(name.endswith(".jsonl") for name in seen["open"]), seen["open"]
    assert seen["blocked"] == []
    assert seen["path"][0] == str(host.flows.parent)
    assert str(host.home) not in seen["path"]
    assert seen["name"] == "my_flows"
    assert not seen["django"]
    inside = seen["environment"]
    assert inside["ORCHESTRATOR_RUN_ID"] == start.run
    assert inside["ORCHESTRATOR_API_TOKEN"] == "run-token"
    assert inside["ORCHESTRATOR_API_URL"] == "http://127.0.0.1:4200"


def test_secrets_of_the_server_do_not_reach_user_code(home: Path, flows: Path, tmp_path: Path) -> None:
    host = Host(home, flows, ORCHESTRATOR_DATABASE_URL="postgres://hunter2", ORCHESTRATOR_BROKER_URL="redis://hunter2")
    host.run("looks", out=str(tmp_path / "looks.json"))
    assert "hunter2" not in (tmp_path / "looks.json").read_text()
    host.close()


def test_stop_ends_the_whole_group(host: Host, tmp_path: Path) -> None:
    start = host.start("spawns_and_waits", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    child = int(wait_for_file(tmp_path / "ready"))
    host.stop(start)
    exited = host.exited(start)
    assert exited.exit_code != 0
    wait_gone(child)
    assert states(host.facts(start))[-1] == "CANCELLED"
    assert isinstance(host.facts(start)[-1], Ended)


def test_reason_for_stopping_is_what_the_record_says(host: Host, tmp_path: Path) -> None:
    start = host.start("waits", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    wait_for_file(tmp_path / "ready")
    host.stop(start, reason="server stopped")
    host.exited(start)
    messages = [fact.message for fact in host.facts(start) if isinstance(fact, FlowRunState | Exited)]
    assert messages[-1] == "server stopped"


def test_stop_of_a_run_that_will_not_is_a_kill_after_the_grace(host: Host, tmp_path: Path) -> None:
    start = host.start("stubborn", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    wait_for_file(tmp_path / "ready")
    host.stop(start, grace_seconds=0.3)
    assert host.exited(start).signal == signal.SIGKILL
    *_, last, _ = host.facts(start)
    assert isinstance(last, Exited)
    assert last.message == "it did not stop when it was asked to and was killed"


def test_stop_sent_together_with_the_start_is_heard(host: Host) -> None:
    start = host.start("waits", ready="/dev/null")
    host.stop(start)
    assert isinstance(host.hear(), Started)
    host.exited(start)
    assert isinstance(host.facts(start)[-1], Ended)


def test_what_an_ended_run_left_running_is_killed(host: Host, tmp_path: Path) -> None:
    _, exited = host.run("spawns", ready=str(tmp_path / "ready"))
    assert exited.exit_code == 0
    wait_gone(int((tmp_path / "ready").read_text()))


def test_worker_that_is_gone_takes_its_runs_along_and_they_say_so(home: Path, flows: Path, tmp_path: Path) -> None:
    host = Host(home, flows)
    start = host.start("stubborn", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    pid = int(wait_for_file(tmp_path / "ready"))
    host.close()
    assert host.process.returncode == 0
    assert not is_alive(pid)
    *_, last, ended = host.facts(start)
    assert isinstance(last, Exited)
    assert (last.message, last.signal) == ("worker gone", 9)
    assert isinstance(ended, Ended)


def test_killed_host_takes_its_runs_along(home: Path, flows: Path, tmp_path: Path) -> None:
    host = Host(home, flows)
    host.start("stubborn", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    pid = int(wait_for_file(tmp_path / "ready"))
    host.process.kill()
    wait_gone(pid)
    host.close()


def test_signals_from_a_terminal_are_left_to_the_worker(host: Host) -> None:
    host.process.send_signal(signal.SIGINT)
    host.process.send_signal(signal.SIGTERM)
    _, exited = host.run("hello")
    assert exited.exit_code == 0


@pytest.mark.parametrize(
    ("entrypoint", "wanted"),
    [
        ("/nowhere/flow.py:main", "There is no file /nowhere/flow.py."),
        ("no_such_module.at_all:main", "There is no module 'no_such_module'"),
    ],
)
def test_flow_that_cannot_be_loaded_is_a_failed_run(host: Host, entrypoint: str, wanted: str) -> None:
    start = host.start("x", entrypoint=entrypoint)
    assert isinstance(host.hear(), Started)
    assert host.exited(start).exit_code == 1
    [state, ended] = host.facts(start)
    assert isinstance(state, FlowRunState)
    assert (state.type, state.name) == ("FAILED", "Failed")
    assert wanted in state.message
    assert isinstance(ended, Ended)


def test_syntax_error_is_a_failed_run_that_names_the_line(host: Host) -> None:
    host.flows.write_text("x = 1\ndef broken(:\n")
    start, _ = host.run("broken")
    [state, _] = host.facts(start)
    assert isinstance(state, FlowRunState)
    assert f"{host.flows}:2: SyntaxError" in state.message
    assert state.error is not None
    assert state.error.type == "SyntaxError"


def test_edited_file_is_loaded_anew(host: Host) -> None:
    host.run("hello")
    host.flows.write_text("from orchestrator import flow\n@flow\ndef hello(): print('other')")
    start, _ = host.run("hello")
    assert "other" in [fact.message for fact in host.facts(start) if isinstance(fact, Log)]


def test_users_exit_handlers_run(host: Host, tmp_path: Path) -> None:
    host.run("leaves_something_at_exit", out=str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "done"


def test_many_runs_at_once_all_end(host: Host) -> None:
    starts = {start.run: start for start in [host.start("hello", name=str(n)) for n in range(30)]}
    heard = [host.hear() for _ in range(60)]
    assert {message.run for message in heard if isinstance(message, RunExited) and message.exit_code == 0} == set(
        starts
    )
    assert all(states(host.facts(start))[-1] == "COMPLETED" for start in starts.values())


def test_unknown_message_is_passed_over(host: Host) -> None:
    host.socket.sendall(b'{"op":"dance"}\nnot even json\n')
    _, exited = host.run("hello")
    assert exited.exit_code == 0


def test_host_stays_small(host: Host) -> None:
    host.run("hello")
    resident = int(Path(f"/proc/{host.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert resident < 40 * 1024 * 1024


def test_usage_is_said_to_whoever_starts_it_by_hand() -> None:
    done = subprocess.run([sys.executable, "-m", "orchestrator.sdk.host"], capture_output=True, text=True)
    assert done.returncode == 2
    assert textwrap.dedent("usage: python -m orchestrator.sdk.host") in done.stderr


def test_what_left_the_group_the_session_and_its_parents_is_killed_with_the_run(host: Host, tmp_path: Path) -> None:
    start = host.start("leaves_its_session", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    pid = int(wait_for_file(tmp_path / "ready"))
    host.stop(start, grace_seconds=5.0)
    host.exited(start)
    wait_gone(pid)


def test_a_run_whose_lease_is_not_extended_ends_before_it_lapses(host: Host, tmp_path: Path) -> None:
    lapses = boot_seconds() + LEASE_GRACE_SECONDS + LEASE_MARGIN_SECONDS + 1.0
    start = host.start("hooked", lease_until=lapses, ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    wait_for_file(tmp_path / "ready")
    host.socket.sendall(pack(Extend(run=start.run, attempt=1, lease_until=lapses + 0.5)))
    host.exited(start)
    assert lapses - LEASE_MARGIN_SECONDS < boot_seconds() < lapses + 0.5
    *_, exited, _ = host.facts(start)
    assert isinstance(exited, Exited)
    assert (exited.message, exited.cause) == (LEASE_LOST, Cause.LOST)
    assert exited.peak > 1_000_000


def test_an_attempt_whose_lease_lapsed_before_it_was_told_is_not_started(host: Host) -> None:
    start = host.start("hello", lease_until=boot_seconds() - 1.0)
    host.exited(start)
    assert printed(host.home) == []
    assert [fact.message for fact in host.facts(start) if isinstance(fact, Exited)] == [LEASE_LOST]


def test_the_next_attempt_waits_until_the_one_before_is_gone(host: Host, tmp_path: Path) -> None:
    first = host.start("stubborn", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    wait_for_file(tmp_path / "ready")
    second = host.start("hello", attempt=2, run=first.run)
    assert host.exited(first).signal == signal.SIGKILL
    assert isinstance(host.hear(), Started)
    assert host.exited(second).exit_code == 0


@pytest.mark.parametrize(
    ("is_asked", "expected"), [(True, "CANCELLED Cancelled: it did"), (False, "CRASHED Crashed: ki")]
)
def test_hooks_that_a_killed_run_did_not_come_to_are_run_by_the_host(
    host: Host, tmp_path: Path, is_asked: bool, expected: str
) -> None:
    start = host.start("hooked", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    pid = int(wait_for_file(tmp_path / "ready"))
    if is_asked:
        host.stop(start, grace_seconds=0.1)
    else:
        os.kill(pid, signal.SIGKILL)
    host.exited(start)
    host.close()  # it waits for the hooks
    (line,) = printed(host.home)
    assert line.startswith(f"hook of hooked {start.run} {expected}")


def test_hooks_that_a_run_came_to_are_not_run_again(host: Host, tmp_path: Path) -> None:
    start = host.start("hooked_by_itself", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    wait_for_file(tmp_path / "ready")
    host.stop(start)
    host.exited(start)
    host.close()
    assert [line for line in printed(host.home) if line.startswith("hook")] == [
        f"hook of hooked_by_itself {start.run} CANCELLED Cancelled on request"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_finds_no_secrets_of_others_in_what_it_has_of_its_host(host: Host, tmp_path: Path) -> None:
    def secrets() -> tuple[str, Placement]:
        token, password = (f"hush-{os.urandom(16).hex()}" for _ in range(2))
        return token, Placement(block="prod", credentials={"registry_credentials": {"password": password}})

    token, placement = secrets()
    host.run("hello", token=token, infrastructure=placement)
    token, placement = secrets()
    waiting = host.start("waits", token=token, infrastructure=placement, ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    wait_for_file(tmp_path / "ready")
    token, placement = secrets()
    host.run("remembers", token=token, infrastructure=placement, out=str(tmp_path / "out"))
    own = {token, placement.credentials["registry_credentials"]["password"]}
    assert token in wait_for_file(tmp_path / "out").split()  # its own token is in its environment
    assert set((tmp_path / "out").read_text().split()) <= own
    host.stop(waiting, grace_seconds=0.0)
    host.exited(waiting)


def test_a_host_keeps_no_files_of_secrets_of_runs_that_ended(host: Host, tmp_path: Path) -> None:
    def held() -> list[str]:
        folder = Path(f"/proc/{host.process.pid}/fd")
        return [name for each in folder.iterdir() if "orchestrator-secrets" in (name := os.readlink(each))]

    host.run("hello")
    host.run("ends_hard")
    refused = host.start("hello", infrastructure=Placement(problem="it is not there"))
    host.exited(refused)
    waiting = host.start("waits", ready=str(tmp_path / "ready"))
    assert isinstance(host.hear(), Started)
    assert len(held()) == 1
    host.stop(waiting, grace_seconds=0.0)
    host.exited(waiting)
    assert held() == []


def test_a_start_whose_secrets_did_not_come_is_refused_in_words(host: Host) -> None:
    start = Start(run=str(uuid7()), attempt=1, journal=str(uuid7()), entrypoint="x.py:x", secrets=4_000_000_000)
    host.socket.sendall(pack(start))
    host.exited(start)
    (exited,) = [fact for fact in host.facts(start) if isinstance(fact, Exited)]
    assert "did not reach the run host" in exited.message
