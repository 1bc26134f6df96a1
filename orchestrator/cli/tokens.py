"""`orchestrator token`."""

from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.options import json_option, seconds_of
from orchestrator.cli.output import emit_json, moment, table

SCOPES = ("read", "run", "edit", "admin")


@click.group(context_settings=SETTINGS)
def token() -> None:
    """Make and revoke API tokens.

    A token acts as you, for your team, and may do what you may, or less. Scripts and this command take it from
    ORCHESTRATOR_API_TOKEN.
    """


@token.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--user", metavar="USER", help="Of a service account, as its team's administrator; of anybody, as the site's."
)
@click.option("--scope", type=click.Choice(SCOPES), help="What it may do at most; without it, what its user may.")
@click.option("--deployment", metavar="FLOW/DEPLOYMENT", help="It reaches this one, with its flow and runs, alone.")
@click.option("--expires-in", metavar="TIME", default=None, help="30d, 12h, 90m; without it, it does not expire.")
@json_option
def create(
    name: str, user: str | None, scope: str | None, deployment: str | None, expires_in: str | None, as_json: bool
) -> None:
    """Make a token and print it, alone on the last line. It is not shown again.

    \b
      export ORCHESTRATOR_API_TOKEN=$(orchestrator token create laptop | tail -1)
      orchestrator token create dashboard --scope read --deployment etl/nightly --expires-in 30d
    """
    said = {"user": user, "scope": scope, "deployment": deployment}
    body: dict[str, Any] = {"name": name, **{option: text for option, text in said.items() if text}}
    if expires_in:
        body["expires_in"] = seconds_of(expires_in, "--expires-in")
    made = connect().post("tokens/", body)
    if as_json:
        emit_json(made)
        return
    until = f" It expires {moment(made['expires_at'])}." if made["expires_at"] else ""
    of = f" of {made['user']}" if user else ""
    click.echo(f"Made token '{made['name']}'{of} for team {made['team']}{_reach(made)}. It is shown only now.{until}")
    click.echo(made["token"])


@token.command("ls")
@click.option(
    "--user", metavar="USER", help="Those of a service account of your team, or, as a site's admin, of anybody."
)
@click.option("--all", "everybody", is_flag=True, help="All that you may see, not only your own.")
@json_option
def list_tokens(user: str | None, everybody: bool, as_json: bool) -> None:
    """List your tokens, newest first.

    \b
      orchestrator token ls
    """
    found = list(connect().each("tokens/", user=user, all="true" if everybody else None))
    if as_json:
        emit_json(found)
    elif found:
        rows = [
            (one["name"], f"{one['prefix']}…", one["user"], one["team"], one["scope"] or "all", one["deployment"] or "",
             moment(one["created_at"]), moment(one["last_used_at"]),
             moment(one["expires_at"]) or "never")
            for one in found
        ]  # fmt: skip
        table(("NAME", "TOKEN", "USER", "TEAM", "SCOPE", "DEPLOYMENT", "MADE", "USED", "EXPIRES"), rows)
    else:
        click.echo("No tokens yet. Make one: orchestrator token create NAME")


@token.command()
@click.argument("name", metavar="NAME")
@click.option("--user", metavar="USER", help="Whose it is, if it is not yours.")
def revoke(name: str, user: str | None) -> None:
    """Revoke a token by its name, its beginning or its id; it stops working at once.

    \b
      orchestrator token revoke laptop
    """
    api = connect()
    tokens = list(api.each("tokens/", user=user))
    found = [one for one in tokens if name in (one["name"], one["id"], one["prefix"], f"{one['prefix']}…")]
    if not found:
        raise click.ClickException(f"There is no token {name!r}. `orchestrator token ls` lists them.")
    if len(found) > 1:
        raise click.ClickException(
            f"{len(found)} tokens are called {name!r}. Name one by its beginning: {found[0]['prefix']}"
        )
    api.delete(f"tokens/{found[0]['id']}/")
    click.echo(f"Revoked token '{found[0]['name']}'.")


def _reach(token: dict[str, Any]) -> str:
    """What a token is kept to, in words; empty for all that its user may."""
    scope = f", scope {token['scope']}" if token["scope"] else ""
    return f"{scope}, {token['deployment']} alone" if token["deployment"] else scope
