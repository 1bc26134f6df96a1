"""`orchestrator share`: single flows and deployments, shared with people and with other teams."""

from collections.abc import Callable
from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.options import json_option
from orchestrator.cli.output import command, emit_json, table

LEVELS = ("read", "run", "edit")


def what(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name one flow or one deployment."""
    function = click.option("--flow", metavar="FLOW", help="This flow, with its deployments and runs.")(function)
    return click.option("--deployment", metavar="FLOW/DEPLOYMENT", help="This deployment, with its runs.")(function)


def whom(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a person or a team."""
    function = click.option("--team", metavar="TEAM", help="With another team.")(function)
    return click.option("--user", metavar="USER", help="With a person: a user name or e-mail address.")(function)


@click.group(context_settings=SETTINGS)
def share() -> None:
    """Share single flows and deployments beyond their team. It takes an admin of the owning team.

    \b
      orchestrator share create --deployment etl/nightly --user eve --level run
      orchestrator share ls --deployment etl/nightly
    """


@share.command()
@what
@whom
@click.option(
    "--level", type=click.Choice(LEVELS), required=True, help="What they may do, each including those before it."
)
@json_option
def create(
    flow: str | None, deployment: str | None, user: str | None, team: str | None, level: str, as_json: bool
) -> None:
    """Share a flow or deployment; with whom it is shared already, at this level from now on.

    \b
      orchestrator share create --flow etl --team reporting --level read
    """
    said = _one("--flow or --deployment", flow=flow, deployment=deployment)
    said |= _one("--user or --team", user=user, team=team)
    made = connect().post("shares/", {**said, "level": level})
    if as_json:
        emit_json(made)
    else:
        click.echo(f"{_holder(made)} may {made['level']} {made['object_type']} {made['object_name']}.")


@share.command("ls")
@what
@json_option
def list_shares(flow: str | None, deployment: str | None, as_json: bool) -> None:
    """List with whom a flow or deployment is shared; without one, what of other teams is shared with you.

    \b
      orchestrator share ls
      orchestrator share ls --flow etl
    """
    asked = _one("--flow or --deployment", flow=flow, deployment=deployment) if flow or deployment else {}
    found = list(connect().each("shares/", **asked))
    if as_json:
        emit_json(found)
    elif not found and asked:
        example = command(
            "share", "create", *(f"--{kind} {name}" for kind, name in asked.items()), "--user USER", "--level read"
        )
        click.echo(f"It is shared with nobody. Share it: {example}")
    elif not found:
        click.echo("Nothing is shared with you.")
    elif asked:
        table(("WITH", "", "LEVEL"), [(_name(row), _kind(row), row["level"]) for row in found])
    else:
        rows = [(row["object_name"], row["object_type"], row["team"], row["level"]) for row in found]
        table(("NAME", "", "OF TEAM", "LEVEL"), rows)


@share.command()
@what
@whom
def delete(flow: str | None, deployment: str | None, user: str | None, team: str | None) -> None:
    """Take a share back; it holds no longer, at once.

    \b
      orchestrator share delete --deployment etl/nightly --user eve
    """
    asked = _one("--flow or --deployment", flow=flow, deployment=deployment)
    ((kind, name),) = _one("--user or --team", user=user, team=team).items()
    api = connect()
    found = next((row for row in api.each("shares/", **asked) if row[f"with_{kind}"] == name), None)
    if found is None:
        ((what_kind, called),) = asked.items()
        listing = command("share", "ls", f"--{what_kind}", called)
        raise click.ClickException(f"It is not shared with {kind} {name!r}. `{listing}` lists with whom it is.")
    api.delete(f"shares/{found['id']}/")
    click.echo(f"{found['object_name']} is no longer shared with {name}.")


def _one(which: str, **options: str | None) -> dict[str, str]:
    """Return the option that was given. Raises click.UsageError where it is none or several."""
    given = {name: text for name, text in options.items() if text}
    if len(given) != 1:
        raise click.UsageError(f"Give one of {which}.")
    return given


def _kind(row: dict[str, Any]) -> str:
    return "team" if row["with_team"] else "person"


def _name(row: dict[str, Any]) -> str:
    return str(row["with_team"] or row["with_user"])


def _holder(row: dict[str, Any]) -> str:
    return f"Team {row['with_team']}" if row["with_team"] else str(row["with_user"])
