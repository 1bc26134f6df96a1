"""Following a run: its log lines and its states as they come, until it ends."""

import time
from typing import Any

import click

from orchestrator.cli.client import Api
from orchestrator.cli.output import COLOURS, command, duration, log_line, note, painted
from orchestrator.cli.transports import NotReached

POLL_SECONDS = 0.2
SILENT_SECONDS = 30.0  # how long a server that restarts is waited for
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PAGE = 1000


def watch(api: Api, run_id: str, first_attempt: int = 0) -> int:
    """Print a run's lines and states until it ends; lines of attempts before the first one that is wanted are left out.

    Returns:
        The exit code: 0 if the run completed, else 1; 130 after Ctrl-C, which ends the watching alone.
    """
    try:
        return _watch(api, run_id, first_attempt)
    except KeyboardInterrupt:
        note(f"\nNot watching any more; the run goes on. To cancel it: orchestrator flow-run cancel {run_id}")
        return 130


def print_new_logs(api: Api, run_id: str, after: str | None, first_attempt: int = 0) -> str | None:
    """Print the lines after a known one; return the id of the last one."""
    while True:
        page = api.get(f"flow-runs/{run_id}/logs/", after=after, limit=PAGE)
        for line in page["results"]:
            if line["attempt"] >= first_attempt:
                click.echo(log_line(line))
            after = line["id"]
        if page["next"] is None:
            return after


def _watch(api: Api, run_id: str, first_attempt: int) -> int:
    last_line = None
    last_state: tuple[Any, ...] = ()
    heard = time.monotonic()
    while True:
        try:
            run = api.get(f"flow-runs/{run_id}/")
            if (now := (run["attempt"], run["state_type"], run["state_name"])) != last_state:
                if run["state_type"] not in FINAL:
                    _print_state(run, api.serves)
                last_state = now
            last_line = print_new_logs(api, run_id, last_line, first_attempt)
            heard = time.monotonic()
        except NotReached:
            if time.monotonic() - heard > SILENT_SECONDS:
                raise
            time.sleep(1.0)
            continue
        if run["state_type"] in FINAL:
            return _print_end(run)
        time.sleep(POLL_SECONDS)


def _print_state(run: dict[str, Any], serves: bool) -> None:
    words = f"Flow run '{run['name']}' is {painted(run['state_name'], COLOURS.get(run['state_type']))}"
    if run["state_message"]:
        words += f": {run['state_message']}"
    if run["state_type"] == "SCHEDULED" and not serves:
        words += f". Nothing starts it until a server is up: {command('server', 'start')}"
    click.echo(words)


def _print_end(run: dict[str, Any]) -> int:
    ended = [attempt for attempt in run["attempts"] if attempt["number"] == run["attempt"] and attempt["end_time"]]
    seconds = (ended[0] if ended else run)["duration_seconds"]  # of this attempt, not from the first one's start
    took = f" after {duration(seconds)}" if seconds is not None else ""
    words = painted(run["state_name"], COLOURS.get(run["state_type"]))
    click.echo(f"Flow run '{run['name']}' ended {words}{took}")
    if run["state_type"] == "COMPLETED":
        return 0
    if run["state_message"]:
        click.echo(run["state_message"])
    return 1
