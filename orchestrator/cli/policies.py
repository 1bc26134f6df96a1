"""Notification policies on the command line: the options that make them, and how they read in words."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from orchestrator.cli.client import Api
from orchestrator.cli.destinations import where, without_dash
from orchestrator.cli.names import find_named
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import seconds_of, text_or_file
from orchestrator.cli.output import duration

PATH = "notification-policies/"
#: As `notifications.events.Event`, which this process does not import.
EVENTS = {
    "FAILED": "Failed",
    "CRASHED": "Crashed",
    "CANCELLED": "Cancelled",
    "COMPLETED": "Completed",
    "RECOVERED": "Recovered",
    "LONG_RUNNING": "Long-running",
    "LATE": "Late",
    "OVERRAN": "Overran",
    "MISSED_DEADLINE": "Missed deadline",
}
LONG_RUNNING = "LONG_RUNNING"
USUAL = "usual"

Verb = TypeVar("Verb", bound=Callable[..., Any])


def policy_options(verb: Verb) -> Verb:
    """Add the options that say what a policy tells, of what, where and how."""
    options = [
        click.option(
            "--to",
            "to",
            multiple=True,
            metavar="WHERE",
            help="slack:URL, email:ADDRESS, webhook:URL, an Apprise URL, or a destination's name; `slack:-` asks for"
            " the URL, which keeps it out of the shell's history; repeatable.",
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            metavar="STATE",
            callback=_read_states,
            help=f"{', '.join(EVENTS)}; repeatable.  [FAILED and CRASHED]",
        ),
        click.option("--flow", "flows", multiple=True, metavar="FLOW", help="Of this flow, or etl-*; repeatable."),
        click.option(
            "--deployment",
            "deployments",
            multiple=True,
            metavar="NAME",
            help="Of flow-name/deployment-name; repeatable.",
        ),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="Of runs with this tag; repeatable."),
        click.option("--message", metavar="TEXT|@FILE", help="The text: a template, or a file with one."),
        click.option("--name", "new_name", metavar="NAME", help="What it is called.  [made up]"),
        click.option("--timezone", metavar="ZONE", help="Times are told in it: Europe/Paris.  [the server's]"),
        click.option("--log-lines", type=Number(0), metavar="N", help="How many of the last log lines to add.  [5]"),
        click.option("--burst-limit", type=Number(1), metavar="N", help="More in a minute become one message.  [10]"),
        click.option(
            "--longer-than",
            metavar="TIME",
            help=f"Of runs that take longer than 45m, 2h …, or `{USUAL}`: three times the usual; adds LONG_RUNNING.",
        ),
    ]
    for option in reversed(options):
        verb = option(verb)
    return verb


def body_of(
    *,
    to: tuple[str, ...],
    states: tuple[str, ...],
    flows: tuple[str, ...],
    deployments: tuple[str, ...],
    tags: tuple[str, ...],
    message: str | None,
    new_name: str | None,
    timezone: str | None,
    log_lines: int | None,
    burst_limit: int | None,
    longer_than: str | None,
) -> dict[str, Any]:
    """Return the fields that these options give. An empty text takes a list away: `--tag ""`.

    Raises:
        click.UsageError: One of them cannot be read.
    """
    lists: dict[str, tuple[str, ...]] = {"flows": flows, "deployments": deployments, "tags": tags}
    body: dict[str, Any] = {name: [text for text in texts if text] for name, texts in lists.items() if texts}
    if to:
        body["destinations"] = [without_dash(one) for one in to]
    if states:
        body["events"] = list(states)
    if message is not None:
        body["message"] = text_or_file(message, "--message")
    if longer_than is not None:
        body["long_running_seconds"] = None if longer_than == USUAL else seconds_of(longer_than, "--longer-than")
    plain = {"name": new_name, "timezone": timezone, "log_lines": log_lines, "burst_limit": burst_limit}
    return body | {name: value for name, value in plain.items() if value is not None}


def find_policy(api: Api, text: str) -> dict[str, Any]:
    """Return a policy by name, id or a beginning of either. Raises click.ClickException."""
    return find_named(api, PATH, "notification", text)


def sentence(policy: dict[str, Any]) -> str:
    """Return what a policy does: `Failed and Crashed runs of new-thing are told to slack hooks.slack.com/…`."""
    to = joined([where(one) for one in policy["destinations"]]) or "nobody"
    return f"{states_of(policy)} runs of {subject_of(policy)} are told to {to}."


def states_of(policy: dict[str, Any]) -> str:
    """Return the events of a policy: `Failed and Crashed`."""
    seconds = policy["long_running_seconds"]
    long = f"Long-running (over {duration(seconds)})" if seconds else EVENTS[LONG_RUNNING]
    return joined([{**EVENTS, LONG_RUNNING: long}.get(event, event) for event in policy["events"]])


def subject_of(policy: dict[str, Any]) -> str:
    """Return whose runs a policy is about: `new-thing`, `every flow tagged prod`."""
    of = joined([*policy["flows"], *policy["deployments"]]) or "every flow"
    return f"{of} tagged {joined(policy['tags'], 'or')}" if policy["tags"] else of


def joined(words: Sequence[str], last: str = "and") -> str:
    """Return `a, b and c`."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _read_states(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    read = []
    for value in values:
        name = value.strip().upper().replace("-", "_").replace(" ", "_")
        if name not in EVENTS:
            raise click.BadParameter(f"there is no state {value!r} to be told of. Write one of {', '.join(EVENTS)}.")
        read.append(name)
    return tuple(dict.fromkeys(read))
