"""Environments are built by uv, once; a run has what its snapshot says it needs, and fails with uv's own words."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.sdk.environments.building import BuildFailed, _without_secrets, built
from orchestrator.sdk.environments.needs import Needs, read_needs
from orchestrator.sdk.kept_folders import let_go
from tests.environments.wheels import make_wheel
from tests.server.running import ORCHESTRATOR, RunningServer, running_server
from tests.snapshots.making import write

OFFLINE = "--no-index\n--find-links wheels\n"
SLOW = 120


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    yield
    let_go()


def test_it_is_built_once_with_the_engine_and_nothing_else_of_the_worker(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "greetings", "1.0", "WORD = 'hello'\n")
    write(tmp_path, {"requirements.txt": f"{OFFLINE}greetings\norchestrator-flows==99\n"})
    needs, said = read_needs(tmp_path / "requirements.txt"), []
    assert needs is not None
    python = built(tmp_path / "e", needs, tmp_path, "requirements.txt", "hash", said.append)
    assert [line.partition(" in ")[0] for line in said] == [
        "Building the environment of requirements.txt", "Built the environment of requirements.txt with 1 package",
    ]  # fmt: skip
    program = (
        "import greetings, orchestrator.sdk.attempt, pydantic, requests\n"
        "try:\n    import django\nexcept ImportError:\n    print(greetings.WORD)"
    )
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n"
    said.clear()
    let_go()
    assert built(tmp_path / "e", needs, tmp_path, "requirements.txt", "hash", said.append) == python
    assert said == []
    assert built(tmp_path / "e", needs, tmp_path, "requirements.txt", "other", said.append) != python


def test_what_cannot_be_built_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"(?s)requirements\.txt cannot be built\. uv says:.*nothing-like-this"):
        built(tmp_path, Needs("--no-index\nnothing-like-this\n"), tmp_path, "requirements.txt", "", lambda _: None)
    assert [path.suffix for path in tmp_path.iterdir() if path.name != ".cache"] == [".lock"]
    with pytest.raises(BuildFailed, match=r"(?s)uv says:.*3\.99"):
        built(tmp_path, Needs("", python=">=3.99"), tmp_path, "etl.py", "", lambda _: None)


def test_passwords_of_an_index_are_not_told() -> None:
    assert _without_secrets("error: https://me:secret@index.local/simple/ says no") == (
        "error: https://***@index.local/simple/ says no"
    )


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with tempfile.TemporaryDirectory(prefix="orch-") as folder, running_server(Path(folder)) as server:
        yield server


def run(server: RunningServer, project: Path, *options: str, state: str = "COMPLETED") -> tuple[dict, list[str]]:
    words = [*ORCHESTRATOR, "deploy", "etl.py:etl", "--name", "n", *options]
    done = subprocess.run(words, env=server.environment, cwd=project, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done
    (deployment,) = server.call("GET", "/api/deployments/?name=etl/n")["results"]
    run_id = server.call("POST", f"/api/deployments/{deployment['id']}/runs/", {})["id"]
    ended = server.wait(run_id, state, SLOW)
    lines = [line["message"].strip() for line in server.call("GET", f"/api/flow-runs/{run_id}/logs/")["results"]]
    return ended, lines


def test_a_run_has_what_its_snapshot_needs(server: RunningServer, tmp_path: Path) -> None:
    code = (
        "from orchestrator import flow\n\n@flow\ndef etl():\n    import os, sys\n    import greetings\n"
        "    print(greetings.WORD, 'environments' in sys.prefix, os.environ['VIRTUAL_ENV'] == sys.prefix)\n"
    )
    write(tmp_path, {"etl.py": code, "requirements.txt": f"{OFFLINE}greetings==1.0\n"})
    make_wheel(tmp_path / "wheels", "greetings", "1.0", "WORD = 'hello'\n")
    _, lines = run(server, tmp_path)
    assert lines[0] == "Building the environment of requirements.txt"
    assert lines[1].startswith("Built the environment of requirements.txt with 1 package in ")
    assert lines[2] == "hello True True"
    ended, lines = run(server, tmp_path)
    assert lines[0] == "hello True True"
    assert ended["attempts"][0]["source"]["environment"] == "requirements.txt"

    write(tmp_path, {"requirements.txt": f"{OFFLINE}greetings==2.0\n"})
    ended, lines = run(server, tmp_path, state="FAILED")
    assert "uv says:" in ended["state_message"]
    assert "greetings==2.0" in ended["state_message"]

    ended, _ = run(server, tmp_path, "--no-environment", state="FAILED")
    assert "No module named 'greetings'" in ended["error"]["message"]
