"""A run may execute as another user of the machine, with nothing of the worker's."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator
from orchestrator.sdk.events import Ended, Log
from orchestrator.sdk.infrastructure.base import Placement
from tests.infrastructure.attempt_server import AttemptServer, attempt_server
from tests.infrastructure.test_contract import Attempt, Kind
from tests.sdk.test_host import Host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may switch to another user")
OTHER = "nobody"
FLOWS = """
import getpass, os
from pathlib import Path
from orchestrator import flow

def reads(path):
    try:
        return bool(list(Path(path).iterdir()))
    except PermissionError:
        return False

@flow
def looks(home):
    print("uid", os.getuid(), os.geteuid(), os.getgroups())
    print("home", os.environ["HOME"], os.environ["USER"])
    print("reads the worker's home", reads(home))
    try:
        os.setuid(0)
    except PermissionError:
        print("stays")
    print("left over", sorted(name for name in os.environ if name.startswith("SECRET")))
"""


@pytest.fixture
def server() -> Iterator[AttemptServer]:
    with attempt_server() as server:
        yield server


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may read, as pytest's may not be."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def host(home: Path, folder: Path) -> Iterator[Host]:
    flows = folder / "my_flows.py"
    flows.write_text(FLOWS)
    started = Host(home, flows, SECRET_OF_THE_WORKER="x", PYTHONPATH=packages())
    yield started
    started.close()


def packages() -> str:
    """Where this checkout and what it needs lie."""
    return os.pathsep.join([str(Path(orchestrator.__file__).parents[1]), *filter(None, sys.path[1:])])


def python() -> str:
    """An interpreter that the other user may execute, with what this one has. Skips where there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            subprocess.run(
                [found, "-c", "import orchestrator.sdk.attempt"], user=OTHER, group=OTHER_GROUP, cwd="/", check=True,
                capture_output=True, env={"PYTHONPATH": packages()},
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        return found
    pytest.skip(f"{OTHER} can read no Python with what is installed here")


OTHER_GROUP = "nogroup"


def test_a_run_as_another_user_is_that_user_and_reads_nothing_of_the_workers(
    host: Host, server: AttemptServer, home: Path
) -> None:
    placement = Placement(kind="process", block="safe", settings={"user": OTHER, "python": python()})
    attempt = Attempt(host, Kind("user", placement, is_away=True), server, "looks", home=str(home))
    assert attempt.end().exit_code == 0, [*attempt.told(), *attempt.facts]
    printed = [fact.message for fact in attempt.facts if isinstance(fact, Log)]
    assert printed[0].startswith("uid 65534 65534")
    assert " 0" not in printed[0].replace("[0", "[ 0")
    assert "reads the worker's home False" in printed
    assert "stays" in printed
    assert "left over []" in printed
    assert isinstance(attempt.facts[-1], Ended)


def test_a_user_that_is_not_there_is_named(host: Host, server: AttemptServer) -> None:
    placement = Placement(kind="process", block="safe", settings={"user": "nobody-at-all"})
    attempt = Attempt(host, Kind("user", placement, is_away=True), server, "looks", home="/")
    attempt.end()
    assert attempt.exited.message == "Block 'safe': this worker's machine has no user 'nobody-at-all'."
    assert attempt.told() == [attempt.exited.message]
