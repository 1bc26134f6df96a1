"""Where this process finds the server that answers its questions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from orchestrator.sdk.home import Home

if sys.platform != "win32":  # where no server runs: it is asked by its URL
    import fcntl


class Address(NamedTuple):
    """A server's address.

    Attributes:
        url: Of the site, without `/api`.
        token: Empty for the helper, whose socket only this user can open.
        socket: The helper's; None for a server.
    """

    url: str
    token: str = ""
    socket: Path | None = None


class _Record(msgspec.Struct):
    """What a home's server says about itself in `home.server_file`."""

    url: str
    token: str


def find(home: Home) -> Address:
    """Return whom to ask now: the server that the environment names, the home's running one, or the helper."""
    url = os.environ.get("ORCHESTRATOR_API_URL")
    if url:
        return Address(url.rstrip("/").removesuffix("/api"), os.environ.get("ORCHESTRATOR_API_TOKEN", ""))
    try:
        record = msgspec.json.decode(home.server_file.read_bytes(), type=_Record)
    except (OSError, msgspec.MsgspecError):
        record = None
    if record is not None and is_locked(home.server_lock):
        return Address(record.url, record.token)
    return Address("http://localhost", socket=home.control_socket)


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock. It is taken, shared, for an instant, so whoever wants it tries twice."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:  # nobody ever held it
        return False
