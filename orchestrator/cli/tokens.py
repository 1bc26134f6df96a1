"""`orchestrator token`."""

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.options import json_option, seconds_of
from orchestrator.cli.output import emit_json, moment, table


@click.group(context_settings=SETTINGS)
def token() -> None:
    """Make and revoke API tokens.

    A token acts as you, for your team. Scripts and this command take it from ORCHESTRATOR_API_TOKEN.
    """


@token.command()
@click.argument("name", metavar="NAME")
@click.option("--expires-in", metavar="TIME", default=None, help="30d, 12h, 90m; without it, it does not expire.")
@json_option
def create(name: str, expires_in: str | None, as_json: bool) -> None:
    """Make a token and print it, alone on the last line. It is not shown again.

    \b
      export ORCHESTRATOR_API_TOKEN=$(orchestrator token create laptop | tail -1)
    """
    body = {"name": name, **({"expires_in": seconds_of(expires_in, "--expires-in")} if expires_in else {})}
    made = connect().post("tokens/", body)
    if as_json:
        emit_json(made)
        return
    until = f" It expires {moment(made['expires_at'])}." if made["expires_at"] else ""
    click.echo(f"Made token '{made['name']}' for team {made['team']}. It is shown only now.{until}")
    click.echo(made["token"])


@token.command("ls")
@json_option
def list_tokens(as_json: bool) -> None:
    """List your tokens, newest first.

    \b
      orchestrator token ls
    """
    found = list(connect().each("tokens/"))
    if as_json:
        emit_json(found)
    elif found:
        rows = [
            (one["name"], f"{one['prefix']}…", one["team"], moment(one["created_at"]), moment(one["last_used_at"]),
             moment(one["expires_at"]) or "never")
            for one in found
        ]  # fmt: skip
        table(("NAME", "TOKEN", "TEAM", "MADE", "USED", "EXPIRES"), rows)
    else:
        click.echo("No tokens yet. Make one: orchestrator token create NAME")


@token.command()
@click.argument("name", metavar="NAME")
def revoke(name: str) -> None:
    """Revoke a token by its name, its beginning or its id; it stops working at once.

    \b
      orchestrator token revoke laptop
    """
    api = connect()
    tokens = list(api.each("tokens/"))
    found = [one for one in tokens if name in (one["name"], one["id"], one["prefix"], f"{one['prefix']}…")]
    if not found:
        raise click.ClickException(f"There is no token {name!r}. `orchestrator token ls` lists them.")
    if len(found) > 1:
        raise click.ClickException(
            f"{len(found)} tokens are called {name!r}. Name one by its beginning: {found[0]['prefix']}"
        )
    api.delete(f"tokens/{found[0]['id']}/")
    click.echo(f"Revoked token '{found[0]['name']}'.")
