"""`orchestrator deployment schedule`."""

from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_deployment, full_name
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import json_option, parameter_options, read_parameters
from orchestrator.cli.output import command, emit_json, upcoming, value
from orchestrator.cli.specs import complete, spec_options
from orchestrator.cli.year import show_year

DEPLOYMENT = click.argument("name", metavar="DEPLOYMENT")
WHICH = click.argument("which", metavar="[NUMBER]", default="")
# What of a schedule as it is read can be written.
_WRITTEN = (
    "kind", "expression", "timezone", "anchor", "starts_at", "ends_at", "calendar", "on_day_off", "catchup",
    "catchup_seconds", "parameters", "active",
)  # fmt: skip


def schedule_words(deployment: dict[str, Any]) -> str:
    """Return a deployment's schedule in words: the only one, or how many there are."""
    schedules = deployment["schedules"]
    if len(schedules) > 1:
        return f"{len(schedules)} schedules"
    return schedules[0]["description"] + ("" if schedules[0]["active"] else " (off)") if schedules else ""


@click.group(context_settings=SETTINGS)
def schedule() -> None:
    """Show, add, change and preview the schedules of a deployment.

    NUMBER is that of `schedule ls`, or a schedule's id; it may be left out where there is one schedule.
    """


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


@schedule.command()
@DEPLOYMENT
@spec_options
@parameter_options
@click.option("--off", is_flag=True, help="Make it switched off.")
@json_option
def add(name: str, spec: dict[str, Any], param: tuple[str, ...], params: str, off: bool, as_json: bool) -> None:
    """Give a deployment one more schedule, with parameters of its own where they differ.

    \b
      orchestrator deployment schedule add etl/nightly --cron "0 8 * * *" --holidays FR --skip-weekends
      orchestrator deployment schedule add etl/nightly --cron "0 8 * * *" --calendar france --on-day-off next
      orchestrator deployment schedule add etl/nightly --weekly "SUN 20:00" --param full=true
    """
    _must_say_when(spec)
    api = connect()
    found = find_deployment(api, name)
    body = {**complete(spec), "parameters": read_parameters(param, params, found["parameter_schema"])}
    made = api.post(f"deployments/{found['id']}/schedules/", {**body, "active": not off})
    if as_json:
        emit_json(made)
    else:
        _show(find_deployment(api, found["id"]))


@schedule.command("set")
@DEPLOYMENT
@WHICH
@spec_options
@parameter_options
@click.option("--on/--off", "active", default=None, help="Switch it on, or off.")
@json_option
def set_schedule(
    name: str,
    which: str,
    spec: dict[str, Any],
    param: tuple[str, ...],
    params: str,
    active: bool | None,
    as_json: bool,
) -> None:
    """Give a deployment this schedule, instead of those that it has; or change one of them.

    With NUMBER, or without saying when, one schedule is changed, and only in what is given.

    \b
      orchestrator deployment schedule set etl/nightly --weekly "MON 08:00" --timezone Europe/Paris
      orchestrator deployment schedule set etl/nightly --interval 900
      orchestrator deployment schedule set etl/nightly --calendar france --on-day-off next
      orchestrator deployment schedule set etl/nightly 2 --off
    """
    if not (spec or param or params or active is not None):
        _must_say_when(spec)
    api = connect()
    found = find_deployment(api, name)
    more: dict[str, Any] = {} if active is None else {"active": active}
    if param or params:
        more["parameters"] = read_parameters(param, params, found["parameter_schema"])
    if "kind" in spec and not which:
        found["schedules"] = api.put(f"deployments/{found['id']}/schedules/", [{**complete(spec), **more}])
    else:
        one = _one_of(found, which)
        api.patch(f"schedules/{one['id']}/", {**complete(spec, one["timezone"]), **more})
        found = find_deployment(api, found["id"])
    if as_json:
        emit_json(found["schedules"])
    else:
        _show(found)


