"""What every kind of infrastructure does alike: a run executes, is recorded once, ends in words, and leaves nothing.

The run host, its supervisor and the attempt are the real ones; containers run on a real engine.
"""

import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sdk.causes import WORKER_GONE
from orchestrator.sdk.events import AnyFact, Ended, Exited, FlowRunState, Log
from orchestrator.sdk.host_protocol import RunExited, Start, Started, pack
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.infrastructure.base import Placement
from orchestrator.sdk.infrastructure.container_engine import name_of
from tests.infrastructure.attempt_server import AttemptServer, attempt_server
from tests.infrastructure.cluster import FakeCluster
from tests.infrastructure.engine import IMAGE, PodmanEngine, python, volumes
from tests.sdk.processes import facts as facts_in
from tests.sdk.test_host import Host

FLOWS = """
import os, signal, subprocess, sys, time
from pathlib import Path
from orchestrator import flow

def gone(flow, run, state):
    print("hook", state.type.value)

@flow
def speaks(text, folder):
    print("length", len(text))
    subprocess.run(["/bin/sh", "-c", "echo straight to the terminal"], check=True)
    for name in sorted(os.environ):
        if name.startswith("ORCHESTRATOR_"):
            print("sees", name)
    Path(folder, "cwd").write_text(os.getcwd())

@flow
def fails():
    raise ValueError("no good")

@flow
def ends_hard():
    os._exit(3)

@flow
def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)

@flow(on_cancellation=[gone])
def waits():
    print("up")
    try:
        time.sleep(60)
    finally:
        print("cleaned up")

@flow
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up")
    time.sleep(60)

@flow
def goes_on(folder):
    print("up")
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    print("went on")
"""
PRIVATE = ("ORCHESTRATOR_DATABASE_URL", "ORCHESTRATOR_BROKER_URL", "ORCHESTRATOR_SECRET_KEY")


@dataclass
class Kind:
    """A kind under test.

    Attributes:
        placement: Where attempts execute.
        left: Returns the names of what attempts left there.
        is_away: Whether they ship their own facts.
        outlives: Whether they go on without their worker.
    """

    name: str
    placement: Placement
    left: Callable[[], list[str]] = field(default=list)
    is_away: bool = False
    outlives: bool = False


