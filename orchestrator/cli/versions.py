"""`orchestrator deployment versions`, `diff` and `rollback`."""

import sys
from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.names import find_deployment, full_name
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import json_option
from orchestrator.cli.output import Cell, command, emit_json, painted, table, upcoming, value
from orchestrator.cli.source_words import source_words

_NAME = click.argument("name", metavar="DEPLOYMENT")
_HIDDEN = {"parameter_schema"}  # its changes are those of the code


@click.command()
@_NAME
@json_option
def versions(name: str, as_json: bool) -> None:
    """List the versions of a deployment: each deploy that changed something made one.

    \b
      orchestrator deployment versions etl/nightly
    """
    api = connect()
    found = find_deployment(api, name)
    rows = api.get(f"deployments/{found['id']}/versions/")
    if as_json:
        emit_json(rows)
    elif rows:
        table(("VERSION", "DEPLOYED", "BY", "CODE", "ENTRYPOINT"), map(_row, rows))
    else:
        click.echo(f"{found['name']} has no versions yet: the next deploy that changes something makes one.")


def _row(row: dict[str, Any]) -> list[Cell | str]:
    number = Cell(f"{row['number']} (now)", "green") if row["is_current"] else str(row["number"])
    again = f", as version {row['rolled_back_to']}" if row["rolled_back_to"] else ""
    code = source_words(row["source"]) + again
    return [number, upcoming(row["created_at"]), row["created_by"] or "", code, row["settings"]["entrypoint"]]


@click.command()
@_NAME
@click.argument("before", required=False, type=Number(1, 2**31 - 1))
@click.argument("after", required=False, type=Number(1, 2**31 - 1))
@json_option
def diff(name: str, before: int | None, after: int | None, as_json: bool) -> None:
    """Show what differs between two versions of a deployment: settings, and files line by line.

    Without numbers, what the last deploy changed; with one, what changed since that version.

    \b
      orchestrator deployment diff etl/nightly
      orchestrator deployment diff etl/nightly 3 5
    """
    api = connect()
    found = find_deployment(api, name)
    answer = api.get(f"deployments/{found['id']}/diff/", before=before, after=after)
    if as_json:
        emit_json(answer)
    else:
        _show(found, answer)


def _show(found: dict[str, Any], answer: dict[str, Any]) -> None:
    click.echo(painted(f"{found['name']}: version {answer['before']} → version {answer['after']}", bold=True))
    for field, (old, new) in answer["settings"].items():
        if field not in _HIDDEN:
            click.echo(painted(f"  - {field}: {_worded(field, old)}", "red"))
            click.echo(painted(f"  + {field}: {_worded(field, new)}", "green"))
    for file in answer["files"]:
        if file["text"]:
            for line in file["text"].split("\n"):
                click.echo(painted(line, {"-": "red", "+": "green", "@": "cyan"}.get(line[:1])))
        else:
            click.echo(f"{file['path']}: {file['change']} ({file['why']})")
    if answer["more"]:
        click.echo(f"… and {answer['more']} more files.")
    if answer["unread"]:
        click.echo(f"Files were not compared: {answer['unread']}.")
    if not answer["settings"] and not answer["files"]:
        click.echo("Nothing differs.")


def _worded(field: str, said: Any) -> str:
    return source_words(said or {}) if field == "source" else value(said)


@click.command()
@_NAME
@click.option("--to", required=True, type=Number(1, 2**31 - 1), metavar="VERSION", help="As `versions` numbers them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def rollback(name: str, to: int, yes: bool, as_json: bool) -> None:
    """Go back to an earlier version of a deployment's code, with its parameters; that makes a new version.

    Queue, limits, tags and schedules stay as they are. What was deployed last comes back with the next deploy.

    \b
      orchestrator deployment rollback etl/nightly --to 3
    """
    api = connect()
    found = find_deployment(api, name)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"This changes what {found['name']} runs. Say --yes: no terminal is there to ask on."
            )
        click.confirm(f"Run {found['name']} as in version {to} from now on?", abort=True)
    made = api.post(f"deployments/{found['id']}/rollback/", {"to": to})
    if as_json:
        emit_json(made)
        return
    code = source_words(made["source"])
    click.echo(f"{found['name']} runs {code} again: version {made['number']} is as version {to}.")
    click.echo(f"Its next runs have it. Run it now: {command('deployment', 'run', full_name(found), '--watch')}")
