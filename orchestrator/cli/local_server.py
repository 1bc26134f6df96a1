"""Which server runs on this home."""

import json
import os
import sys
import time
from dataclasses import dataclass

import click

from orchestrator.sdk.home import Home, home

if sys.platform != "win32":
    import fcntl

STARTING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LocalServer:
    """Where the server of this home listens, and a token for it."""

    url: str
    token: str


def find_local_server() -> LocalServer | None:
    """Return the server that runs on this home, None when there is none. Waits for one that is starting.

    Raises:
        click.ClickException: It is starting and does not come up.
    """
    here = home()
    deadline = time.monotonic() + STARTING_SECONDS
    while is_locked(here):
        try:
            about = json.loads(here.server_file.read_text())
            return LocalServer(about["url"].rstrip("/"), about["token"])
        except (OSError, ValueError, KeyError):
            pass
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"A server is starting on {here.root} and does not answer yet. Its logs are in {here.logs}."
            )
        time.sleep(0.05)
    return None


def is_locked(here: Home) -> bool:
    """Whether a server holds this home's lock; it lets go of it when it ends, however it ends."""
    if sys.platform == "win32":
        return here.server_file.exists()
    try:
        lock = os.open(here.server_lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
