"""What Celery's runner does beyond the contract: workers and brokers that fail, what is forged, who may hand out."""

import os
import pickle
import signal
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from celery import Celery

from orchestrator import CeleryTaskRunner, RunnerError, flow, runtime, task
from orchestrator.sdk.control_address import Address
from tests.runners.celery_site import BorrowingRunner, CelerySite
from tests.runners.conftest import Gate, until_gone, until_recorded
from tests.sdk.conftest import Recorded
from tests.server.running import ORCHESTRATOR, RunningServer, until

SLOW = 60


@pytest.fixture
def server(site: CelerySite, recorded: Recorded) -> RunningServer:
    """The server; the home of this process is another one."""
    return site[0]


@pytest.fixture
def far(site: CelerySite) -> BorrowingRunner:
    """A runner for a queue that the server's own worker does not serve."""
    return BorrowingRunner(site[1], "far")


@pytest.fixture
def near(site: CelerySite) -> BorrowingRunner:
    """A runner for the server's own worker."""
    return BorrowingRunner(site[1])


def broker(server: RunningServer) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(server.home / "broker.sock"))


@contextmanager
def far_worker(server: RunningServer) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker that has the broker and the API, and neither the database nor the server's secret."""
    token = server.call("POST", "/api/tokens/", {"name": f"far {os.urandom(4).hex()}"})["token"]
    with tempfile.TemporaryDirectory(prefix="orch-far-") as folder:
        own = {
            "HOME": folder, "API_URL": server.about["url"], "API_TOKEN": token,
            "BROKER_URL": f"unix://{server.home / 'broker.sock'}",
        }  # fmt: skip
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        environment = {**kept, **{f"ORCHESTRATOR_{name}": value for name, value in own.items()}}
        words = [*ORCHESTRATOR, "worker", "start", "--queue", "far", "--name", f"far-{os.urandom(4).hex()}"]
        with (Path(folder) / "terminal.log").open("wb") as terminal:
            process = subprocess.Popen(words, env=environment, cwd=folder, stdout=terminal, stderr=terminal)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_what_the_broker_forgot_is_handed_out_anew_and_a_killed_worker_crashes_what_it_had(
    server: RunningServer, far: BorrowingRunner, recorded: Recorded, gates: tuple[Gate, Gate]
) -> None:
    begun, go_on = gates

    @task(retries=1)
    def blocks() -> str:
        begun.open(str(os.getpid()))
        return go_on.wait()

    @flow(task_runner=far)
    def whole() -> str:
        future = blocks.submit()
        until(lambda: broker(server).keys("orchestrator.tasks.*"), SLOW)
        until_recorded(recorded, f"No worker listens to the queue 'far', {_HOW}", "orchestrator.engine")
        broker(server).flushall()
        with far_worker(server) as worker:
            executing = int(begun.wait())
            os.kill(worker.pid, signal.SIGKILL)
            until_gone(executing)
        with far_worker(server):
            begun.wait()
            go_on.open("second time")
            return str(future.result())

    assert whole() == "second time"
    states = recorded.task_states("blocks-0")
    assert [name for _, name in states] == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]


_HOW = "on which task runs wait. Start one: orchestrator worker start --queue far"


