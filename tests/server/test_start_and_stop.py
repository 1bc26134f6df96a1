"""`orchestrator server`: one at a time, clear words when it cannot start, and nothing left when it stops."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.server.running import RunningServer, command, is_free, processes_of, running_server, until

NEW_HOME = True  # the server that several of these tests look at makes its own database


def test_status_says_where_it_runs(server: RunningServer) -> None:
    status = server.cli("server", "status", "--json")
    about = json.loads(status.stdout)
    assert (status.returncode, about["running"], about["answers"]) == (0, True, True)
    assert about["url"] == f"http://127.0.0.1:{server.port}"
    assert set(about["parts"]) == {"broker", "web", "worker", "beat", "ingester"}


def test_the_terminal_shows_the_sign_in_address_and_no_secret_is_readable(server: RunningServer) -> None:
    terminal = (server.home / "terminal.log").read_text()
    assert "Setting up the database" in terminal
    assert f"http://127.0.0.1:{server.port}/sign-in/" in terminal
    assert (server.home / "server.json").stat().st_mode & 0o777 == 0o600
    url = server.cli("server", "url")
    assert url.stdout.startswith(f"http://127.0.0.1:{server.port}/sign-in/")


def test_a_second_server_on_the_same_home_is_refused(server: RunningServer) -> None:
    second = server.cli("server", "start", "--port", "4299")
    assert second.returncode == 1
    assert f"already running on this home ({server.home}): pid {server.process.pid}" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_refused(short_home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        start = command({**os.environ, "ORCHESTRATOR_HOME": str(short_home)}, "server", "start", "--port", str(port))
    assert start.returncode == 1
    assert start.stderr.strip() == f"Error: Port {port} is in use. Choose another with --port."


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ORCHESTRATOR_WORKER_PLACES", "none", "ORCHESTRATOR_WORKER_PLACES"),
        ("ORCHESTRATOR_DATABASE_URL", "mysql://x/y", "ORCHESTRATOR_DATABASE_URL"),
        ("ORCHESTRATOR_BROKER_URL", "amqp://x", "ORCHESTRATOR_BROKER_URL"),
    ],
)
def test_a_broken_setting_is_one_line(short_home: Path, variable: str, value: str, said: str) -> None:
    environment = {**os.environ, "ORCHESTRATOR_HOME": str(short_home), variable: value}
    start = command(environment, "server", "start", "--port", str(free()))
    assert start.returncode == 1
    [line] = start.stderr.strip().splitlines()
    assert line.startswith(f"Error: {said}")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ORCHESTRATOR_BROKER_URL", "redis://ada:secret@127.0.0.1:1/0", "No broker answers at redis://127.0.0.1:1/0"),
        ("ORCHESTRATOR_DATABASE_URL", "postgresql://ada:secret@127.0.0.1:1/x", "The database cannot be used"),
    ],
)
def test_what_does_not_answer_is_one_line(short_home: Path, variable: str, value: str, said: str) -> None:
    began = time.monotonic()
    environment = {**os.environ, "ORCHESTRATOR_HOME": str(short_home), variable: value}
    start = command(environment, "server", "start", "--port", str(free()))
    assert (start.returncode, time.monotonic() - began < 10) == (1, True)
    [line] = start.stderr.strip().splitlines()
    assert line.startswith(f"Error: {said}")
    assert "secret" not in line


def test_stop_drains_runs_and_leaves_no_process(short_home: Path) -> None:
    """One run ends by itself meanwhile, one has to be stopped and is Crashed, and everything is gone within 10 s."""
    with running_server(short_home) as server:
        short, long = server.run("nap", seconds=2), server.run("stubborn")
        server.wait(long, "RUNNING")
        server.wait(short, "RUNNING")
        began = time.monotonic()
        stop = server.cli("server", "stop")
        assert (stop.returncode, server.process.wait(5)) == (0, 0)
        assert time.monotonic() - began < 10.5
        assert until(lambda: not processes_of(short_home), 3)
        assert is_free(server.port)
        environment = server.environment
    listed = command(environment, "flow-run", "ls", "--json")
    states = {run["id"]: (run["state_type"], run["state_message"]) for run in json.loads(listed.stdout)}
    assert states[short][0] == "COMPLETED"
    assert states[long][0] == "CRASHED"
    assert "server stopped" in states[long][1]
    assert command(environment, "server", "stop").returncode == 1


def test_the_sign_in_address_is_the_external_one(short_home: Path) -> None:
    with running_server(short_home, ORCHESTRATOR_EXTERNAL_URL="https://runs.example.com/") as server:
        until(lambda: "https://runs.example.com/sign-in/" in (short_home / "terminal.log").read_text(), 5)
        assert " since " in server.cli("server", "status").stdout


def test_a_second_signal_does_not_wait_for_runs(short_home: Path) -> None:
    with running_server(short_home) as server:
        server.wait(server.run("stubborn"), "RUNNING")
        server.process.terminate()
        time.sleep(0.5)  # two signals at once are one
        began = time.monotonic()
        server.process.terminate()
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 5
        assert until(lambda: not processes_of(short_home), 3)


def test_a_server_killed_hard_leaves_no_process_and_its_run_is_crashed(short_home: Path) -> None:
    with running_server(short_home) as server:
        run = server.run("nap")
        server.wait(run, "RUNNING")
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        until(lambda: not processes_of(short_home), 10, lambda: str(processes_of(short_home)))
        (short_home / "server.json").unlink()
    with running_server(short_home) as server:
        server.wait(run, "CRASHED")


def test_others_are_let_in_only_when_somebody_has_a_password(short_home: Path) -> None:
    environment = {**os.environ, "ORCHESTRATOR_HOME": str(short_home)}
    start = command(environment, "server", "start", "--host", "0.0.0.0", "--port", str(free()))
    assert start.returncode == 1
    assert "nobody has a password yet" in start.stderr
    assert not processes_of(short_home)


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
