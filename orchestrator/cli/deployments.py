"""`orchestrator deployment`."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from orchestrator.cli.backfill import backfill
from orchestrator.cli.block_values import read_overrides
from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.mutes import mute, muted_words, unmute
from orchestrator.cli.names import find_deployment, full_name
from orchestrator.cli.options import (
    CRASH_RETRIES,
    INFRA_OVERRIDE,
    INFRASTRUCTURE,
    ISOLATION,
    TASK_RUNNER,
    agreed,
    json_option,
    parameter_options,
    read_parameters,
)
from orchestrator.cli.output import Cell, command, emit_json, fields, table, upcoming, value
from orchestrator.cli.schedules import schedule, schedule_words
from orchestrator.cli.source_words import source_words
from orchestrator.cli.time_limits import time_limit_options, time_limit_words, time_limits_of
from orchestrator.cli.transports import IDEMPOTENCY_KEY
from orchestrator.cli.versions import diff, rollback, versions
from orchestrator.cli.watching import watch
from orchestrator.cli.webhooks import webhook
from orchestrator.cli.work_queues import LIMIT, limit_of

DEPLOYMENT = click.argument("name", metavar="DEPLOYMENT")


@click.group(context_settings=SETTINGS)
def deployment() -> None:
    """List, run, pause and schedule deployments.

    DEPLOYMENT is flow-name/deployment-name; `_` and `-` are alike.
    """


for _command in (schedule, backfill, mute, unmute, webhook, versions, diff, rollback):
    deployment.add_command(_command)


@deployment.command("ls")
@click.option("--flow", metavar="FLOW", help="Of this flow.")
@click.option("--tag", metavar="TAG", help="With this tag.")
@json_option
def list_deployments(flow: str | None, tag: str | None, as_json: bool) -> None:
    """List deployments.

    \b
      orchestrator deployment ls --tag daily
    """
    found = list(connect().each("deployments/", flow=flow, tag=tag))
    if as_json:
        emit_json(found)
    elif found:
        table(("NAME", "SCHEDULE", "NEXT", "QUEUE", "ENTRYPOINT"), map(_row, found))
    elif flow or tag:
        click.echo("No deployment is like that.")
    else:
        click.echo(f"No deployments yet. Make one: {command('deploy', 'script.py:my_flow', '--name', 'nightly')}")


def _row(found: dict[str, Any]) -> list[Cell | str]:
    times = sorted(time for one in found["schedules"] for time in one["next_times"])
    following = Cell("paused", "yellow") if found["paused"] else upcoming(times[0]) if times else ""
    return [found["name"], schedule_words(found), following, found["queue"], found["entrypoint"]]


@deployment.command()
@DEPLOYMENT
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a deployment: where its code is, its parameters, its schedules and their next times.

    \b
      orchestrator deployment inspect etl/nightly
    """
    api = connect()
    found = find_deployment(api, name)
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("description", found["description"]),
            ("entrypoint", found["entrypoint"]),
            ("directory", found["directory"]),
            ("code", source_words(found["source"])),
            ("version", found["version"]),
            ("queue", found["queue"]),
            ("limit", _limit_words(found)),
            ("infrastructure", _infrastructure_words(found)),
            ("task runner", found["task_runner"]),
            ("after a crash", _crash_words(found)),
            ("time limits", time_limit_words(found)),
            ("tags", ", ".join(found["tags"])),
            ("paused", Cell("yes", "yellow") if found["paused"] else ""),
            ("muted", Cell(muted_words(api, found["id"]), "yellow")),
            ("parameters", "\n".join(_parameter_lines(found))),
            ("schedules", "\n".join(_schedule_lines(found))),
        ]
    )


def _limit_words(found: dict[str, Any]) -> str:
    if not found["limit"]:
        return ""
    return f"{found['limit']} at once; one more {'is cancelled' if found['collision'] == 'cancel' else 'waits'}"


def _infrastructure_words(found: dict[str, Any]) -> str:
    overrides = ", ".join(f"{name}={value(one)}" for name, one in found["infrastructure_overrides"].items())
    return f"{found['infrastructure']}{f' with {overrides}' if overrides else ''}"


