"""`orchestrator work-queue`."""

from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_named
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import agreed, json_option
from orchestrator.cli.output import Cell, command, emit_json, fields, table

QUEUE = click.argument("name", metavar="QUEUE")
PRIORITY = click.option(
    "--priority",
    type=Number(-1000, 1000),
    metavar="P",
    help="Of queues with waiting runs, the highest is first.",
)
DESCRIPTION = click.option("--description", metavar="TEXT", help="What it is for.")
_WHAT, _PATH = "work-queue", "work-queues/"


LIMIT = click.option(
    "--limit", type=Number(1, 10_000, or_none=True), metavar="N", help="Runs in progress at once; none: no limit."
)


def limit_of(limit: int | str) -> int | None:
    """Return what the API takes for what was typed."""
    return None if limit == "none" else int(limit)


@click.group("work-queue", context_settings=SETTINGS)
def work_queue() -> None:
    """Work queues: how many runs at once, and which first.

    A deployment's runs wait on its queue; `default` is the queue of those that name none.

    \b
      orchestrator work-queue create warehouse --limit 1
      orchestrator deployment set etl/nightly --queue warehouse
    """


@work_queue.command()
@click.argument("name", metavar="NAME")
@LIMIT
@PRIORITY
@DESCRIPTION
@json_option
def create(name: str, limit: int | str | None, priority: int | None, description: str | None, as_json: bool) -> None:
    """Make a work queue. The workers of a server serve it within a second.

    \b
      orchestrator work-queue create warehouse --limit 1 --priority 10
    """
    made = connect().post(_PATH, {"name": name, **_body(limit, priority, description)})
    if as_json:
        emit_json(made)
        return
    click.echo(f"Created work queue {made['name']}: {_words(made)}.")
    click.echo(f"Use it: {command('deployment', 'set', 'DEPLOYMENT', '--queue', made['name'])}")


@work_queue.command("ls")
@json_option
def list_queues(as_json: bool) -> None:
    """List work queues.

    \b
      orchestrator work-queue ls
    """
    found = list(connect().each(_PATH))
    if as_json:
        emit_json(found)
        return
    if not found:
        click.echo(f"No work queues yet. Make one: {command('work-queue', 'create', 'warehouse', '--limit', '1')}")
        return
    rows = [
        [
            row["name"],
            str(row["limit"] or "none"),
            str(row["in_progress"]),
            str(row["waiting"]),
            str(row["priority"]),
            Cell("paused", "yellow") if row["paused"] else "",
            row["description"],
        ]
        for row in found
    ]
    table(("NAME", "LIMIT", "IN PROGRESS", "WAITING", "PRIORITY", "", "DESCRIPTION"), rows)


@work_queue.command()
@QUEUE
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a work queue: what is in progress, and how many runs wait.

    \b
      orchestrator work-queue inspect warehouse
    """
    api = connect()
    found = api.get(f"{_PATH}{find_named(api, _PATH, _WHAT, name)['id']}/")
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("description", found["description"]),
            ("paused", Cell("yes", "yellow") if found["paused"] else ""),
            ("limit", str(found["limit"] or "none")),
            ("priority", str(found["priority"])),
            ("in progress", str(found["in_progress"])),
            ("waiting", str(found["waiting"])),
            ("workers", "\n".join(found["workers"]) or Cell("none serves it now", "yellow")),
            ("runs", "\n".join(f"{run['name']}  {run['id']}" for run in found["holders"])),
        ]
    )


@work_queue.command("set")
@QUEUE
@LIMIT
@PRIORITY
@DESCRIPTION
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@json_option
def change(
    name: str,
    limit: int | str | None,
    priority: int | None,
    description: str | None,
    new_name: str | None,
    as_json: bool,
) -> None:
    """Change a work queue. What is in progress over a lower limit goes on.

    \b
      orchestrator work-queue set default --limit 4
      orchestrator work-queue set warehouse --limit none
    """
    body = {**_body(limit, priority, description), **({"name": new_name} if new_name else {})}
    if not body:
        raise click.UsageError("Say what to change: --limit, --priority, --description or --name.")
    api = connect()
    changed = api.patch(f"{_PATH}{find_named(api, _PATH, _WHAT, name)['id']}/", body)
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"Work queue {changed['name']}: {_words(changed)}.")


@work_queue.command()
@QUEUE
def pause(name: str) -> None:
    """Let its runs wait; what is in progress goes on.

    \b
      orchestrator work-queue pause warehouse
    """
    api = connect()
    paused = api.post(f"{_PATH}{find_named(api, _PATH, _WHAT, name)['id']}/pause/", {})
    click.echo(f"Paused work queue {paused['name']}.")


@work_queue.command()
@QUEUE
def resume(name: str) -> None:
    """Let its runs start again, at once.

    \b
      orchestrator work-queue resume warehouse
    """
    api = connect()
    resumed = api.post(f"{_PATH}{find_named(api, _PATH, _WHAT, name)['id']}/resume/", {})
    click.echo(f"Resumed work queue {resumed['name']}: {resumed['waiting']} waiting.")


@work_queue.command()
@QUEUE
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a work queue that no deployment and no waiting run has.

    \b
      orchestrator work-queue delete warehouse --yes
    """
    api = connect()
    found = find_named(api, _PATH, _WHAT, name)
    agreed(f"work queue {found['name']}", yes)
    api.delete(f"{_PATH}{found['id']}/")
    click.echo(f"Deleted work queue {found['name']}.")


def _body(limit: int | str | None, priority: int | None, description: str | None) -> dict[str, Any]:
    """Return the fields that were given."""
    body: dict[str, Any] = {}
    if limit is not None:
        body["limit"] = limit_of(limit)
    if priority is not None:
        body["priority"] = priority
    if description is not None:
        body["description"] = description
    return body


def _words(queue: dict[str, Any]) -> str:
    """What it lets through: `at most 1 run at once, priority 10`."""
    limit = queue["limit"]
    runs = f"at most {limit} run{'' if limit == 1 else 's'} at once" if limit else "as many runs as there are places"
    return f"{runs}, priority {queue['priority']}"
