"""Whether a server runs on a home, and where: the lock it holds, and the file it writes."""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Final

from orchestrator.sdk.home import Home

if sys.platform != "win32":  # where no server starts: the command line asks one elsewhere, by its URL
    import fcntl


LOCK_SECONDS: Final = 0.3  # who only asks whether a server runs holds the lock, shared, for an instant


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """What a server says about itself once it answers (home.server_file, 0600)."""

    pid: int
    url: str
    token: str = field(repr=False)  #: for the command line on this machine
    version: str = ""
    started_at: str = ""  #: ISO 8601, UTC
    parts: dict[str, int] = field(default_factory=dict)  #: pid by name


def read(home: Home) -> ServerRecord | None:
    """Return what the server running on this home says, None when none runs or it is just starting."""
    if not is_running(home):
        return None
    try:
        known: dict[str, Any] = json.loads(home.server_file.read_text())
        return ServerRecord(**{name: known[name] for name in ServerRecord.__dataclass_fields__ if name in known})
    except (OSError, ValueError, TypeError):  # of another version
        return None


def write(home: Home, record: ServerRecord) -> None:
    """Replace the file in one step, so that readers see the old or the new."""
    making = home.server_file.with_suffix(".making")
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(record), file)
    making.replace(home.server_file)


def lock(home: Home) -> IO[bytes] | None:
    """Become the server of this home until the returned file is closed; None when there is one already."""
    file = open(os.open(home.server_lock, os.O_RDWR | os.O_CREAT, 0o600), "r+b")  # noqa: SIM115  held until the end
    if sys.platform == "win32":
        return file
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                return None
            time.sleep(LOCK_SECONDS / 10)
    file.truncate()
    file.write(b"%d\n" % os.getpid())
    file.flush()
    return file


def holder(home: Home) -> int | None:
    """Return the pid of the server of this home, also while it starts; None when there is none."""
    try:
        return int(home.server_lock.read_text()) if is_running(home) else None
    except (OSError, ValueError):  # it is just taking the lock
        return None


def is_running(home: Home) -> bool:
    """Whether a process holds the server's lock."""
    if sys.platform == "win32":
        return False
    try:
        with home.server_lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:  # no server ever ran here
        return False
