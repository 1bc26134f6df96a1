"""`orchestrator flow-run`."""

import sys
from typing import Any

import click

from orchestrator.cli.bulk import bulk_options, do_all, one_or_many
from orchestrator.cli.client import connect
from orchestrator.cli.explaining import explain
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_flow_run, flow_run_id
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import agreed, json_option
from orchestrator.cli.output import (
    Cell,
    command,
    duration,
    emit_json,
    exact,
    fields,
    moment,
    note,
    size,
    state,
    table,
    value,
)
from orchestrator.cli.source_words import source_words
from orchestrator.cli.watching import PAGE, print_new_logs, watch

RUN = click.argument("run", metavar="RUN")
CAUSES = {
    "signal": "killed by a signal",
    "out_of_memory": "out of memory",
    "exit": "its process ended",
    "lost": "lost worker or machine",
    "stopped": "its worker was stopped",
    "evicted": "evicted from its node",
    "unschedulable": "no node had room for it",
    "image": "its image could not be had",
}


@click.group("flow-run", context_settings=SETTINGS)
def flow_run() -> None:
    """List, watch, explain, cancel, rerun and delete flow runs.

    RUN is a run's id, the first 8 characters of it or more, or its name (the newest of that name).
    """


@flow_run.command("ls")
@click.option("--state", "states", multiple=True, metavar="STATE", help="In this state: FAILED, Late; repeatable.")
@click.option("--flow", metavar="FLOW", help="Of this flow.")
@click.option("--deployment", metavar="NAME", help="Of this deployment: flow-name/deployment-name.")
@click.option("--tag", metavar="TAG", help="With this tag.")
@click.option("--limit", type=Number(1), default=20, show_default=True, help="How many at most.")
@json_option
def list_runs(
    states: tuple[str, ...], flow: str | None, deployment: str | None, tag: str | None, limit: int, as_json: bool
) -> None:
    """List runs, newest first; upcoming ones, soonest first, with --state SCHEDULED.

    \b
      orchestrator flow-run ls --state FAILED --state CRASHED --limit 5
    """
    api = connect()
    query = {"state": states, "flow": flow, "deployment": deployment, "tag": tag}
    runs = list(api.each("flow-runs/", limit, **query))
    if as_json:
        emit_json(runs)
        return
    if not runs and any(query.values()):
        click.echo("No run is like that.")
    elif not runs:
        click.echo("No runs yet. Put @flow on a function and run the file: python script.py")
    else:
        table(("ID", "NAME", "FLOW", "STATE", "START", "DURATION", "DEPLOYMENT"), map(_row, runs))


def _row(run: dict[str, Any]) -> list[Cell | str]:
    start = moment(run["start_time"] or run["expected_start"])
    deployment = run["deployment"] or ""
    return [run["id"], run["name"], run["flow"], state(run), start, duration(run["duration_seconds"]), deployment]


@flow_run.command()
@RUN
@json_option
def inspect(run: str, as_json: bool) -> None:
    """Show a run: its state, parameters, task runs and error.

    \b
      orchestrator flow-run inspect jumpy-puppy
    """
    found = find_flow_run(connect(), run)
    if as_json:
        emit_json(found)
        return
    counts = ", ".join(f"{count} {type_.lower()}" for type_, count in found["task_run_counts"].items())
    parameters = "\n".join(f"{name} = {value(thing)}" for name, thing in found["parameters"].items())
    fields(
        [
            ("id", found["id"]),
            ("name", found["name"]),
            ("flow", found["flow"]),
            ("deployment", found["deployment"] or ""),
            ("state", state(found)),
            ("message", found["state_message"]),
            ("due", "" if found["start_time"] else exact(found["expected_start"])),
            ("start", exact(found["start_time"])),
            ("end", exact(found["end_time"])),
            ("duration", duration(found["duration_seconds"])),
            ("attempt", str(found["attempt"]) if found["attempt"] > 1 else ""),
            ("started by", found["trigger"]),
            ("tags", ", ".join(found["tags"])),
            ("parameters", parameters),
            ("task runs", counts),
            *_used(found),
        ]
    )
    if found["last_log_lines"]:
        click.echo()
        click.echo("Its last log lines:\n" + "\n".join(f"  {line}" for line in found["last_log_lines"]))
    if error := found["error"]:
        click.echo()
        click.echo((error.get("traceback") or f"{error['type']}: {error['message']}").rstrip())


def _used(run: dict[str, Any]) -> list[tuple[str, Cell | str]]:
    """Which code the newest attempt ran, what it used, and why it crashed."""
    attempt = max(run["attempts"], key=lambda one: one["number"], default=None)
    if attempt is None:
        return []
    cause, peak, seconds = attempt["cause"], attempt["peak_memory_bytes"], attempt["cpu_seconds"]
    code, block = attempt["source"], attempt["infrastructure"]
    version = f", version {code['version']}" if code.get("version") else ""
    return [
        ("code", f"{source_words(code)}{version}" if code else ""),
        ("executed in", _block_words(block) if block else ""),
        ("cause", CAUSES.get(cause, cause)),
        ("memory", f"{size(peak)} at most" if peak else ""),
        ("processor", duration(seconds) if seconds else ""),
    ]


