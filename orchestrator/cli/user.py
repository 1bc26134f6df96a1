"""`orchestrator user`: people who sign in."""

import sys

import click

from orchestrator.cli.client import Api, connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_named
from orchestrator.cli.options import json_option
from orchestrator.cli.output import Cell, emit_json, moment, table
from orchestrator.cli.teams import ROLE, ROLES

USER = click.argument("username", metavar="USER")


@click.group(context_settings=SETTINGS)
def user() -> None:
    """Make users, give them roles, set passwords."""


@user.command()
@USER
@click.option("--team", metavar="TEAM", help="The team they are in; without it, the default one.")
@ROLE
@click.option("--email", metavar="ADDRESS", default="", help="Their e-mail address.")
@click.option("--site-admin", is_flag=True, help="They administer the whole site, and all teams.")
@json_option
def create(username: str, team: str | None, role: str, email: str, site_admin: bool, as_json: bool) -> None:
    """Make a user, and print a link that signs them in once, alone on the last line.

    It takes an administrator of the team; without --team, or with --site-admin, one of the site.

    \b
      orchestrator user create ann --team data --role viewer
    """
    body = {"username": username, "email": email, "role": role, **({"team": team} if team else {})}
    made = connect().post("users/", {**body, **({"is_admin": True} if site_admin else {})})
    if as_json:
        emit_json(made)
        return
    where = ", ".join(f"{one['role']} in {one['name']}" for one in made["teams"])
    click.echo(f"Created user {made['username']}: {where}. This signs them in once, within a day:")
    click.echo(made["sign_in_link"])


@user.command("ls")
@click.option("--team", metavar="TEAM", help="Only who is in this team.")
@json_option
def list_users(team: str | None, as_json: bool) -> None:
    """List people of your teams; for a site administrator, all.

    \b
      orchestrator user ls
    """
    found = list(connect().each("users/", team=team))
    if as_json:
        emit_json(found)
        return
    rows = [
        (
            row["username"],
            row["email"],
            ", ".join(f"{one['name']} ({one['role']})" for one in row["teams"]),
            "site" if row["is_admin"] else "",
            moment(row["last_login"]),
            "" if row["is_active"] else Cell("deactivated", "yellow"),
        )
        for row in found
    ]
    table(("USER", "E-MAIL", "TEAMS", "ADMIN", "SIGNED IN", ""), rows)


@user.command("set-role")
@USER
@click.argument("role", type=click.Choice(ROLES))
@click.option("--team", metavar="TEAM", required=True, help="In which team.")
@json_option
def set_role(username: str, role: str, team: str, as_json: bool) -> None:
    """Give somebody a role in a team; who is not in it becomes a member.

    \b
      orchestrator user set-role ann editor --team data
    """
    api = connect()
    found = find_named(api, "teams/", "team", team)
    changed = api.post(f"teams/{found['id']}/members/", {"user": username, "role": role})
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"{changed['username']} is {changed['role']} in {found['name']}.")


@user.command()
@USER
def deactivate(username: str) -> None:
    """Keep somebody out: sessions and tokens stop at once, what they made stays. It takes a site administrator.

    \b
      orchestrator user deactivate ann
    """
    api = connect()
    api.post(f"users/{_id(api, username)}/deactivate/")
    click.echo(f"Deactivated {username}.")


@user.command()
@USER
def reactivate(username: str) -> None:
    """Let somebody in again, with their roles and tokens. It takes a site administrator.

    \b
      orchestrator user reactivate ann
    """
    api = connect()
    api.post(f"users/{_id(api, username)}/reactivate/")
    click.echo(f"Reactivated {username}.")


@user.command("set-password")
@click.argument("username", default="")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def set_password(username: str, password_stdin: bool) -> None:
    """Set a user's password (by default the first admin's), in the database that the settings name. Needs no mail.

    Asks for it at a terminal; elsewhere it is read from standard input.
    """
    from orchestrator.server.preparation import prepare  # sets Django up, 0.4 s; what follows needs it

    prepare(lambda line: click.echo(line, err=True), issue=False)
    from django.core.exceptions import ValidationError

    from teams import actions, audit
    from teams.models import User, Via

    person = User.objects.filter(username=username).first() if username else User.first_admin()
    if person is None:
        raise click.ClickException(f"There is no user {username!r}.")
    password = _ask(person.username, password_stdin)
    try:
        with audit.coming_from(audit.Origin(Via.CLI)):
            actions.set_password(person, password)
    except ValidationError as error:
        raise click.ClickException(" ".join(error.messages)) from None
    click.echo(f"The password of {person.username} is set.")


@user.command("reset-second-factor")
@USER
def reset_second_factor(username: str) -> None:
    """Take a user's second factor away, in the database that the settings name: for who lost their phone.

    Until they set one up again they sign in by password alone.

    \b
      orchestrator user reset-second-factor ann
    """
    from orchestrator.server.preparation import prepare  # sets Django up, 0.4 s; what follows needs it

    prepare(lambda line: click.echo(line, err=True), issue=False)
    from django.core.exceptions import ValidationError

    from teams import actions, audit
    from teams.models import User, Via

    person = User.objects.filter(username=username).first()
    if person is None:
        raise click.ClickException(f"There is no user {username!r}.")
    try:
        with audit.coming_from(audit.Origin(Via.CLI)):
            actions.remove_second_factor(person)
    except ValidationError as error:
        raise click.ClickException(" ".join(error.messages)) from None
    click.echo(f"{person.username} has no second factor any more.")


def _id(api: Api, username: str) -> int:
    """The id of a user. Raises click.ClickException."""
    found = next(iter(api.each("users/", 1, username=username)), None)
    if found is None:
        raise click.ClickException(f"There is no user {username!r}. `orchestrator user ls` lists them.")
    return int(found["id"])


def _ask(username: str, password_stdin: bool) -> str:
    if not password_stdin and sys.stdin.isatty():
        answer: str = click.prompt(f"New password of {username}", hide_input=True, confirmation_prompt=True)
        return answer
    if not (line := sys.stdin.readline().rstrip("\r\n")):
        raise click.ClickException("No password came. Run this at a terminal, or write the password to standard input.")
    return line