def _crash_words(found: dict[str, Any]) -> str:
    return f"runs again, {found['crash_retries']} times at most" if found["crash_retries"] else ""


def _changed_words(found: dict[str, Any], given: Iterable[str]) -> str:
    """What a deployment's runs keep to, with what was given even where that is nothing."""
    crash = _crash_words(found) or ("not run again" if "crash_retries" in given else "")
    is_set = found["infrastructure"] != "process"
    given_infrastructure = {"infrastructure", "infrastructure_overrides", "isolation"} & set(given)
    words = (
        _limit_words(found) or ("no limit" if "limit" in given else ""),
        f"executes in {_infrastructure_words(found)}" if is_set or given_infrastructure else "",
        _runner_words(found, given),
        crash and f"after a crash {crash}",
        time_limit_words(found),
    )
    return "; ".join([f"queue {found['queue']}", *filter(None, words)])


def _runner_words(found: dict[str, Any], given: Iterable[str]) -> str:
    if runner := found["task_runner"]:
        return f"tasks on {runner}"
    return "tasks where the code says" if "task_runner" in given else ""


@deployment.command("set")
@DEPLOYMENT
@click.option("--queue", metavar="QUEUE", help="The work queue of its runs.")
@LIMIT
@click.option(
    "--collision",
    type=click.Choice(["wait", "cancel"]),
    help="What becomes of a run that comes while the limit is reached.  [wait]",
)
@INFRASTRUCTURE
@INFRA_OVERRIDE
@ISOLATION
@TASK_RUNNER
@CRASH_RETRIES
@time_limit_options
@click.option("--description", metavar="TEXT", help="What it is for.")
@json_option
def change(
    name: str,
    queue: str | None,
    limit: int | str | None,
    collision: str | None,
    infrastructure: str | None,
    overrides: tuple[str, ...],
    isolation: str | None,
    task_runner: str | None,
    crash_retries: int | None,
    description: str | None,
    as_json: bool,
    **time_limits: str | None,
) -> None:
    """Change a deployment. What is set here stays when the same thing is deployed again.

    \b
      orchestrator deployment set etl/nightly --limit 1 --collision cancel
      orchestrator deployment set etl/nightly --queue warehouse
      orchestrator deployment set etl/nightly --late-after 5m --expected 10m --on-overrun cancel --deadline 2h
    """
    given = {
        "queue": queue,
        "collision": collision,
        "infrastructure": infrastructure,
        "isolation": isolation,
        "task_runner": task_runner,
        "crash_retries": crash_retries,
        "description": description,
    }
    body: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    body |= time_limits_of(**time_limits)
    if limit is not None:
        body["limit"] = limit_of(limit)
    if not body and not overrides:
        raise click.UsageError("Say what to change, for example --queue or --limit; --help lists all options.")
    api = connect()
    found = find_deployment(api, name)
    if overrides:
        given_now = read_overrides(api, infrastructure or found["infrastructure"], overrides)
        body["infrastructure_overrides"] = {
            **({} if infrastructure else found["infrastructure_overrides"]),
            **given_now,
        }
    changed = api.patch(f"deployments/{found['id']}/", body)
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"Changed {changed['name']}: {_changed_words(changed, body)}.")


def _parameter_lines(found: dict[str, Any]) -> list[str]:
    """Each parameter with its value here, else its default, else that it is required."""
    lines = []
    properties = found["parameter_schema"].get("properties", {})
    for name in {**properties, **found["parameters"]}:
        if name in found["parameters"]:
            lines.append(f"{name} = {value(found['parameters'][name])}")
        elif name in found["parameter_schema"].get("required", []):
            lines.append(f"{name} (required)")
        else:
            lines.append(f"{name} = {value(properties[name].get('default'))} (default)")
    return lines


def _schedule_lines(found: dict[str, Any]) -> list[str]:
    lines = []
    for one in found["schedules"]:
        lines.append(f"{one['description']}{'' if one['active'] else ' (off)'}")
        lines += [f"  {upcoming(time)}" for time in one["next_times"]]
    return lines


