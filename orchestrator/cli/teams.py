"""`orchestrator team` and `orchestrator service-account`."""

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_named
from orchestrator.cli.options import json_option
from orchestrator.cli.output import Cell, command, emit_json, moment, table
from orchestrator.cli.team_doors import ROLES, TEAM, group, invitations, withdraw

ROLE = click.option(
    "--role",
    type=click.Choice(ROLES),
    default="viewer",
    show_default=True,
    help="What they may do there, each including those before it.",
)
_WHAT, _PATH = "team", "teams/"


@click.group(context_settings=SETTINGS)
def team() -> None:
    """Teams own flows, deployments, queues, limits and notifications; people see their teams' alone.

    \b
      orchestrator team create data
      orchestrator user create ann --team data --role operator
      orchestrator team invite data --email zoe@example.com
    """


for _command in (invitations, withdraw, group):
    team.add_command(_command)


@team.command()
@click.argument("name", metavar="TEAM")
@json_option
def create(name: str, as_json: bool) -> None:
    """Make a team. It takes a site administrator.

    \b
      orchestrator team create data
    """
    made = connect().post(_PATH, {"name": name})
    if as_json:
        emit_json(made)
        return
    click.echo(f"Created team {made['name']}.")
    click.echo(f"Add somebody: {command('user', 'create', 'USER', '--team', made['name'], '--role', 'viewer')}")


@team.command("ls")
@json_option
def list_teams(as_json: bool) -> None:
    """List your teams; for a site administrator, all.

    \b
      orchestrator team ls
    """
    found = list(connect().each(_PATH))
    if as_json:
        emit_json(found)
    else:
        table(
            ("NAME", "YOUR ROLE", "MADE"),
            [(row["name"], row["role"] or "", moment(row["created_at"])) for row in found],
        )


@team.command()
@TEAM
@json_option
def members(team: str, as_json: bool) -> None:
    """List who is in a team, and in which role.

    \b
      orchestrator team members data
    """
    api = connect()
    found = list(api.each(f"{_PATH}{find_named(api, _PATH, _WHAT, team)['id']}/members/"))
    if as_json:
        emit_json(found)
        return
    rows = [
        (row["username"], row["role"], row["email"], "" if row["is_active"] else Cell("deactivated", "yellow"))
        for row in found
    ]
    table(("USER", "ROLE", "E-MAIL", ""), rows)


@team.command()
@TEAM
@click.option("--name", "new_name", metavar="NAME", required=True, help="Another name.")
@json_option
def rename(team: str, new_name: str, as_json: bool) -> None:
    """Call a team otherwise.

    \b
      orchestrator team rename data --name facts
    """
    api = connect()
    changed = api.patch(f"{_PATH}{find_named(api, _PATH, _WHAT, team)['id']}/", {"name": new_name})
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"Team {changed['name']}.")


@team.command()
@TEAM
@click.option("--email", metavar="ADDRESS", default="", help="Send the link there, if the site sends mail.")
@ROLE
@json_option
def invite(team: str, email: str, role: str, as_json: bool) -> None:
    """Make a link that lets one person join, and print it alone on the last line. It is not shown again.

    \b
      orchestrator team invite data --role operator
    """
    api = connect()
    found = find_named(api, _PATH, _WHAT, team)
    made = api.post(f"{_PATH}{found['id']}/invitations/", {"email": email, "role": role})
    if as_json:
        emit_json(made)
        return
    sent = f" It was sent to {email}." if made["sent"] else ""
    click.echo(f"Whoever opens this first joins {found['name']} as {role}, until {moment(made['expires_at'])}.{sent}")
    click.echo(made["link"])


@team.command()
@TEAM
@click.argument("user", metavar="USER")
def remove(team: str, user: str) -> None:
    """Take somebody out of a team; they lose access at once.

    \b
      orchestrator team remove data ann
    """
    api = connect()
    found = find_named(api, _PATH, _WHAT, team)
    people = f"{_PATH}{found['id']}/members/"
    person = next((row for row in api.each(people) if row["username"] == user), None)
    if person is None:
        raise click.ClickException(f"{user} is not in {found['name']}. `orchestrator team members` lists who is.")
    api.delete(f"{people}{person['id']}/")
    click.echo(f"{user} is no longer in {found['name']}.")


@click.group("service-account", context_settings=SETTINGS)
def service_account() -> None:
    """Accounts for machines: they have API tokens, cannot sign in, and stay when people leave.

    \b
      orchestrator service-account create ci --team data
      orchestrator token create deploys --user ci@data --scope edit
    """


@service_account.command("create")
@click.argument("name", metavar="NAME")
@click.option("--team", metavar="TEAM", required=True, help="Whose it is.")
@click.option("--role", type=click.Choice(ROLES), default="operator", show_default=True, help="What it may do there.")
@json_option
def create_account(name: str, team: str, role: str, as_json: bool) -> None:
    """Make a service account, called NAME@TEAM. It takes an administrator of the team."""
    made = connect().post("service-accounts/", {"name": name, "team": team, "role": role})
    if as_json:
        emit_json(made)
        return
    click.echo(f"Created service account {made['username']}, {made['role']} in {made['team']}.")
    click.echo(f"Make it a token: {command('token', 'create', 'NAME', '--user', made['username'])}")


@service_account.command("ls")
@json_option
def list_accounts(as_json: bool) -> None:
    """List service accounts of your teams."""
    found = list(connect().each("service-accounts/"))
    if as_json:
        emit_json(found)
        return
    rows = [
        (row["username"], row["team"], row["role"] or "", "" if row["is_active"] else Cell("deactivated", "yellow"))
        for row in found
    ]
    table(("NAME", "TEAM", "ROLE", ""), rows)


@service_account.command("deactivate")
@click.argument("name", metavar="NAME")
def deactivate_account(name: str) -> None:
    """Stop its tokens at once.

    \b
      orchestrator service-account deactivate ci@data
    """
    _switch(name, "deactivate")
    click.echo(f"Deactivated {name}: its tokens stopped.")


@service_account.command("reactivate")
@click.argument("name", metavar="NAME")
def reactivate_account(name: str) -> None:
    """Let its tokens work again.

    \b
      orchestrator service-account reactivate ci@data
    """
    _switch(name, "reactivate")
    click.echo(f"Reactivated {name}: its tokens work again.")


def _switch(name: str, verb: str) -> None:
    api = connect()
    found = next((row for row in api.each("service-accounts/", username=name)), None)
    if found is None:
        raise click.ClickException(
            f"There is no service account {name!r}. `orchestrator service-account ls` lists them."
        )
    api.post(f"service-accounts/{found['id']}/{verb}/")