def _block_words(block: dict[str, Any]) -> str:
    values = ", ".join(f"{name}={value(one)}" for name, one in block["values"].items())
    return f"{block['block']} ({block['type']}, version {block['version']}){f' with {values}' if values else ''}"


@flow_run.command()
@RUN
@json_option
def why(run: str, as_json: bool) -> None:
    """Say why a run is not running: what it waits for, and who holds that. Of a run that runs, what it does.

    \b
      orchestrator flow-run why jumpy-puppy
    """
    api = connect()
    found = api.get(f"flow-runs/{flow_run_id(api, run)}/why/")
    if as_json:
        emit_json(found)
    else:
        explain(found)


@flow_run.command()
@RUN
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended.")
@json_option
def logs(run: str, follow: bool, as_json: bool) -> None:
    """Print a run's log lines and what it printed.

    \b
      orchestrator flow-run logs jumpy-puppy --follow
    """
    api = connect()
    found = flow_run_id(api, run)
    if as_json:
        lines: list[Any] = []
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            page = api.get(f"flow-runs/{found}/logs/", limit=PAGE, after=page["next"])
            lines += page["results"]
        emit_json(lines)
    elif follow:
        sys.exit(watch(api, found))
    elif print_new_logs(api, found, None) is None:
        note("It has no log lines.")


@flow_run.command("watch")
@RUN
def watch_run(run: str) -> None:
    """Follow a run until it ends; the exit code is 0 if it completed, else 1. Ctrl-C ends the watching alone.

    \b
      orchestrator flow-run watch jumpy-puppy && echo done
    """
    api = connect()
    sys.exit(watch(api, flow_run_id(api, run)))


@flow_run.command()
@bulk_options
@json_option
def cancel(run: str | None, filters: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Cancel a run, or all that match: at once if it waits, else its process is asked to stop.

    \b
      orchestrator flow-run cancel jumpy-puppy
      orchestrator flow-run cancel --filter state=RUNNING --filter flow=etl
    """
    api = connect()
    if one_or_many(run, filters):
        do_all(api, "cancel", filters, yes, as_json)
        return
    found = api.post(f"flow-runs/{flow_run_id(api, str(run))}/cancel/")
    _report(found, as_json, f"Flow run '{found['name']}' is {found['state_name']}.")


@flow_run.command()
@bulk_options
@click.option("--watch", "watching", is_flag=True, help="Follow it until it ends.")
@json_option
def retry(run: str | None, filters: tuple[str, ...], yes: bool, watching: bool, as_json: bool) -> None:
    """Continue a run that failed, crashed or was cancelled, as its next attempt; what completed is reused.

    \b
      orchestrator flow-run retry jumpy-puppy --watch
      orchestrator flow-run retry --filter state=CRASHED --filter since=2026-11-28T00:00Z --yes
    """
    api = connect()
    if one_or_many(run, filters):
        do_all(api, "retry", filters, yes, as_json)
        return
    found = api.post(f"flow-runs/{flow_run_id(api, str(run))}/retry/")
    _report(found, as_json, f"Flow run '{found['name']}' is retried.")
    if watching:
        sys.exit(watch(api, found["id"], found["attempt"] + 1))


@flow_run.command()
@bulk_options
@click.option("--watch", "watching", is_flag=True, help="Follow the new run until it ends.")
@json_option
def rerun(run: str | None, filters: tuple[str, ...], yes: bool, watching: bool, as_json: bool) -> None:
    """Make a new run with the same parameters, of one run or of all that match.

    \b
      orchestrator flow-run rerun jumpy-puppy --watch
      orchestrator flow-run rerun --filter tag=month-end --filter state=COMPLETED
    """
    api = connect()
    if one_or_many(run, filters):
        do_all(api, "rerun", filters, yes, as_json)
        return
    found = api.post(f"flow-runs/{flow_run_id(api, str(run))}/rerun/")
    _report(found, as_json, f"Created flow run '{found['name']}' ({found['id']}).")
    if watching:
        sys.exit(watch(api, found["id"]))
    if not as_json:
        click.echo(f"Follow it: {command('flow-run', 'watch', found['name'])}")


@flow_run.command()
@bulk_options
@json_option
def delete(run: str | None, filters: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete a run that has ended, or all that match, with logs, task runs and all that belongs to them.

    \b
      orchestrator flow-run delete jumpy-puppy
      orchestrator flow-run delete --filter flow=etl --filter until=2026-01-01T00:00Z
    """
    api = connect()
    if one_or_many(run, filters):
        do_all(api, "delete", filters, yes, as_json)
        return
    found = find_flow_run(api, str(run))
    agreed(f"run '{found['name']}'", yes)
    api.delete(f"flow-runs/{found['id']}/")
    _report(found, as_json, f"Deleted flow run '{found['name']}'.")


def _report(run: dict[str, Any], as_json: bool, words: str) -> None:
    if as_json:
        emit_json(run)
    else:
        click.echo(words)
