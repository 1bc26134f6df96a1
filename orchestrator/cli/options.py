"""Options that several verbs take."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator.cli.numbers import Number

Verb = TypeVar("Verb", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

ISOLATION = click.option(
    "--isolation", type=click.Choice(["process", "worker"]), hidden=True, help="An older way to say --infrastructure."
)
INFRASTRUCTURE = click.option(
    "--infrastructure",
    "--infra",
    metavar="BLOCK",
    help="Where its runs execute: the name of a block, `process` for each in one of its own, or `in-worker` for "
    "processes that the worker keeps, which start sooner; there a run finds what earlier ones left.  [process]",
)
INFRA_OVERRIDE = click.option(
    "--infra-override",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A value instead of the block's, of a field that it opens; may be repeated.",
)
CRASH_RETRIES = click.option(
    "--crash-retries",
    type=Number(0, 100),
    metavar="N",
    help="Run a run again that crashed (its process or its machine died), N times in a row at most.  [0]",
)
TASK_RUNNER = click.option(
    "--task-runner",
    metavar="NAME[:ARGUMENT]",
    help='Where submitted tasks of its runs execute, whatever their code says: threads, processes:4, dask, ray …; "" '
    "for what the code says.",
)

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TYPES: dict[type, set[str]] = {
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"number"},
    str: {"string"},
    list: {"array"},
    dict: {"object"},
    type(None): {"null"},
}


def seconds_of(text: str, option: str) -> int:
    """Return the seconds of `30d`, `12h`, `90m` or `45s`. Raises click.UsageError that names the option."""
    match = re.fullmatch(r"(\d{1,9})\s*([smhdw]?)", text.strip().lower())
    if not match or not int(match[1]):
        raise click.UsageError(f"{option} {text!r}: write a time such as 30d, 12h or 90m.")
    return int(match[1]) * _UNITS[match[2]]


def agreed(what: str, yes: bool) -> None:
    """Ask whether to delete what is named, unless --yes was given.

    Raises:
        click.UsageError: There is no terminal to ask on.
        click.Abort: The answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"This deletes {what}. Say --yes, since there is no terminal to ask on.")
    click.confirm(f"Delete {what}?", abort=True)


def typed(label: str) -> str:
    """Return a line that is kept from the shell's history: asked for unseen at a terminal, else from standard input.

    Raises:
        click.ClickException: No line came.
    """
    if sys.stdin.isatty():
        answer: str = click.prompt(label, hide_input=True)
    else:
        answer = sys.stdin.readline()
    if not answer.strip():
        raise click.ClickException(f"{label}: nothing came. Type it at a terminal, or write it to standard input.")
    return answer.strip()


def text_or_file(text: str, option: str) -> str:
    """Return a text, or what stands in the file of `@path`. Raises click.UsageError that names the option."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{option} {text}: cannot read this file: {why}") from None


def parameter_options(verb: Verb) -> Verb:
    """Add --param and --params."""
    verb = click.option("--params", metavar="JSON", default="", help="Parameters as one JSON object.")(verb)
    return click.option(
        "--param", "-p", "param", metavar="NAME=VALUE", multiple=True, help="One parameter; may be repeated."
    )(verb)


def schedule_options(verb: Verb) -> Verb:
    """Add --cron, --interval, --rrule and --timezone."""
    options = [
        click.option("--cron", metavar="CRON", default=None, help='Five fields, e.g. "0 7 * * *".'),
        click.option("--interval", metavar="SECONDS", type=Number(1), help="Every so many seconds."),
        click.option("--rrule", metavar="RULE", default=None, help="RFC 5545, e.g. FREQ=HOURLY;INTERVAL=2."),
        click.option("--timezone", metavar="ZONE", default=None, help="Whose clock counts: Europe/Paris  [UTC]"),
    ]
    for option in reversed(options):
        verb = option(verb)
    return verb


def read_schedule(
    cron: str | None,
    interval: int | None,
    rrule: str | None,
    timezone: str | None,
    weekly: str | None = None,
    catchup: str | None = None,
) -> dict[str, Any] | None:
    """Return the schedule that these options describe; None without one.

    Raises:
        click.UsageError: There are two, or a zone without a schedule.
    """
    given = {"cron": cron, "interval": interval, "rrule": rrule, "weekly": weekly}
    kinds = [(kind, expression) for kind, expression in given.items() if expression is not None]
    if len(kinds) > 1:
        raise click.UsageError(f"Give one of {', '.join(f'--{kind}' for kind, _ in kinds)}, not {len(kinds)}.")
    if not kinds:
        if timezone or catchup:
            raise click.UsageError(f"{'--timezone' if timezone else '--catchup'} needs a schedule, e.g. --cron.")
        return None
    kind, expression = kinds[0]
    if kind == "weekly":
        expression = weekly_expression(str(expression))
    spec = {"kind": kind, "expression": str(expression), "timezone": timezone or "UTC"}
    return {**spec, "catchup": catchup} if catchup else spec


def weekly_expression(text: str) -> str:
    """Return `MO,WE 08:00` for `Mon,Wed 08:00`, `monday 8:00` and the like; what is no day is left for the server."""
    days, _, time = text.strip().rpartition(" ")
    words = [day for day in re.split(r"[,\s]+", days.lower()) if day]
    known = [next((name for name in _DAYS if len(word) > 1 and name.startswith(word)), None) for word in words]
    if not all(known):
        return text
    return f"{','.join(name[:2].upper() for name in known if name)} {time.zfill(5)}"


def read_parameters(param: tuple[str, ...], params: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of --params and --param; the latter win.

    A value of --param is JSON where it reads as JSON of a type that the flow's schema wants, else text.

    Raises:
        click.UsageError: One of them cannot be read.
    """
    values: dict[str, Any] = {}
    if params:
        try:
            values = json.loads(params)
        except ValueError as error:
            raise click.UsageError(f"--params: this is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise click.UsageError("--params: write a JSON object, e.g. '{\"day\": 3}'.")
    for text in param:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"--param {text!r}: write it as name=value.")
        values[name.strip()] = parameter_value(value, _schema_of(name.strip(), schema), schema)
    return values


def parameter_value(text: str, wanted: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return what a text means where `wanted` (a part of the schema `root`) is wanted."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    types = _types(wanted, root)
    if not types:
        return value
    return value if type(value) in _TYPES and _TYPES[type(value)] & (types - {"string"}) else text


def _schema_of(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("properties", {}).get(name)
    return found if isinstance(found, dict) else {}


def _types(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> set[str]:
    """Return the JSON types that a schema takes; empty where it takes anything."""
    if depth > 10:
        return set()
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return _types(root.get("$defs", {}).get(name, {}), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            parts = [_types(part, root, depth + 1) for part in schema[key]]
            return set() if not all(parts) else set().union(*parts)
    types = schema.get("type", [])
    if types:
        return {types} if isinstance(types, str) else set(types)
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return set().union(*(_TYPES.get(type(choice), set()) for choice in choices)) if choices else set()
