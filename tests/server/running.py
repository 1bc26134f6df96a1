"""A real server for tests: its own home and port, its parts by pid, and its runs over REST."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests import migrated
from tests.servers import free_port

START_SECONDS = 60
ORCHESTRATOR = [str(Path(sys.executable).with_name("orchestrator"))]
Value = TypeVar("Value")

FLOWS = """
import os, signal, subprocess, sys, time
from pathlib import Path
from orchestrator import flow

@flow
def hello(path: str = ""):
    print("hello")
    if path:
        with open(path, "a") as file:
            file.write("x")

@flow
def occupy(path: str):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"+")
    time.sleep(0.2)
    os.write(descriptor, b"-")

@flow
def nap(seconds: float = 60.0):
    print("napping", flush=True)
    time.sleep(seconds)

@flow
def parent(path: str):
    child = subprocess.Popen(["sleep", "60"])
    Path(path).write_text(str(child.pid))
    child.wait()

@flow
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("no", flush=True)
    time.sleep(60)
"""


@dataclass(slots=True)
class RunningServer:
    """A server that was started, and what it printed."""

    home: Path
    port: int
    process: "subprocess.Popen[str]"
    environment: dict[str, str]

    @property
    def about(self) -> dict[str, Any]:
        """What it says about itself."""
        answer: dict[str, Any] = json.loads((self.home / "server.json").read_text())
        return answer

    def pid(self, part: str) -> int:
        """The pid of a part now."""
        return int(self.about["parts"][part])

    def cli(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb of the command line."""
        return command(self.environment, *words)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make a REST call and return its JSON."""
        about = self.about
        request = urllib.request.Request(
            about["url"] + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {about['token']}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or b"null")

    def deploy(self, flow: str, queue: str = "default") -> str:
        """Declare a deployment of a flow of FLOWS and return its id."""
        path = self.home / "project.py"
        write_once(path, FLOWS)
        declaration = {
            "flow": flow, "name": f"on-{queue}", "queue": queue, "entrypoint": f"{path}:{flow}",
            "directory": str(self.home), "parameter_schema": {},
        }  # fmt: skip
        return str(self.call("POST", "/api/deployments/", declaration)["id"])

    def run(self, flow: str, queue: str = "default", **parameters: object) -> str:
        """Create a run of a flow of FLOWS and return its id."""
        deployment = self.deploy(flow, queue)
        return str(self.call("POST", f"/api/deployments/{deployment}/runs/", {"parameters": parameters})["id"])

    def flow_run(self, run_id: str) -> dict[str, Any]:
        """The run as the API shows it."""
        answer: dict[str, Any] = self.call("GET", f"/api/flow-runs/{run_id}/")
        return answer

    def wait(self, run_id: str, state: str, seconds: float = 20) -> dict[str, Any]:
        """Wait until a run is in a state."""

        def look() -> dict[str, Any] | None:
            run = self.flow_run(run_id)
            return run if run["state_type"] == state else None

        return until(look, seconds, lambda: f"{run_id} is {self.flow_run(run_id)}")


def command(environment: Mapping[str, str], *words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a verb of the command line in an environment, with this on its standard input."""
    return subprocess.run(
        [*ORCHESTRATOR, *words],
        env=dict(environment),
        input=typed,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )


def write_once(path: Path, text: str) -> None:
    """Write a file of flows, unless it says so already: a run that loads it just then must not find it empty."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def until(look: Callable[[], Value | None], seconds: float = 20, describe: Callable[[], str] = str) -> Value:
    """Ask until the answer is true, and return it; what is asked has no event to wait for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"Not within {seconds} s. {describe()}")


@contextmanager
def running_server(home: Path, *options: str, is_new: bool = False, **variables: str) -> Iterator[RunningServer]:
    """Start `orchestrator server start` on a home and yield when it is ready; stop it at the end, if it still runs.

    Its database is migrated already, unless the home is to be as new as it is.
    """
    if not is_new:
        migrated.put_database_into(home)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    environment |= {"ORCHESTRATOR_HOME": str(home), **variables}
    port = free_port()
    output = home / "terminal.log"
    with output.open("w") as terminal:
        process = subprocess.Popen(
            [*ORCHESTRATOR, "server", "start", "--port", str(port), *options],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            text=True,
            start_new_session=True,
        )
    try:
        server = RunningServer(home, port, process, environment)
        until(
            lambda: (home / "server.json").exists() or process.poll() is not None,
            START_SECONDS,
            lambda: output.read_text(),
        )
        if process.poll() is not None:
            raise RuntimeError(output.read_text())
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def processes_of(home: Path) -> dict[int, str]:
    """Return the command lines, by pid, of the processes that have this home in their environment."""
    marker = f"ORCHESTRATOR_HOME={home}\0".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if marker in (folder / "environ").read_bytes() + b"\0":
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile
            continue
    return found


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