@deployment.command()
@DEPLOYMENT
@parameter_options
@click.option("--name", "run_name", metavar="NAME", help="What the run is called.  [made up]")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag beside the deployment's own; may be repeated.")
@INFRA_OVERRIDE
@click.option("--watch", "watching", is_flag=True, help="Follow it until it ends; the exit code is 0 if it completed.")
@json_option
def run(
    name: str,
    param: tuple[str, ...],
    params: str,
    run_name: str | None,
    tags: tuple[str, ...],
    overrides: tuple[str, ...],
    watching: bool,
    as_json: bool,
) -> None:
    """Run a deployment now.

    \b
      orchestrator deployment run etl/nightly --param day=2026-11-21 --watch
    """
    api = connect()
    if watching and not api.serves:
        raise click.ClickException(
            "Nothing would start this run: no server is up. Start one: orchestrator server start"
        )
    found = find_deployment(api, name)
    body: dict[str, Any] = {"parameters": read_parameters(param, params, found["parameter_schema"])}
    if run_name:
        body["name"] = run_name
    if tags:
        body["tags"] = list(tags)
    if overrides:
        body["infrastructure_overrides"] = read_overrides(api, found["infrastructure"], overrides)
    made = api.post(f"deployments/{found['id']}/runs/", body, {IDEMPOTENCY_KEY: os.urandom(16).hex()})
    if as_json:
        emit_json(made)
    else:
        click.echo(f"Created flow run '{made['name']}' ({made['id']}) of {found['name']}.")
    if watching:
        sys.exit(watch(api, made["id"]))
    if not as_json:
        if not api.serves:
            click.echo(f"It starts when a server is up: {command('server', 'start')}")
        click.echo(f"Follow it: {command('flow-run', 'watch', made['name'])}")


@deployment.command()
@DEPLOYMENT
@json_option
def pause(name: str, as_json: bool) -> None:
    """Stop a deployment's schedules from making runs. It can still be run.

    \b
      orchestrator deployment pause etl/nightly
    """
    api = connect()
    found = api.post(f"deployments/{find_deployment(api, name)['id']}/pause/")
    _report(found, as_json, f"Paused {found['name']}.")


@deployment.command()
@DEPLOYMENT
@json_option
def resume(name: str, as_json: bool) -> None:
    """Let a deployment's schedules make runs again, from now on.

    \b
      orchestrator deployment resume etl/nightly
    """
    api = connect()
    found = api.post(f"deployments/{find_deployment(api, name)['id']}/resume/")
    _report(found, as_json, f"Resumed {found['name']}.")
    if not as_json:
        for line in _schedule_lines(found):
            click.echo(line)


@deployment.command()
@DEPLOYMENT
@click.option("--name", "new_name", required=True, metavar="NEW", help="The copy's own name.")
@parameter_options
@json_option
def duplicate(name: str, new_name: str, param: tuple[str, ...], params: str, as_json: bool) -> None:
    """Copy a deployment, with other parameters. Its schedules are copied, off.

    \b
      orchestrator deployment duplicate etl/nightly --name small --param limit=10
    """
    api = connect()
    found = find_deployment(api, name)
    parameters = read_parameters(param, params, found["parameter_schema"])
    copy = api.post(f"deployments/{found['id']}/duplicate/", {"name": new_name, "parameters": parameters})
    _report(copy, as_json, f"Created deployment {copy['name']}.")
    if not as_json:
        click.echo(f"Run it now: {command('deployment', 'run', full_name(copy), '--watch')}")


@deployment.command()
@DEPLOYMENT
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a deployment with its schedules. Its runs stay.

    \b
      orchestrator deployment delete etl/nightly --yes
    """
    api = connect()
    found = find_deployment(api, name)
    agreed(found["name"], yes)
    api.delete(f"deployments/{found['id']}/")
    click.echo(f"Deleted {found['name']}.")


def _report(found: dict[str, Any], as_json: bool, words: str) -> None:
    if as_json:
        emit_json(found)
    else:
        click.echo(words)
