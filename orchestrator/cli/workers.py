"""`orchestrator worker`."""

import os
import re
import socket
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from orchestrator.cli.client import Api, connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.local_server import find_local_server
from orchestrator.cli.names import find_named
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import json_option
from orchestrator.cli.output import Cell, command, emit_json, exact, fields, moment, state, table
from orchestrator.cli.transports import HttpTransport

_WHAT, _PATH = "worker", "workers/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HOW: Final = (
    "A worker needs the broker and the API. Set ORCHESTRATOR_BROKER_URL, ORCHESTRATOR_API_URL and "
    "ORCHESTRATOR_API_TOKEN (`orchestrator token create NAME` makes one), or start it where the server runs."
)


@click.group(context_settings=SETTINGS)
def worker() -> None:
    """Start workers on this machine, and see what runs where.

    A server has workers of its own. Another machine runs flows too when it has a worker:

    \b
      export ORCHESTRATOR_BROKER_URL=redis://queue.internal:6379/0
      export ORCHESTRATOR_API_URL=https://orchestrator.example.com
      export ORCHESTRATOR_API_TOKEN=orc_...
      orchestrator worker start --queue warehouse --limit 4
    """


@worker.command()
@click.option(
    "--queue", "queues", metavar="NAME", multiple=True, help="Serve this queue; may be repeated.  [every one]"
)
@click.option("--limit", type=Number(1, 1000), metavar="N", default=8, show_default=True, help="Runs at once, at most.")
@click.option(
    "--tasks",
    type=Number(1, 1000),
    metavar="N",
    help="Task runs of flows on Celery at once, at most, beside them.  [8]",
)
@click.option("--name", metavar="NAME", default="worker", show_default=True, help="How it is called on this machine.")
def start(queues: tuple[str, ...], limit: int, tasks: int | None, name: str) -> None:
    """Run flows on this machine until Ctrl-C; then wait for what runs.

    Two workers on one machine need two names.

    \b
      orchestrator worker start
      orchestrator worker start --queue warehouse --queue reports --limit 2 --name reports
    """
    if not _NAME.fullmatch(name):
        raise click.UsageError(f"--name {name!r}: write letters, digits, dots, dashes and underscores.")
    if bad := next((queue for queue in queues if "," in queue), None):
        raise click.UsageError(f"--queue {bad!r}: repeat --queue for several.")
    environment = {
        **os.environ,
        "ORCHESTRATOR_WORKER_PLACES": str(limit),
        "ORCHESTRATOR_WORKER_QUEUES": ",".join(queues),
    }
    if tasks is not None:
        environment["ORCHESTRATOR_WORKER_TASK_PLACES"] = str(tasks)
    url = _server_without_database()
    if url:
        _check_queues(url, queues)
        environment |= {"ORCHESTRATOR_WITHOUT_DATABASE": "1", "ORCHESTRATOR_API_URL": url}
        # Its home belongs to that server: what is recorded there goes to it. So it is not the one of one's own scripts.
        environment.setdefault("ORCHESTRATOR_HOME", str(Path.home() / ".orchestrator" / "worker"))
    served = ", ".join(queues) or "every work queue"
    where = f"of {url}" if url else "of this machine's server"
    click.echo(
        f"Worker {name}@{socket.gethostname()} serves {served} {where}; at most {limit} at once. Ctrl-C stops it."
    )
    sys.stdout.flush()
    _become_worker(name, environment, has_database=not url)


