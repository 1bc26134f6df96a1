"""Runs in containers beside a real server: deployed by command, cancelled, followed past a restart of the server."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infrastructure.engine import IMAGE, PodmanEngine, engine_or_skip, python, volumes
from tests.server.running import FLOWS, RunningServer, running_server, until, write_once

SLOW = 60
MORE = """
@flow
def tells(path: str):
    print("begun")
    while not Path(path).exists():
        time.sleep(0.05)
    print("told")
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[PodmanEngine]:
    with engine_or_skip() as engine:
        yield engine


def shared(server: RunningServer) -> Path:
    """The folder that containers see; the code is not in it: it comes as a snapshot."""
    folder = server.home / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def prepare(server: RunningServer, engine: PodmanEngine) -> None:
    """Make the block, and deployments that execute there, as a person would."""
    settings = [
        *(f"--volumes={volume}" for volume in (*volumes(), f"{shared(server)}:{shared(server)}")),
        "--networks=host",
    ]
    made = server.cli(
        "block", "create", "docker", "prod", f"--image={IMAGE}", f"--python={python()}", f"--engine={engine.url}",
        "--memory-mb=256", *settings,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    path = server.home / "project.py"
    write_once(path, FLOWS + MORE)
    for flow in ("nap", "tells"):
        done = server.cli("deploy", f"{path}:{flow}", "--name", "in-containers", "--infrastructure", "prod")
        assert done.returncode == 0, done.stderr + done.stdout


def start(server: RunningServer, flow: str, **parameters: object) -> str:
    found = server.call("GET", f"/api/deployments/?name=in-containers&flow={flow}")["results"]
    return str(server.call("POST", f"/api/deployments/{found[0]['id']}/runs/", {"parameters": parameters})["id"])


def messages(server: RunningServer, run: str) -> list[str]:
    """What a run printed."""
    lines = server.call("GET", f"/api/flow-runs/{run}/logs/")["results"]
    return [line["message"].strip() for line in lines if line["logger"] == "stdout"]


def test_runs_in_containers_are_cancelled_and_outlive_a_restart(engine: PodmanEngine) -> None:
    with tempfile.TemporaryDirectory(prefix="orch-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with running_server(home) as server:
            prepare(server, engine)
            napping = start(server, "nap")
            server.wait(napping, "RUNNING", SLOW)
            server.call("POST", f"/api/flow-runs/{napping}/cancel/", {})
            server.wait(napping, "CANCELLED", SLOW)

            telling = start(server, "tells", path=str(shared(server) / "go"))
            until(lambda: "begun" in messages(server, telling), SLOW)
        assert names(engine) == [f"orchestrator-{telling}-1"]
        with running_server(home, "--port", str(server.port)) as again:
            assert again.flow_run(telling)["state_type"] == "RUNNING"
            until(lambda: followed(again, telling), SLOW)
            (shared(server) / "go").touch()
            again.wait(telling, "COMPLETED", SLOW)
            assert messages(again, telling) == ["begun", "told"]
            until(lambda: not names(engine), SLOW)


def names(engine: PodmanEngine) -> list[str]:
    return engine.podman("ps", "--all", "--format={{.Names}}").split()


def followed(server: RunningServer, run: str) -> bool:
    """Whether a worker that lives has the run."""
    alive = server.call("GET", "/api/workers/?alive=true")["results"]
    return any(row["running"] for row in alive)
