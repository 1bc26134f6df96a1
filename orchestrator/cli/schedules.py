"""`orchestrator deployment schedule`."""

from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_deployment, full_name
from orchestrator.cli.options import json_option, read_schedule, schedule_options
from orchestrator.cli.output import command, emit_json, upcoming

DEPLOYMENT = click.argument("name", metavar="DEPLOYMENT")


def schedule_words(deployment: dict[str, Any]) -> str:
    """Return a deployment's schedule in words: the only one, or how many there are."""
    schedules = deployment["schedules"]
    if len(schedules) > 1:
        return f"{len(schedules)} schedules"
    return schedules[0]["description"] + ("" if schedules[0]["active"] else " (off)") if schedules else ""


@click.group(context_settings=SETTINGS)
def schedule() -> None:
    """Show, set and clear the schedules of a deployment."""


@schedule.command("ls")
@DEPLOYMENT
@json_option
def list_schedules(name: str, as_json: bool) -> None:
    """List a deployment's schedules with their next times.

    \b
      orchestrator deployment schedule ls etl/nightly
    """
    found = find_deployment(connect(), name)
    if as_json:
        emit_json(found["schedules"])
    else:
        _show(found)


@schedule.command("set")
@DEPLOYMENT
@click.option(
    "--weekly", metavar='"DAYS HH:MM"', default=None, help='Days of the week at a time, e.g. "MON,WED 08:00".'
)
@schedule_options
@click.option(
    "--catchup", type=click.Choice(["latest", "all", "none"]), help="What becomes of times that were missed.  [latest]"
)
@json_option
def set_schedule(
    name: str,
    weekly: str | None,
    cron: str | None,
    interval: int | None,
    rrule: str | None,
    timezone: str | None,
    catchup: str | None,
    as_json: bool,
) -> None:
    """Give a deployment this schedule, instead of those that it has.

    \b
      orchestrator deployment schedule set etl/nightly --weekly "MON 08:00" --timezone Europe/Paris
      orchestrator deployment schedule set etl/nightly --interval 900
    """
    spec = read_schedule(cron, interval, rrule, timezone, weekly, catchup)
    if spec is None:
        raise click.UsageError("Say when: --weekly, --cron, --interval or --rrule. `schedule clear` takes it away.")
    api = connect()
    found = find_deployment(api, name)
    found["schedules"] = api.put(f"deployments/{found['id']}/schedules/", [spec])
    if as_json:
        emit_json(found["schedules"])
    else:
        _show(found)


@schedule.command()
@DEPLOYMENT
@json_option
def clear(name: str, as_json: bool) -> None:
    """Take a deployment's schedules away. It can still be run.

    \b
      orchestrator deployment schedule clear etl/nightly
    """
    api = connect()
    found = find_deployment(api, name)
    left = api.put(f"deployments/{found['id']}/schedules/", [])
    if as_json:
        emit_json(left)
    else:
        click.echo(f"{found['name']} has no schedule now.")


def _show(deployment: dict[str, Any]) -> None:
    name = full_name(deployment)
    if not deployment["schedules"]:
        example = command("deployment", "schedule", "set", name, "--weekly", '"MON 08:00"')
        click.echo(f"{deployment['name']} has no schedule. Give it one: {example}")
    for one in deployment["schedules"]:
        click.echo(f"{one['description']}{'' if one['active'] else ' (off)'}")
        for time in one["next_times"]:
            click.echo(f"  {upcoming(time)}")
    if deployment["paused"]:
        click.echo(f"The deployment is paused. Resume it: {command('deployment', 'resume', name)}")