@worker.command("ls")
@click.option("--all", "everyone", is_flag=True, help="Also those that are gone (kept for 30 days).")
@json_option
def list_workers(everyone: bool, as_json: bool) -> None:
    """List workers: what they serve, how many runs they have.

    \b
      orchestrator worker ls
    """
    found = list(connect().each(_PATH, **({} if everyone else {"alive": "true"})))
    if as_json:
        emit_json(found)
        return
    if not found:
        click.echo(f"No worker is there, so nothing runs. Start them with the server: {command('server', 'start')}")
        return
    rows = [
        [
            row["name"], _life(row), f"{row['running']}/{row['places']}", _load(row),
            ", ".join(row["queues"]) or "every one", moment(row["heartbeat_at"]), row["id"],
        ]
        for row in found
    ]  # fmt: skip
    table(("NAME", "", "RUNS", "LOAD", "QUEUES", "HEARD OF", "ID"), rows)


@worker.command()
@click.argument("name", metavar="WORKER")
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a worker and the runs that it has.

    \b
      orchestrator worker inspect worker@crunch-2
    """
    api = connect()
    found = api.get(f"{_PATH}{_find(api, name)['id']}/")
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("state", _life(found)),
            ("host", f"{found['host']} (pid {found['pid']})"),
            ("queues", ", ".join(found["queues"]) or "every one"),
            ("runs", f"{found['running']} of {found['places']}"),
            ("load", _load(found)),
            ("started", exact(found["started_at"])),
            ("heard of", exact(found["heartbeat_at"])),
            ("stopped", exact(found["stopped_at"])),
        ]
    )
    if found["runs"]:
        click.echo()
        rows = [[run["name"], run["flow"], state(run), moment(run["start_time"]), run["id"]] for run in found["runs"]]
        table(("RUN", "FLOW", "STATE", "STARTED", "ID"), rows)


def _server_without_database() -> str:
    """Return the URL of the server that a worker is to work for over HTTP; empty where it has the database.

    Raises:
        click.ClickException: There is neither; the message says what to set.
    """
    if os.environ.get("ORCHESTRATOR_DATABASE_URL", "").strip():
        return ""
    url = os.environ.get("ORCHESTRATOR_API_URL", "").strip().rstrip("/").removesuffix("/api")
    local = find_local_server()
    if local is not None and url in {"", local.url}:
        return ""
    missing = [
        name
        for name in ("ORCHESTRATOR_API_URL", "ORCHESTRATOR_API_TOKEN", "ORCHESTRATOR_BROKER_URL")
        if not os.environ.get(name, "").strip()
    ]
    if missing:
        raise click.ClickException(f"{missing[0]} is not set. {HOW}")
    return url


def _check_queues(url: str, names: tuple[str, ...]) -> None:
    """Ask the server for its queues. Raises click.ClickException where it cannot be used, or has none of a name."""
    api = Api(HttpTransport(url, os.environ["ORCHESTRATOR_API_TOKEN"].strip()), url)
    known = {row["name"] for row in api.each("work-queues/")}
    if missing := next((name for name in names if name not in known), None):
        raise click.ClickException(
            f"There is no work queue {missing!r} at {url}. Make it: orchestrator work-queue create {missing}"
        )


def _become_worker(name: str, environment: dict[str, str], *, has_database: bool) -> NoReturn:
    """Replace this process by the Celery worker. Only one with the database does the server's own jobs."""
    hostname = f"{name}@{socket.gethostname()}"
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "orchestrator", "worker", "--hostname", hostname]
    command += ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    if not has_database:
        command += ["--queues", f"orchestrator.worker.{hostname}"]
    os.execve(sys.executable, command, environment)


def _find(api: Api, text: str) -> dict[str, Any]:
    """Return the worker that is meant: by id or name, the newest of a name."""
    named = list(api.each(_PATH, 1, name=text))
    return dict(named[0]) if named else find_named(api, _PATH, _WHAT, text)


def _life(row: dict[str, Any]) -> Cell:
    if not row["alive"]:
        return Cell("stopped" if row["stopped_at"] else "gone", None if row["stopped_at"] else "red")
    return Cell("alive", "green") if row["hears"] else Cell("deaf", "yellow")


def _load(row: dict[str, Any]) -> str:
    return "" if row["load"] is None else f"{row['load']:.2f}"
