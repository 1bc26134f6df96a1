"""Finding what a person named: a deployment by flow-name/deployment-name, a run by its id, part of it, or its name."""

import re
import shlex
from typing import Any

import click

from orchestrator.cli.client import Api

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")


def full_name(deployment: dict[str, Any]) -> str:
    """Return a deployment's name as it is typed into a shell."""
    return shlex.quote(deployment["name"])


def find_deployment(api: Api, name: str) -> dict[str, Any]:
    """Return a deployment by flow-name/deployment-name (`_` and `-` are alike), by its own name, or by id.

    Raises:
        click.ClickException: There is none, or several flows have one of this name.
    """
    found = list(api.each("deployments/", 2, name=name))
    if not found:
        raise click.ClickException(f"There is no deployment {name!r}. `orchestrator deployment ls` lists them.")
    if len(found) > 1:
        raise click.ClickException(f"{name!r} may be {found[0]['name']} or {found[1]['name']}. Write the whole name.")
    return dict(found[0])


def find_flow_run(api: Api, text: str) -> dict[str, Any]:
    """Return a run, inspected, by id, by the beginning of its id (8 characters or more), or by name (the newest).

    Raises:
        click.ClickException: There is none, or several ids begin so.
    """
    return dict(api.get(f"flow-runs/{flow_run_id(api, text)}/"))


def flow_run_id(api: Api, text: str) -> str:
    """Return the id of the run that is meant. Raises click.ClickException as `find_flow_run`."""
    wanted = text.strip().lower()
    if _UUID.fullmatch(wanted):
        return wanted
    if _PREFIX.fullmatch(wanted):
        found = list(api.each("flow-runs/", 2, id_prefix=wanted))
        if len(found) > 1:
            raise click.ClickException(f"Several runs have an id that begins with {text}. Write more of it.")
        if found:
            return str(found[0]["id"])
    named = list(api.each("flow-runs/", 1, name=text))
    if not named:
        raise click.ClickException(f"There is no flow run {text!r}. `orchestrator flow-run ls` lists the newest.")
    return str(named[0]["id"])


def find_named(api: Api, path: str, what: str, text: str) -> dict[str, Any]:
    """Return a row of a list by name, by id, or by a beginning of either that no other has.

    Args:
        api: The API.
        path: The list: `destinations/`.
        what: What a row is called, as in the command that lists them: `destination`.
        text: As it was typed.

    Raises:
        click.ClickException: There is none, or several are like that.
    """
    rows = list(api.each(path))
    wanted = text.strip()
    begins = [row for row in rows if row["name"].startswith(wanted) or row["id"].startswith(wanted.lower())]
    found = [row for row in rows if wanted in (row["name"], row["id"])] or (begins if wanted else [])
    if not found:
        raise click.ClickException(f"There is no {what} {text!r}. `orchestrator {what} ls` lists them.")
    if len(found) > 1:
        several = " or ".join(f"{row['name']} ({row['id']})" for row in found[:3])
        raise click.ClickException(f"{text!r} may be {several}. Write the whole name, or the id.")
    return dict(found[0])
