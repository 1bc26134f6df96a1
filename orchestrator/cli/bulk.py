"""One verb for many runs: `flow-run cancel --filter state=RUNNING --filter flow=etl`."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

import click

from orchestrator.cli.client import Api
from orchestrator.cli.output import emit_json, note

Verb = TypeVar("Verb", bound=Callable[..., Any])

_DONE = {"cancel": "Cancelled", "retry": "Retried", "rerun": "Ran again", "delete": "Deleted"}


def bulk_options(verb: Verb) -> Verb:
    """Make RUN optional, and add --filter and --yes."""
    options = [
        click.argument("run", metavar="[RUN]", required=False),
        click.option(
            "--filter",
            "filters",
            multiple=True,
            metavar="NAME=VALUE",
            help="All runs like that, not one: state, flow, deployment, queue, tag, name, since, until; repeatable.",
        ),
        click.option("--yes", "-y", is_flag=True, help="Do not ask, with --filter."),
    ]
    for option in reversed(options):
        verb = option(verb)
    return verb


def one_or_many(run: str | None, filters: tuple[str, ...]) -> bool:
    """Return whether many are meant. Raises click.UsageError unless it is either one run or filters."""
    if bool(run) == bool(filters):
        raise click.UsageError("Name one RUN, or say which with --filter, for example --filter state=FAILED.")
    return bool(filters)


def do_all(api: Api, verb: str, filters: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Count what matches, ask, and do it call by call; exits with 1 where a run refused.

    Raises:
        click.UsageError: A filter cannot be read, or there is no terminal to ask on.
    """
    body = {"verb": verb, "filter": _read(filters), "key": str(uuid4())}
    found = api.post("flow-runs/bulk/", {**body, "dry_run": True})
    number, total = found["count"], f"{'more than ' if found['more'] else ''}{found['count']:,}"
    if number and not yes:
        _ask(verb, total, number)
    done, refused, made = 0, [], []
    after = None
    while number:
        answer = api.post("flow-runs/bulk/", {**body, "after": after})
        done, after = done + answer["done"], answer["next"]
        refused += answer["refused"]
        made += answer["made"]
        if after is None:
            break
        if not as_json:
            note(f"{done + len(refused):,} of {total} …")
    if as_json:
        emit_json({"count": number, "done": done, "refused": refused, "made": made})
    else:
        _report(verb, done, refused, number)
    if refused:
        sys.exit(1)


def _read(filters: tuple[str, ...]) -> dict[str, list[str]]:
    read: dict[str, list[str]] = {}
    for text in filters:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise click.UsageError(f"--filter {text!r}: write it as name=value, for example state=FAILED.")
        values = read.setdefault(name.strip(), [])
        if values and name.strip() != "state":
            raise click.UsageError(f"--filter {name.strip()}: only state can be given more than once.")
        values.append(value.strip())
    return read


def _ask(verb: str, total: str, number: int) -> None:
    what = f"{verb} {total} run{'' if number == 1 else 's'}"
    if not sys.stdin.isatty():
        raise click.UsageError(f"This would {what}. Say --yes, since there is no terminal to ask on.")
    click.confirm(f"{what.capitalize()}?", abort=True)


def _report(verb: str, done: int, refused: list[dict[str, Any]], number: int) -> None:
    if not number:
        click.echo("No run is like that.")
        return
    asked = " They are asked to stop where they run." if verb == "cancel" and done else ""
    click.echo(f"{_DONE[verb]} {done:,} run{'' if done == 1 else 's'}.{asked}")
    for one in refused:
        note(f"{one['name']} ({one['id'][:8]}): {one['reason']}")
