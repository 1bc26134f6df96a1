"""`orchestrator deployment backfill`."""

import sys
from datetime import UTC, datetime
from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.names import find_deployment, full_name
from orchestrator.cli.options import json_option
from orchestrator.cli.output import command, emit_json, upcoming
from orchestrator.cli.specs import moment

_SHOWN = 10


@click.command()
@click.argument("name", metavar="DEPLOYMENT")
@click.option("--from", "start", metavar="TIME", help="2026-11-01, or 2026-11-01T08:00.")
@click.option("--to", "end", metavar="TIME", help="A date alone means to the end of it.  [now]")
@click.option("--schedule", "which", metavar="NUMBER", default="", help="This schedule's times only.")
@click.option("--undo", "tag", metavar="TAG", default="", help="Leave out what has not begun of an earlier backfill.")
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def backfill(
    name: str, start: str | None, end: str | None, which: str, tag: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Run what a deployment's schedules would have run in a window of the past; times that have their run are skipped.

    At most 1,000 runs are made a call, oldest first; the same call again goes on. Times without an offset are on this
    machine's clock. A paused deployment can be backfilled.

    \b
      orchestrator deployment backfill etl/nightly --from 2026-11-01 --to 2026-11-07
      orchestrator deployment backfill etl/nightly --from 2026-11-01 --dry-run --json
      orchestrator deployment backfill etl/nightly --undo backfill-1a2b3c4d
    """
    if tag:
        if start or end or which or dry_run:
            raise click.UsageError("--undo stands alone: it is about a backfill that was made.")
        _undo(name, tag, as_json)
        return
    if not start:
        raise click.UsageError("Say since when: --from 2026-11-01.")
    body: dict[str, Any] = {"start": _instant(start, "--from", False)}
    if end is not None and not _is_today(end):
        body["end"] = _instant(end, "--to", True)
    api = connect()
    found = find_deployment(api, name)
    if which:
        body["schedule"] = _schedule_id(found, which)
    address = f"deployments/{found['id']}/backfill/"
    plan = api.post(address, {**body, "dry_run": True})
    if dry_run and as_json:
        emit_json(plan)
        return
    if not as_json:
        _tell(found, plan)
    if dry_run or not plan["count"]:
        if as_json:
            emit_json(plan)
        return
    _agree(plan["count"], yes)
    made = api.post(address, body)
    if as_json:
        emit_json(made)
        return
    click.echo(f"Made {_runs(len(made['flow_runs']))} of {found['name']}, tagged {made['tag']}.")
    if made["more_from"]:
        click.echo("There are more: give the same command again.")
    if not api.serves:
        click.echo(f"They start when a server is up: {command('server', 'start')}")
    else:
        click.echo(f"Follow them: {command('flow-run', 'ls', '--tag', made['tag'])}")
    click.echo(f"Undo it: {command('deployment', 'backfill', full_name(found), '--undo', made['tag'])}")


def _undo(name: str, tag: str, as_json: bool) -> None:
    api = connect()
    found = find_deployment(api, name)
    undone = api.post(f"deployments/{found['id']}/backfill/undo/", {"tag": tag})
    if as_json:
        emit_json(undone)
    elif undone["count"]:
        click.echo(f"{_runs(undone['count'])} of {found['name']} will not start.")
    else:
        click.echo(f"No run of {tag} waits: they have begun, or there is no such backfill of {found['name']}.")


def _tell(found: dict[str, Any], plan: dict[str, Any]) -> None:
    """Say what there is to make, and what of it comes first and last."""
    there = f"; {plan['there']:,} {'time has its' if plan['there'] == 1 else 'times have their'} run already"
    click.echo(f"{found['name']}: {_runs(plan['count'])} to make{there if plan['there'] else ''}.")
    for time in plan["times"][:_SHOWN]:
        click.echo(f"  {upcoming(time)}")
    if len(plan["times"]) > _SHOWN:
        click.echo(f"  … until {upcoming(plan['times'][-1])}")
    if plan["more_from"]:
        click.echo(f"That is all for one call; times from {upcoming(plan['more_from'])} on come after.")


def _agree(count: int, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"This makes {_runs(count)}. Say --yes, since there is no terminal to ask on.")
    click.confirm(f"Make {_runs(count)}?", abort=True)


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def _instant(text: str, option: str, ends: bool) -> str:
    return moment(text, option, None, ends=ends).astimezone(UTC).isoformat()


def _is_today(text: str) -> bool:
    """Whether a date alone is today's, which is not over: it means until now, by the server's clock."""
    return text.strip() == datetime.now().astimezone().date().isoformat()


def _schedule_id(found: dict[str, Any], which: str) -> str:
    schedules = found["schedules"]
    if which.isdecimal() and len(which) < 4 and 1 <= int(which) <= len(schedules):
        return str(schedules[int(which) - 1]["id"])
    return which