@pytest.fixture(params=["process", "python", "user", "docker", "kubernetes"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """Each kind in turn."""
    name = request.param
    if name == "docker":
        engine: PodmanEngine = request.getfixturevalue("engine")
        settings = {
            "image": IMAGE, "volumes": [*volumes(), f"{tmp_path}:{tmp_path}"], "networks": ["host"],
            "python": python(), "engine": engine.url,
        }  # fmt: skip
        placement, others = Placement(kind=name, block="prod", settings=settings), set(containers(engine))
        return Kind(name, placement, lambda: [each for each in containers(engine) if each not in others], True, True)
    if name == "kubernetes":
        cluster: FakeCluster = request.getfixturevalue("cluster")
        settings = {"image": "etl:7", "python": sys.executable, "kubeconfig": "test", "keep_finished_seconds": 0}
        credentials = {"kubeconfig": {"kubeconfig": cluster.kubeconfig}}
        placement = Placement(kind=name, block="prod", settings=settings, credentials=credentials)
        return Kind(name, placement, lambda: [name for _, _, name in list(cluster.objects)], True, True)
    if name == "user":  # this one, as others can hardly read what is installed here: see test_users
        settings = {"user": pwd.getpwuid(os.geteuid()).pw_name}
        return Kind(name, Placement(kind="process", block="prod", settings=settings), is_away=True)
    settings = {"python": sys.executable} if name == "python" else {}
    return Kind(name, Placement(kind="process", block="prod", settings=settings))


def containers(engine: PodmanEngine) -> list[str]:
    return engine.podman("ps", "--all", "--format={{.Names}}").split()


@pytest.fixture
def server() -> Iterator[AttemptServer]:
    """What attempts away from their worker talk to."""
    with attempt_server() as server:
        yield server


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "my_flows.py"
    path.write_text(FLOWS)
    tmp_path.chmod(0o755)
    return path


@pytest.fixture
def host(home: Path, flows: Path) -> Iterator[Host]:
    started = Host(home, flows, **dict.fromkeys(PRIVATE, "private"))
    yield started
    started.close()


class Attempt:
    """An attempt that a host was told to run."""

    def __init__(self, host: Host, kind: Kind, server: AttemptServer, function: str, **parameters: Any) -> None:
        self.host, self.kind, self.server = host, kind, server
        self.start = Start(
            run=str(uuid7()), attempt=1, journal=str(uuid7()), entrypoint=f"{host.flows}:{function}", flow=function,
            name="jumpy-puppy", directory=str(host.flows.parent), parameters=parameters, token="orun_token",
            api_url=server.url, infrastructure=kind.placement,
        )  # fmt: skip
        server.starts[self.start.run] = self.start
        self.send(self.start)

    def send(self, start: Start) -> None:
        self.host.socket.sendall(pack(start))
        assert isinstance(self.host.hear(), Started)

    @property
    def facts(self) -> list[AnyFact]:
        if self.kind.is_away:
            return self.server.facts(self.start)
        return facts_in(self.host.home).get(self.start.journal, [])

    def up(self) -> None:
        """Wait until it has printed that it is up."""
        if self.kind.is_away:
            self.server.wait_for(self.start, lambda facts: "up" in lines(facts))
            return
        while "up" not in lines(self.facts):
            pass

    def end(self) -> RunExited:
        """Wait for its end."""
        return self.host.exited(self.start)

    @property
    def exited(self) -> Exited:
        (exited,) = [fact for fact in self.facts if isinstance(fact, Exited)]
        return exited

    @property
    def states(self) -> list[str]:
        return [fact.type for fact in self.facts if isinstance(fact, FlowRunState)]

    def told(self) -> list[str]:
        """What its supervisor added to its log."""
        found = [fact for journal in self.journals() for fact in journal if isinstance(fact, Log)]
        return [fact.message for fact in found if fact.logger == "orchestrator.infrastructure"]

    def journals(self) -> list[list[AnyFact]]:
        return list(facts_in(self.host.home).values())


def lines(found: list[AnyFact]) -> list[str]:
    return [fact.message for fact in found if isinstance(fact, Log)]


def test_a_run_is_recorded_once_and_sees_nothing_of_its_worker(
    host: Host, kind: Kind, server: AttemptServer, tmp_path: Path
) -> None:
    text = "x" * 300_000
    attempt = Attempt(host, kind, server, "speaks", text=text, folder=str(tmp_path))
    assert attempt.end().exit_code == 0
    assert attempt.states == ["RUNNING", "COMPLETED"]
    printed = lines(attempt.facts)
    assert printed.count("length 300000") == 1
    seen = {line.removeprefix("sees ") for line in printed if line.startswith("sees ")}
    assert {"ORCHESTRATOR_API_TOKEN", "ORCHESTRATOR_API_URL", "ORCHESTRATOR_RUN_ID"} <= seen
    assert not seen & set(PRIVATE)
    assert (tmp_path / "cwd").read_text() == str(tmp_path)
    assert isinstance(attempt.facts[-1], Ended)
    assert kind.left() == []
    if kind.is_away:  # what was recorded there is not told a second time from outside
        assert attempt.told() == ["straight to the terminal"]


def test_ends_are_told_in_words(host: Host, kind: Kind, server: AttemptServer) -> None:
    failing = Attempt(host, kind, server, "fails")
    assert failing.end().exit_code == 1
    assert failing.states == ["RUNNING", "FAILED"]

    hard = Attempt(host, kind, server, "ends_hard")
    hard.end()
    assert (hard.exited.exit_code, hard.exited.cause) == (3, "exit")
    assert hard.exited.message.startswith("exit code 3")

    killed = Attempt(host, kind, server, "is_killed")
    killed.end()
    assert (killed.exited.signal, killed.exited.cause) == (signal.SIGKILL, "signal")
    assert kind.left() == []


def test_a_cancelled_run_cleans_up_and_a_stubborn_one_is_killed(host: Host, kind: Kind, server: AttemptServer) -> None:
    polite = Attempt(host, kind, server, "waits")
    polite.up()
    server.states[polite.start.run] = "CANCELLING"
    host.stop(polite.start, 20.0)
    polite.end()
    assert polite.states == ["RUNNING", "CANCELLED"]
    assert "cleaned up" in lines(polite.facts)
    assert "hook CANCELLED" in lines(polite.facts)

    stubborn = Attempt(host, kind, server, "stubborn")
    stubborn.up()
    host.stop(stubborn.start, 0.1)
    stubborn.end()
    assert stubborn.exited.message == "it did not stop when it was asked to and was killed"
    assert stubborn.exited.cause == "stopped"
    assert kind.left() == []


def test_without_its_worker_a_run_ends_or_goes_on_until_the_next_one_follows_it(
    host: Host, kind: Kind, server: AttemptServer, tmp_path: Path
) -> None:
    attempt = Attempt(host, kind, server, "goes_on", folder=str(tmp_path))
    attempt.up()
    host.close()
    if not kind.outlives:
        if kind.is_away:
            server.wait_for(attempt.start, lambda facts: isinstance(facts[-1], Ended))
        assert attempt.exited.message == WORKER_GONE
        return
    assert name_of(attempt.start.run, 1) in kind.left()
    again = Host(host.home, host.flows)
    try:
        attempt.host = again
        attempt.start.goes_on = True
        attempt.send(attempt.start)
        (tmp_path / "go").touch()
        assert attempt.end().exit_code == 0
    finally:
        again.close()
    assert attempt.states == ["RUNNING", "COMPLETED"]
    assert lines(attempt.facts).count("up") == 1
    assert lines(attempt.facts).count("went on") == 1
    assert kind.left() == []


def test_what_has_begun_is_never_begun_again(host: Host, kind: Kind, server: AttemptServer) -> None:
    if not kind.outlives:
        pytest.skip("it ends with its worker")
    attempt = Attempt.__new__(Attempt)
    attempt.host, attempt.kind, attempt.server = host, kind, server
    run = str(uuid7())
    attempt.start = Start(
        run=run, attempt=1, journal=str(uuid7()), entrypoint=f"{host.flows}:fails", token="orun_token",
        api_url=server.url, infrastructure=kind.placement, goes_on=True,
    )  # fmt: skip
    server.starts[run] = attempt.start
    attempt.send(attempt.start)
    attempt.end()
    assert attempt.exited.cause == "lost"
    assert "is gone" in attempt.exited.message
    assert attempt.states == []


def test_a_run_whose_worker_is_gone_ends_when_the_server_says_so(host: Host, kind: Kind, server: AttemptServer) -> None:
    if not kind.outlives:
        pytest.skip("it ends with its worker")
    attempt = Attempt(host, kind, server, "waits")
    attempt.up()
    host.close()
    server.orders[attempt.start.run] = "cancelled"
    server.wait_for(attempt.start, lambda facts: isinstance(facts[-1], Ended))
    assert attempt.states == ["RUNNING", "CANCELLED"]
