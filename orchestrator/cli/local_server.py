"""Which server runs on this home."""

import time

import click

from orchestrator.sdk.home import home
from orchestrator.server import record
from orchestrator.server.record import ServerRecord

STARTING_SECONDS = 15.0


def find_local_server() -> ServerRecord | None:
    """Return the server that runs on this home, None when there is none. Waits for one that is starting.

    Raises:
        click.ClickException: It is starting and does not come up.
    """
    here = home()
    deadline = time.monotonic() + STARTING_SECONDS
    while record.is_running(here):
        known = record.read(here)
        if known is not None:
            return known
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"A server is starting on {here.root} and does not answer yet. Its logs are in {here.logs}."
            )
        time.sleep(0.05)
    return None