def test_a_call_whose_messages_are_dropped_again_and_again_crashes(
    server: RunningServer, far: BorrowingRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QUIET_SECONDS", "LOOK_SECONDS", "MISSING_SECONDS"):
        monkeypatch.setattr(f"orchestrator.sdk.runners.celery_line.{name}", 0.1)
    monkeypatch.setattr("orchestrator.sdk.runners.celery.MAX_VANISHED", 2)

    @task
    def one() -> int:
        return 1

    @flow(task_runner=far)
    def whole() -> str:
        future = one.submit()
        queue = server.call("GET", "/api/work-queues/?name=far")["results"][0]["id"]
        for _ in range(3):  # as by a worker that refuses what it takes
            assert broker(server).blpop([f"orchestrator.tasks.{queue}"], SLOW)
        return str(future.result(raise_on_failure=False))

    assert "The task was sent 3 times, and each time its message was gone" in whole()


def test_a_broker_that_forgets_does_not_end_what_executes(
    server: RunningServer, near: BorrowingRunner, gates: tuple[Gate, Gate]
) -> None:
    begun, go_on = gates

    @task
    def blocks() -> str:
        begun.open()
        print("executing")
        return go_on.wait()

    @flow(task_runner=near)
    def whole() -> str:
        future = blocks.submit()
        begun.wait()
        broker(server).flushall()
        until(lambda: broker(server).keys("orchestrator.calls.claim.*"), SLOW)
        go_on.open("once")
        return str(future.result())

    assert whole() == "once"


def test_a_server_that_is_killed_does_not_end_what_executes(
    server: RunningServer, near: BorrowingRunner, gates: tuple[Gate, Gate]
) -> None:
    begun, go_on = gates

    @task
    def blocks() -> str:
        begun.open()
        return go_on.wait()

    @task
    def add(x: int) -> int:
        return x + 1

    @flow(task_runner=near)
    def whole() -> tuple[str, int]:
        future = blocks.submit()
        begun.wait()
        os.kill(server.pid("web"), signal.SIGKILL)
        go_on.open("once")
        return str(future.result()), int(add.submit(1).result())

    assert whole() == ("once", 2)


def test_a_worker_that_is_stopped_finishes_what_executes(
    server: RunningServer, far: BorrowingRunner, recorded: Recorded, gates: tuple[Gate, Gate]
) -> None:
    begun, go_on = gates

    @task
    def blocks() -> str:
        begun.open()
        return go_on.wait()

    @flow(task_runner=far)
    def whole() -> str:
        with far_worker(server) as worker:
            future = blocks.submit()
            begun.wait()
            worker.terminate()
            go_on.open("to the end")
            return str(future.result())

    assert whole() == "to the end"
    assert recorded.task_states("blocks-0") == [(1, "Pending"), (1, "Running"), (1, "Completed")]


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_message_that_the_server_did_not_sign_is_refused_before_it_is_unpickled(
    server: RunningServer, near: BorrowingRunner, tmp_path: Path
) -> None:
    from runs.calls.signing import CallMessage, seal  # this process has another secret key than the server

    queue = server.call("GET", "/api/work-queues/?name=default")["results"][0]["id"]
    celery_queue = f"orchestrator.tasks.{queue}"
    call = ["x.1.1", pickle.dumps(Evil(tmp_path / "unpickled")), 0, b""]
    message = CallMessage("0" * 32, 1, "0" * 16, "", celery_queue, 0.0, [call])  # type: ignore[list-item]
    data, signature = seal(message)
    app = Celery(broker=f"redis+socket://{quote(str(server.home / 'broker.sock'))}")
    for forged in (signature.hex(), "", "00" * 64):
        app.send_task("runs.jobs.calls", [b64encode(data).decode(), forged], queue=celery_queue)

    @task
    def fine() -> int:
        return 1

    @flow(task_runner=near)
    def whole() -> int:
        return int(fine.submit().result())

    assert whole() == 1  # which came behind them
    log = (server.home / "logs" / "worker.log").read_text()
    assert log.count("A message with task runs is refused") == 3
    assert not (tmp_path / "unpickled").exists()


HOLDS = """
import os, signal
from pathlib import Path
from orchestrator import flow, task

@task
def holds(number: int, folder: str):
    (Path(folder) / f"task-{number}").write_text(f"{os.getpid()} {sorted(os.environ)}")
    signal.pause()

@flow
def keeps(folder: str):
    (Path(folder) / "flow").write_text(str(os.getpid()))
    holds.map(range(12), folder).result()
"""


def test_a_flow_that_is_killed_takes_its_task_runs_along(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "keeps.py").write_text(HOLDS)
    assert (
        server.cli("deploy", f"{tmp_path / 'keeps.py'}:keeps", "--name", "k", "--task-runner", "celery").returncode == 0
    )
    assert server.cli("deployment", "run", "keeps/k", "--param", f"folder={tmp_path}").returncode == 0

    def executing() -> list[Path] | None:
        found = [path for path in tmp_path.glob("task-*") if path.read_text()]
        return found if len(found) == 8 else None

    found = until(executing, SLOW)
    said = found[0].read_text()
    for secret in ("ORCHESTRATOR_API_TOKEN", "ORCHESTRATOR_BROKER_URL", "ORCHESTRATOR_SECRET_KEY", "DATABASE_URL"):
        assert secret not in said
    os.kill(int((tmp_path / "flow").read_text()), signal.SIGKILL)
    for path in found:
        until_gone(int(path.read_text().split()[0]))
    assert len(list(tmp_path.glob("task-*"))) == 8  # what waited does not begin


def test_only_a_flow_runs_own_token_hands_out_and_only_to_queues_of_its_team(
    server: RunningServer, site: CelerySite
) -> None:
    @task
    def one() -> int:
        return 1

    def failure(runner: CeleryTaskRunner) -> str:
        @flow(task_runner=runner)
        def whole() -> str:
            return str(one.submit().result(raise_on_failure=False))

        return whole()

    person = Address(server.about["url"], server.about["token"])
    assert "This is for flow runs that a worker started" in failure(BorrowingRunner(person))
    assert "There is no work queue “nowhere”" in failure(BorrowingRunner(site[1], "nowhere"))


def test_without_a_server_it_says_what_it_needs(recorded: Recorded) -> None:
    @task
    def one() -> int:
        return runtime.task_run.run_count or 0

    @flow(task_runner="celery")
    def whole() -> Any:
        return one.submit().result()

    with pytest.raises(RunnerError, match="CeleryTaskRunner needs a server"):
        whole()
