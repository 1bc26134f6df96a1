"""`orchestrator server`: start, stop and ask the server of this machine."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.numbers import Number
from orchestrator.cli.output import exact
from orchestrator.sdk.home import home
from orchestrator.server import record

STOP_WAIT_SECONDS = 15.0
Answer = TypeVar("Answer")


@click.group(context_settings=SETTINGS)
def server() -> None:
    """Start and stop the server of this machine."""


@server.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=4200, show_default=True, type=Number(1, 65535), help="The port to listen on.")
@click.option("--workers", default=1, show_default=True, type=Number(1, 64), help="How many Celery workers.")
def start(host: str, port: int, workers: int) -> None:
    """Start everything that one machine needs, in the foreground; Ctrl-C stops it.

    The site, a worker, the scheduler and, unless ORCHESTRATOR_BROKER_URL names one, a broker. The database is a file in
    the home (~/.orchestrator, or ORCHESTRATOR_HOME) unless ORCHESTRATOR_DATABASE_URL names one; it is migrated first.
    """
    from orchestrator.server import checks  # only this verb needs what follows
    from orchestrator.server.options import Options
    from orchestrator.server.supervisor import Server

    here = home()
    try:
        checks.check_home(here)
        lock = record.lock(here)
        if lock is None:
            known = record.read(here)
            where = known.url if known else "just starting"
            raise checks.StartError(
                f"A server is already running on this home ({here.root}): pid {record.holder(here)}, {where}."
            )
        with lock:
            here.server_file.unlink(missing_ok=True)
            checks.check_port(host, port)
            if not os.environ.get("ORCHESTRATOR_BROKER_URL"):
                checks.check_broker_wheel()
            Server(here, lock, Options(host, port, workers), _say, _complain).run()
    except checks.StartError as error:
        _complain(f"Error: {error}")
        sys.exit(1)


@server.command()
def stop() -> None:
    """Stop the server of this home and wait until it has stopped.

    The exit code is 0 when it has stopped, 1 when none was running or it did not stop.
    """
    here = home()
    pid = record.holder(here)
    if pid is None:
        _complain(f"No server is running on this home ({here.root}).")
        sys.exit(1)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WAIT_SECONDS
    while record.is_running(here):
        if time.monotonic() > deadline:
            _complain(f"The server (pid {pid}) has not stopped after {STOP_WAIT_SECONDS:.0f} s.")
            sys.exit(1)
        time.sleep(0.05)
    _say("Stopped.")


@server.command()
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
def status(as_json: bool) -> None:
    """Say whether a server runs on this home. The exit code is 0 when it runs and answers, else 1."""
    known, pid = record.read(home()), record.holder(home())
    answers = known is not None and _answers(known.url)
    if as_json:
        _say(json.dumps(_status(known, pid, answers)))
    elif known is None:
        _say(f"The server is starting (pid {pid})." if pid else f"No server is running on this home ({home().root}).")
    else:
        _say(f"{'Running' if answers else 'Not answering'}: {known.url} (pid {known.pid}, version {known.version})")
        _say(f"  since {exact(known.started_at)}; parts: {', '.join(known.parts)}")
    sys.exit(0 if answers else 1)


@server.command()
def url() -> None:
    """Print a new one-time address that signs the first admin in."""
    from orchestrator.server import preparation

    known = record.read(home())
    path = _explained(preparation.sign_in_path if known else _prepared_path)
    external = os.environ.get("ORCHESTRATOR_EXTERNAL_URL", "").strip().rstrip("/")
    _say(f"{external or (known.url if known else 'http://127.0.0.1:4200')}{path}")
    if known is None and not external:
        _complain("No server is running yet: orchestrator server start")


@server.command()
def prepare() -> None:
    """Migrate the database and make what a server needs, before its parts are started one by one.

    `server start` does this itself. Running it again changes nothing.
    """
    from orchestrator.server import preparation

    prepared = _explained(lambda: preparation.prepare(_say, issue=False))
    _say(f"Ready: {prepared.database}")


def _prepared_path() -> str:
    from orchestrator.server import preparation

    return preparation.prepare(_complain).sign_in_path


def _status(known: record.ServerRecord | None, pid: int | None, answers: bool) -> dict[str, Any]:
    if known is None:
        return {"running": pid is not None, "answers": False, "home": str(home().root), "pid": pid}
    return {
        "running": True,
        "answers": answers,
        "home": str(home().root),
        "pid": known.pid,
        "url": known.url,
        "version": known.version,
        "started_at": known.started_at,
        "parts": known.parts,
    }


def _answers(url: str) -> bool:
    import http.client  # 15 ms
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=1.0)
    try:
        connection.request("GET", "/api/health/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _explained(step: Callable[[], Answer]) -> Answer:
    """Call a step that sets Django up; what it cannot do is one line and exit code 1."""
    from orchestrator.server.checks import StartError
    from orchestrator.server.preparation import explained

    try:
        return explained(step)
    except StartError as error:
        _complain(f"Error: {error}")
        sys.exit(1)


def _say(line: str) -> None:
    click.echo(line)


def _complain(line: str) -> None:
    click.echo(line, err=True)
