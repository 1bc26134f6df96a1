"""`orchestrator flow`."""

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.options import json_option
from orchestrator.cli.output import emit_json, moment, table


@click.group(context_settings=SETTINGS)
def flow() -> None:
    """List flows."""


@flow.command("ls")
@json_option
def list_flows(as_json: bool) -> None:
    """List the flows that ran or were deployed, by name.

    \b
      orchestrator flow ls
    """
    found = list(connect().each("flows/"))
    if as_json:
        emit_json(found)
    elif found:
        first = "".join
        rows = [(one["name"], moment(one["created_at"]), first(one["description"].splitlines()[:1])) for one in found]
        table(("NAME", "SINCE", "DESCRIPTION"), rows)
    else:
        click.echo("No flows yet. Put @flow on a function and run the file: python script.py")
