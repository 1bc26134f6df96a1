"""`orchestrator notification deliveries` and `send-again`."""

import re
from typing import Any

import click

from orchestrator.cli.client import Api, connect
from orchestrator.cli.destinations import find_destination, where
from orchestrator.cli.names import flow_run_id
from orchestrator.cli.numbers import Number
from orchestrator.cli.options import json_option
from orchestrator.cli.output import Cell, command, duration, emit_json, exact, fields, moment, table
from orchestrator.cli.policies import EVENTS, find_policy

PATH = "deliveries/"
STATUSES = {"waiting": "cyan", "held": "yellow", "sent": "green", "failed": "red", "muted": "yellow"}
_HELD = {"burst": "with a burst", "repeat": "it keeps failing"}
_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")


@click.command("deliveries")
@click.argument("delivery", metavar="[DELIVERY]", default="")
@click.option("--status", type=click.Choice(list(STATUSES)), help="What became of it.")
@click.option("--policy", metavar="NOTIFICATION", help="Under this notification.")
@click.option("--to", "destination", metavar="DESTINATION", help="To this destination.")
@click.option("--run", metavar="RUN", help="Of this run: its id or name.")
@click.option("--limit", type=Number(1), default=20, show_default=True, help="How many at most.")
@json_option
def list_deliveries(
    delivery: str,
    status: str | None,
    policy: str | None,
    destination: str | None,
    run: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what was told, newest first; or show one DELIVERY (its id) with every answer of the service.

    \b
      orchestrator notification deliveries --status failed
      orchestrator notification deliveries 01a20520-ec8c
    """
    api = connect()
    if delivery:
        _show(_find(api, delivery), as_json)
        return
    query = {
        "status": status,
        "policy": find_policy(api, policy)["id"] if policy else None,
        "destination": find_destination(api, destination)["id"] if destination else None,
        "flow_run": flow_run_id(api, run) if run else None,
    }
    found = list(api.each(PATH, limit, **query))
    if as_json:
        emit_json(found)
    elif found:
        table(("ID", "TIME", "RUN", "STATE", "NOTIFICATION", "TO", "STATUS", "ANSWER"), map(_row, found))
    elif any(query.values()):
        click.echo("No delivery is like that.")
    else:
        click.echo("Nothing was told yet. A notification tells what happens after it was made.")


@click.command("send-again")
@click.argument("delivery", metavar="DELIVERY")
@json_option
def send_again(delivery: str, as_json: bool) -> None:
    """Send a delivery's message once more, whether it failed or was sent. DELIVERY is its id or the beginning of it.

    \b
      orchestrator notification send-again 01a20520-ec8c
    """
    api = connect()
    found = api.post(f"{PATH}{_find(api, delivery)['id']}/send-again/")
    if as_json:
        emit_json(found)
        return
    click.echo(f"It is sent again to {_to(found)}.")
    if not api.serves:
        click.echo(f"Messages are sent while a server runs: {command('server', 'start')}")
    click.echo(f"See the answer: {command('notification', 'deliveries', found['id'])}")


def _row(one: dict[str, Any]) -> list[Cell | str]:
    answer = one["last_answer"]
    return [
        one["id"],
        moment(one["occurred_at"]),
        one["flow_run"]["name"],
        EVENTS.get(one["event"], one["event"]),
        one["policy"]["name"] if one["policy"] else "",
        one["destination"]["name"] if one["destination"] else "",
        _status(one),
        answer if len(answer) <= 40 else answer[:39] + "…",
    ]


def _status(one: dict[str, Any]) -> Cell:
    why = f" ({_HELD.get(one['held_for'], one['held_for'])})" if one["status"] == "held" else ""
    return Cell(one["status"] + why, STATUSES.get(one["status"]))


def _to(one: dict[str, Any]) -> str:
    return where(one["destination"]) if one["destination"] else "a deleted destination"


def _show(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(one)
        return
    message = one["message"] or {"answers": [], "text": "", "count": 1, "tries": 0}
    lines = [f"{exact(said['at'])}  {said['text']} ({duration(said['seconds'])})" for said in message["answers"]]
    fields(
        [
            ("id", one["id"]),
            ("status", _status(one)),
            ("run", f"{one['flow_run']['name']} of {one['flow_run']['flow']} ({one['flow_run']['id']})"),
            ("state", EVENTS.get(one["event"], one["event"])),
            ("reason", one["reason"]),
            ("at", exact(one["occurred_at"])),
            ("notification", one["policy"]["name"] if one["policy"] else "a deleted one"),
            ("to", _to(one)),
            ("due", exact(one["due_at"])),
            ("gathered", f"{message['count']} in one message" if message["count"] > 1 else ""),
            ("message", message["text"]),
            ("answers", "\n".join(lines)),
        ]
    )


def _find(api: Api, text: str) -> dict[str, Any]:
    wanted = text.strip().lower()
    if not _ID.fullmatch(wanted):
        raise click.ClickException(
            f"{text!r} is no delivery's id. `orchestrator notification deliveries` lists them with their ids."
        )
    found = list(api.each(PATH, 2, id_prefix=wanted))
    if not found:
        raise click.ClickException(f"There is no delivery {text!r}. `orchestrator notification deliveries` lists them.")
    if len(found) > 1:
        raise click.ClickException(f"Several deliveries have an id that begins with {text}. Write more of it.")
    return dict(api.get(f"{PATH}{found[0]['id']}/"))
