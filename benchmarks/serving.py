"""A server for a benchmark: its own home, a free port, and nothing left behind."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.measures import BenchmarkError
from benchmarks.processes import ORCHESTRATOR, PROGRAMS, environment, kill_left_behind, run, temporary_home
from benchmarks.records import Records, wait_until

START_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, with a token for its API."""

    home: Path
    url: str
    token: str
    variables: Mapping[str, str]  #: of its environment, beside the usual ones

    @property
    def environment(self) -> dict[str, str]:
        """What scripts and commands of its home run with."""
        return environment(self.home, **self.variables)

    @property
    def records(self) -> Records:
        """Its database."""
        return Records(self.home)

    def command(self, *words: str) -> str:
        """Run a verb of the command line and return what it printed."""
        return run([ORCHESTRATOR, *words], self.environment).output

    def deploy(self, program: str, name: str, *options: str) -> str:
        """Deploy `program.py:program` under a name and return the deployment's id."""
        self.command("deploy", f"{PROGRAMS / program}.py:{program}", "--name", name, "--source", "path", *options)
        found = json.loads(self.command("deployment", "inspect", f"{program}/{name}", "--json"))
        return str(found["id"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make a REST call over a connection of its own and return the answer's JSON."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise BenchmarkError(
                f"{method} {path} answered {response.status}: {content[:200].decode(errors='replace')}"
            )
        return json.loads(content) if content else None

    def start_run(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run of a deployment and return the run's id."""
        return str(self.call("POST", f"/api/deployments/{deployment}/runs/", {"parameters": parameters})["id"])

    def wait_for_completed(self, count: int, seconds: float) -> float:
        """Return the time at which so many flow runs are COMPLETED in the database."""
        return wait_until(lambda: self.records.completed_runs() >= count, f"{count} completed runs", seconds)


@contextmanager
def serving(*, api: bool = False, has_worker: Callable[[], bool] | None = None, **variables: str) -> Iterator[Server]:
    """Yield a server that answers and whose worker is up, with a token where its API is used; stop it at the end.

    The variables are added to the server's environment. Where they name another database than the home's own,
    `has_worker` says whether a worker has signed on in it.

    BenchmarkError if it does not come up, or leaves a process behind (which is then killed).
    """
    with temporary_home() as home:
        log = home / "benchmark.log"
        url = f"http://127.0.0.1:{free_port()}"
        command = [ORCHESTRATOR, "server", "start", "--port", str(urlsplit(url).port)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment(home, **variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the benchmark, which then stops the server in order
            )
        try:
            _wait_until_up(process, home, url, log, has_worker or (lambda: _has_worker(home)))
            create = [ORCHESTRATOR, "token", "create", "benchmark"]
            token = run(create, environment(home, **variables)).output.split()[-1] if api else ""
            yield Server(home, url, token, variables)
        finally:
            _stop(process)
            left = kill_left_behind(home)
        if left:
            raise BenchmarkError(f"the server left {len(left)} processes behind: {', '.join(left)}")


def _has_worker(home: Path) -> bool:
    return Records(home).count("SELECT count(*) FROM runs_worker WHERE stopped_at IS NULL") > 0


def _wait_until_up(
    process: "subprocess.Popen[bytes]", home: Path, url: str, log: Path, has_worker: Callable[[], bool]
) -> None:
    def is_up() -> bool:
        if process.poll() is not None:
            raise BenchmarkError(f"the server did not start: {_reason(home, log)}")
        return _answers(url) and has_worker()

    wait_until(is_up, "the server", START_SECONDS)
    time.sleep(1)  # let it become idle: beat's first tick, the run host's imports


def _answers(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/api/health/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _reason(home: Path, log: Path) -> str:
    """Return the last line about an error in the logs of the server's parts, else the last that the server printed."""
    logs = [path.read_text(errors="replace").splitlines() for path in sorted((home / "logs").glob("*.log"))]
    errors = [line.strip() for lines in logs for line in lines if "Error" in line]
    printed = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
    return [*printed, *errors][-1]
