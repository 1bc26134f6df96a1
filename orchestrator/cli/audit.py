"""`orchestrator audit`."""

from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import json_option
from orchestrator.cli.output import emit_json, moment, table, value

DEFAULT_MOST = 50


@click.group(context_settings=SETTINGS)
def audit() -> None:
    """Who did what to which object, from where, and what changed."""


@audit.command("ls")
@click.option("--user", metavar="USER", help="Who did it.")
@click.option(
    "--verb", metavar="VERB", help="What was done (deployment.pause), or to what kind of object (deployment)."
)
@click.option("--object", "name", metavar="TEXT", help="Part of the object's name.")
@click.option("--via", type=click.Choice(["page", "api", "admin", "cli", "sso", "site"]), help="The way it came in.")
@click.option("--team", metavar="TEAM", help="In whose log it is.")
@click.option("--since", metavar="TIME", help="ISO 8601 with its offset: 2026-11-29T00:00Z.")
@click.option("--until", metavar="TIME", help="Before then.")
@click.option("--limit", type=Number(1), default=DEFAULT_MOST, show_default=True, help="How many at most.")
@json_option
def list_entries(limit: int, name: str | None, as_json: bool, **asked: str | None) -> None:
    """List entries of the audit log, newest first. It takes an administrator of a team, or of the site.

    \b
      orchestrator audit ls --user ann --verb deployment
    """
    found = list(connect().each("audit/", limit, object=name, **asked))
    if as_json:
        emit_json(found)
        return
    rows = [
        (moment(row["at"]), row["user"], row["verb"], row["object_name"], row["via"], _changes(row["changes"]))
        for row in found
    ]
    table(("WHEN", "WHO", "DID", "TO", "VIA", "CHANGES"), rows)


def _changes(changes: dict[str, list[Any]]) -> str:
    """What changed on one line: `limit: 3 → 4, name: x`."""
    said = []
    for field, (before, after) in changes.items():
        change = value(after) if before in (None, "") else f"{value(before)} → {value(after)}"
        said.append(f"{field}: {change}")
    return ", ".join(said)[:120]
