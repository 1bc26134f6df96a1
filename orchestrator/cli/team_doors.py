"""`orchestrator team invitations`, `withdraw` and `group`: what leads into a team."""

from typing import Any

import click

from orchestrator.cli.client import Api, connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_named
from orchestrator.cli.options import json_option
from orchestrator.cli.output import emit_json, moment, table

ROLES = ("viewer", "operator", "editor", "admin")
TEAM = click.argument("team", metavar="TEAM")
GROUP = click.argument("group", metavar="GROUP")


@click.command()
@TEAM
@json_option
def invitations(team: str, as_json: bool) -> None:
    """List a team's open invitations; their links are not shown again.

    \b
      orchestrator team invitations data
    """
    api = connect()
    found = list(api.each(f"{_path(api, team)}invitations/"))
    if as_json:
        emit_json(found)
    elif found:
        rows = [
            (row["id"], row["email"] or "by link", row["role"], row["created_by"] or "", moment(row["expires_at"]))
            for row in found
        ]
        table(("ID", "FOR", "ROLE", "BY", "UNTIL"), rows)
    else:
        click.echo(f"No open invitations. Make one: orchestrator team invite {team}")


@click.command()
@TEAM
@click.argument("invitation", metavar="INVITATION")
def withdraw(team: str, invitation: str) -> None:
    """Make an invitation's link useless, named by its e-mail address, its id or the beginning of it.

    \b
      orchestrator team withdraw data zoe@example.com
    """
    api = connect()
    path = f"{_path(api, team)}invitations/"
    found = [row for row in api.each(path) if invitation == row["email"] or row["id"].startswith(invitation.lower())]
    if len(found) != 1:
        what = f"There is no open invitation {invitation!r}" if not found else f"{invitation!r} may be several"
        raise click.ClickException(f"{what}. `orchestrator team invitations {team}` lists them with their ids.")
    api.delete(f"{path}{found[0]['id']}/")
    click.echo("The invitation is withdrawn.")


@click.group(context_settings=SETTINGS)
def group() -> None:
    """Groups of the single sign-on whose members have a role in a team, from their next sign-in on.

    \b
      orchestrator team group map data data-engineers --role editor
    """


@group.command("ls")
@TEAM
@json_option
def list_groups(team: str, as_json: bool) -> None:
    """List a team's groups, with their roles.

    \b
      orchestrator team group ls data
    """
    api = connect()
    found = list(api.each(f"{_path(api, team)}group-mappings/"))
    if as_json:
        emit_json(found)
    elif found:
        table(("GROUP", "ROLE"), [(row["group"], row["role"]) for row in found])
    else:
        click.echo(f"No groups yet. Map one: orchestrator team group map {team} GROUP --role viewer")


@group.command("map")
@TEAM
@GROUP
@click.option("--role", type=click.Choice(ROLES), required=True, help="What its members may do in the team.")
@json_option
def map_group(team: str, group: str, role: str, as_json: bool) -> None:
    """Give a group a role in a team; one that has a role gets this one.

    \b
      orchestrator team group map data data-engineers --role editor
    """
    api = connect()
    made: dict[str, Any] = api.post(f"{_path(api, team)}group-mappings/", {"group": group, "role": role})
    if as_json:
        emit_json(made)
    else:
        click.echo(f"Members of {made['group']} are {made['role']} in {team} from their next sign-in on.")


@group.command("unmap")
@TEAM
@GROUP
def unmap_group(team: str, group: str) -> None:
    """Take a group's role in a team away.

    \b
      orchestrator team group unmap data data-engineers
    """
    api = connect()
    path = f"{_path(api, team)}group-mappings/"
    found = next((row for row in api.each(path) if row["group"] == group), None)
    if found is None:
        raise click.ClickException(
            f"{group!r} has no role in {team}. `orchestrator team group ls {team}` lists which do."
        )
    api.delete(f"{path}{found['id']}/")
    click.echo(f"{group} means nothing in {team} any more.")


def _path(api: Api, team: str) -> str:
    return f"teams/{find_named(api, 'teams/', 'team', team)['id']}/"
