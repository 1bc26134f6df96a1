"""`orchestrator deployment mute` and `unmute`."""

import click

from orchestrator.cli.client import Api, ApiError, connect
from orchestrator.cli.names import find_deployment, full_name
from orchestrator.cli.options import json_option, seconds_of
from orchestrator.cli.output import command, emit_json, upcoming

DEPLOYMENT = click.argument("name", metavar="DEPLOYMENT")


@click.command()
@DEPLOYMENT
@click.option("--for", "time", metavar="TIME", required=True, help="For how long: 2h, 30m, 3d.")
@click.option("--reason", metavar="TEXT", default="", help="Why, for those who wonder at the silence.")
@json_option
def mute(name: str, time: str, reason: str, as_json: bool) -> None:
    """Have nothing told of a deployment's runs for a time. They run as ever.

    \b
      orchestrator deployment mute etl/nightly --for 2h --reason "the source is being moved"
    """
    seconds = seconds_of(time, "--for")
    api = connect()
    found = find_deployment(api, name)
    made = api.post("mutes/", {"deployment": found["id"], "seconds": seconds, "reason": reason})
    if as_json:
        emit_json(made)
        return
    click.echo(f"{found['name']} is muted until {upcoming(made['until'])}: nothing is told of its runs.")
    click.echo(f"Be told again before that: {command('deployment', 'unmute', full_name(found))}")


@click.command()
@DEPLOYMENT
def unmute(name: str) -> None:
    """Have a muted deployment's runs told again, from now on.

    \b
      orchestrator deployment unmute etl/nightly
    """
    api = connect()
    found = find_deployment(api, name)
    try:
        api.delete(f"mutes/{found['id']}/")
    except ApiError as error:
        if error.status != 404:
            raise
        raise click.ClickException(f"{found['name']} is not muted.") from None
    click.echo(f"{found['name']} is not muted any more: what happens from now on is told.")


def muted_words(api: Api, deployment: str) -> str:
    """Return until when a deployment (its id) is muted, by whom and why; empty where it is not."""
    found = list(api.each("mutes/", 1, deployment=deployment))
    if not found:
        return ""
    by = f" by {found[0]['by']}" if found[0]["by"] else ""
    reason = f": {found[0]['reason']}" if found[0]["reason"] else ""
    return f"until {upcoming(found[0]['until'])}{by}{reason}"