@schedule.command()
@DEPLOYMENT
@WHICH
@json_option
def delete(name: str, which: str, as_json: bool) -> None:
    """Take one of a deployment's schedules away. What it ran stays.

    \b
      orchestrator deployment schedule delete etl/nightly 2
    """
    api = connect()
    found = find_deployment(api, name)
    one = _one_of(found, which)
    api.delete(f"schedules/{one['id']}/")
    left = find_deployment(api, found["id"])
    if as_json:
        emit_json(left["schedules"])
    else:
        click.echo(f"{found['name']} does not run {one['description']} any more.")


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


@schedule.command()
@click.argument("name", metavar="[DEPLOYMENT]", default="")
@WHICH
@spec_options
@click.option("--count", type=Number(1, 100), default=5, show_default=True, help="How many of its next times.")
@click.option("--year", is_flag=True, help="Show the year ahead as a calendar.")
@json_option
def preview(name: str, which: str, spec: dict[str, Any], count: int, year: bool, as_json: bool) -> None:
    """Show what a schedule would do, without saving it; or what one of a deployment's does, changed by what is given.

    \b
      orchestrator deployment schedule preview --cron "0 8 * * *" --calendar france --on-day-off next --year
      orchestrator deployment schedule preview etl/nightly --count 20
      orchestrator deployment schedule preview etl/nightly --calendar france
    """
    api = connect()
    base: dict[str, Any] = {}
    if name:
        one = _one_of(find_deployment(api, name), which)
        base = {field: one[field] for field in _WRITTEN} | {"active": True}
        if {"holidays", "skip_weekends"} & spec.keys():
            del base["calendar"]
    else:
        _must_say_when(spec)
    body = {**base, **complete(spec, base.get("timezone")), "count": count, "year": year}
    shown = api.post("schedules/preview/", body)
    if as_json:
        emit_json(shown)
        return
    click.echo(shown["description"])
    for time in shown["next_times"]:
        click.echo(f"  {upcoming(time)}")
    if year:
        click.echo()
        show_year(shown)


def _must_say_when(spec: dict[str, Any]) -> None:
    if "kind" not in spec:
        raise click.UsageError("Say when: --weekly, --cron, --interval or --rrule. `schedule clear` takes it away.")


def _one_of(deployment: dict[str, Any], which: str) -> dict[str, Any]:
    """Return the schedule that is meant. Raises click.ClickException."""
    schedules = deployment["schedules"]
    if not schedules:
        example = command("deployment", "schedule", "add", full_name(deployment), "--weekly", '"MON 08:00"')
        raise click.ClickException(f"{deployment['name']} has no schedule. Give it one: {example}")
    if not which and len(schedules) == 1:
        return dict(schedules[0])
    if which.isdecimal() and 1 <= int(which) <= len(schedules) and len(which) < 4:
        return dict(schedules[int(which) - 1])
    found = [one for one in schedules if which and one["id"] == which.lower()]
    if not found:
        said = f"no schedule {which!r}" if which else f"{len(schedules)} schedules: say which"
        example = command("deployment", "schedule", "ls", full_name(deployment))
        raise click.ClickException(f"{deployment['name']} has {said}. {example} numbers them.")
    return dict(found[0])


def _show(deployment: dict[str, Any]) -> None:
    name = full_name(deployment)
    if not deployment["schedules"]:
        example = command("deployment", "schedule", "set", name, "--weekly", '"MON 08:00"')
        click.echo(f"{deployment['name']} has no schedule. Give it one: {example}")
    for number, one in enumerate(deployment["schedules"], 1):
        number_words = f"{number}. " if len(deployment["schedules"]) > 1 else ""
        click.echo(f"{number_words}{one['description']}{'' if one['active'] else ' (off)'}")
        if one["parameters"]:
            click.echo(f"  with {', '.join(f'{key}={value(said)}' for key, said in one['parameters'].items())}")
        for time in one["next_times"]:
            click.echo(f"  {upcoming(time)}")
    if deployment["paused"]:
        click.echo(f"The deployment is paused. Resume it: {command('deployment', 'resume', name)}")
