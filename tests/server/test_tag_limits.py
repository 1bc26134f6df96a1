"""Limits of tags from end to end: real scripts, a deployment's runs, a real server, and the helper where there is none.

Whether two task runs overlapped is read from what they wrote to disk themselves.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sdk.control_address import is_locked
from orchestrator.sdk.home import Home
from tests.sdk.processes import environment
from tests.server.running import RunningServer, processes_of, running_server, until, write_once

PROJECT = """
import os, sys, time
from pathlib import Path
from orchestrator import flow, task

HOME = Path(os.environ["ORCHESTRATOR_HOME"])

@task(tags=["database"], retries=1)
def load(seconds=0.02):
    begin = time.monotonic()
    with open(HOME / f"begun-{os.getpid()}", "a") as file:
        file.write("x")
    time.sleep(seconds)
    with open(HOME / "intervals.txt", "a") as file:
        file.write(f"{begin} {time.monotonic()}\\n")
    if seconds == 0.021 and not (HOME / "failed").exists():
        (HOME / "failed").touch()
        raise ValueError("once")

@flow
def work(seconds: float = 0.02, count: int = 3):
    load.map([seconds] * count).wait()
    load(seconds)

if __name__ == "__main__":
    work(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
"""


def start_script(home: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a script of PROJECT in a home: seconds of each task, and how many are submitted."""
    path = home / "project.py"
    write_once(path, PROJECT)
    with (home / "scripts.log").open("ab") as log:
        return subprocess.Popen([sys.executable, path, *arguments], env=environment(home), stdout=log, stderr=log)


@pytest.fixture
def scripts() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Scripts that a test starts; those that are left are killed."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for script in started:
        script.kill()
        script.wait()


def intervals(home: Path) -> list[tuple[float, float]]:
    """When each attempt of a task ran, by the clock that all processes of this machine share."""
    lines = (home / "intervals.txt").read_text().splitlines()
    return sorted((float(begin), float(end)) for begin, end in map(str.split, lines))


def overlaps(found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that began before the one before them had ended."""
    return [later for earlier, later in pairwise(found) if later[0] < earlier[1]]


def has_begun(home: Path, script: "subprocess.Popen[bytes]") -> bool:
    return (home / f"begun-{script.pid}").exists()


def wait_for(home: Path, script: "subprocess.Popen[bytes]") -> None:
    assert script.wait(60) == 0, (home / "scripts.log").read_text()


def limit(server: RunningServer) -> dict[str, Any]:
    (found,) = server.call("GET", "/api/concurrency-limits/")["results"]
    return dict(found)


@pytest.fixture(scope="module")
def limited(server: RunningServer) -> RunningServer:
    """The module's server, with a limit of 1 on `database`."""
    server.call("POST", "/api/concurrency-limits/", {"tag": "database", "limit": 1})
    return server


def test_scripts_and_a_deployment_share_a_limit(
    limited: RunningServer, scripts: list["subprocess.Popen[bytes]"]
) -> None:
    home = limited.home
    scripts += [start_script(home, "0.021", "3"), start_script(home, "0.02", "3")]
    declaration = {
        "flow": "work", "name": "shared", "queue": "default", "entrypoint": f"{home / 'project.py'}:work",
        "directory": str(home), "parameter_schema": {},
    }  # fmt: skip
    deployment = limited.call("POST", "/api/deployments/", declaration)["id"]
    run = limited.call("POST", f"/api/deployments/{deployment}/runs/", {"parameters": {"count": 3}})["id"]
    for script in scripts:
        wait_for(home, script)
    limited.wait(run, "COMPLETED", 60)
    found = intervals(home)
    assert len(found) == 13  # twelve, and one again
    assert not overlaps(found)
    until(lambda: not limit(limited)["used"], describe=lambda: str(limit(limited)))


def test_killing_who_holds_a_slot_frees_it(limited: RunningServer, scripts: list["subprocess.Popen[bytes]"]) -> None:
    home = limited.home
    holder = start_script(home, "60", "1")
    scripts.append(holder)
    until(lambda: has_begun(home, holder), 60)
    waiter = start_script(home, "0.01", "1")
    scripts.append(waiter)
    until(lambda: limit(limited)["waiting"] == 1)
    assert not has_begun(home, waiter)
    holder.send_signal(signal.SIGKILL)
    wait_for(home, waiter)
    assert has_begun(home, waiter)


@pytest.fixture(scope="module")
def helped_home(limited: RunningServer) -> Iterator[Path]:
    """A home with a limit of 1 on `database` and without a server; its helper is ended at the end."""
    until(lambda: not limit(limited)["used"])  # what is held in the copy would be held for ever
    home = Path(tempfile.mkdtemp(prefix="orch-"))
    for name in ("limits.json", "secret.key"):
        shutil.copy(limited.home / name, home)
    with closing(sqlite3.connect(limited.home / "orchestrator.db")) as source:
        with closing(sqlite3.connect(home / "orchestrator.db")) as copy:  # migrating one takes seconds
            source.backup(copy)
    yield home
    if is_locked(Home(home).control_lock):
        os.kill(int(Home(home).control_lock.read_text()), signal.SIGTERM)
        until(lambda: not is_locked(Home(home).control_lock))
    until(lambda: not processes_of(home))  # it lets go of its lock a moment before it has ended
    shutil.rmtree(home)


def test_the_helper_ends_when_nobody_asks(helped_home: Path) -> None:
    code = "from orchestrator.server import helper; from orchestrator.control import main\n"
    quick = f"{code}helper.IDLE_SECONDS = 0.3\nassert main([]) == 0"
    subprocess.run([sys.executable, "-c", quick], env=environment(helped_home), check=True, timeout=60)
    assert not Home(helped_home).control_socket.exists()


def test_two_scripts_without_a_server_share_a_limit_and_go_on_with_one(
    helped_home: Path, scripts: list["subprocess.Popen[bytes]"]
) -> None:
    home = helped_home
    scripts += [start_script(home, "0.02", "2") for _ in range(2)]
    for script in scripts:
        wait_for(home, script)
    assert len(intervals(home)) == 6
    assert not overlaps(intervals(home))
    helper = int(Home(home).control_lock.read_text())
    assert "orchestrator.control" in processes_of(home)[helper]
    assert Home(home).control_socket.stat().st_mode & 0o777 == 0o600

    holder = start_script(home, "60", "1")
    scripts.append(holder)
    until(lambda: has_begun(home, holder), 60)
    waiter = start_script(home, "0.01", "1")
    scripts.append(waiter)
    with running_server(home) as server:  # the helper makes room for it, and who waits asks it
        until(lambda: helper not in processes_of(home))
        until(lambda: limit(server)["waiting"] == 1)
        assert not has_begun(home, waiter)
        assert limit(server)["used"] == 1
        holder.send_signal(signal.SIGKILL)
        wait_for(home, waiter)
    assert not overlaps(intervals(home))
