"""`orchestrator destination`."""

import re
import shlex
import sys
from typing import Any

import click

from orchestrator.cli.client import Api, connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_named
from orchestrator.cli.options import agreed, json_option, typed
from orchestrator.cli.output import Cell, command, emit_json, exact, fields, moment, table

PATH = "destinations/"
DESTINATION = click.argument("name", metavar="DESTINATION")
SECRET_OPTION = click.option(
    "--secret", metavar="TEXT", help="A webhook's own signing secret; `-` asks for it.  [one is made]"
)


@click.group(context_settings=SETTINGS)
def destination() -> None:
    """Make, try and pause the destinations of notifications: Slack, mail, webhooks and more.

    DESTINATION is a name, an id, or the beginning of one.
    """


def find_destination(api: Api, text: str) -> dict[str, Any]:
    """Return a destination by name, id or a beginning of either. Raises click.ClickException."""
    return find_named(api, PATH, "destination", text)


def where(one: dict[str, Any]) -> str:
    """Return a destination as people know it: `slack hooks.slack.com/… ('#data')`; without a name that was made up."""
    address = one["summary"] if one["summary"].startswith(one["kind"]) else f"{one['kind']} {one['summary']}"
    is_made_up = one["name"].lower() in re.sub("https?://", "", address.lower())
    return address if is_made_up else f"{address} ('{one['name']}')"


def without_dash(to: str) -> str:
    """Return `slack:https://…` for `slack:-`, after asking for the address; all else as it is."""
    kind = re.fullmatch(r"\s*([A-Za-z]+):\s*-\s*", to)
    return f"{kind[1]}:{typed(_label(kind[1]))}" if kind else to


def show_secrets(shown: list[tuple[str, str]]) -> None:
    """Print signing secrets, each alone on a line and the last on the last one."""
    for name, secret in shown:
        click.echo(f"The signing secret of '{name}' is shown only now. Give it to the receiver:")
        click.echo(secret)


def told(answers: list[tuple[dict[str, Any], dict[str, Any]]]) -> bool:
    """Print what each service said to a test; return whether all took it."""
    for one, said in answers:
        word = Cell("sent", "green") if said["ok"] else Cell("refused", "red")
        fields([(where(one), Cell(f"{word.text}: {said['text']}", word.colour))])
    return all(said["ok"] for _, said in answers)


@destination.command("ls")
@json_option
def list_destinations(as_json: bool) -> None:
    """List destinations.

    \b
      orchestrator destination ls
    """
    found = list(connect().each(PATH))
    if as_json:
        emit_json(found)
    elif found:
        table(("NAME", "KIND", "ADDRESS", "STATUS", "LAST ANSWER", "POLICIES"), map(_row, found))
    else:
        click.echo(f"No destinations yet. Make one: {command('destination', 'create', 'slack', '-')}")


def _row(one: dict[str, Any]) -> list[Cell | str]:
    return [
        one["name"], one["kind"], one["summary"], _status(one), _answer(one), ", ".join(one["policies"]),
    ]  # fmt: skip


def _status(one: dict[str, Any]) -> Cell:
    if one["paused"]:
        return Cell("paused: kept failing", "red") if one["gave_up"] else Cell("paused", "yellow")
    return Cell(f"failing, {one['failures']} in a row", "yellow") if one["failures"] else Cell("ok", "green")


def _answer(one: dict[str, Any]) -> str:
    text = one["last_answer"] if len(one["last_answer"]) <= 40 else one["last_answer"][:39] + "…"
    return f"{text} ({moment(one['last_answer_at'])})" if text else ""


@destination.command()
@click.argument("kind", metavar="KIND")
@click.argument("address", metavar="[ADDRESS]", default="")
@click.option("--name", metavar="NAME", default="", help="What it is called.  [made up]")
@SECRET_OPTION
@json_option
def create(kind: str, address: str, name: str, secret: str | None, as_json: bool) -> None:
    """Make a destination. KIND is slack, email, webhook or apprise.

    With `-` as the ADDRESS it is asked for unseen, or read from standard input: on the command line it would stay in
    your shell's history. A webhook's signing secret is printed once, alone on the last line.

    \b
      orchestrator destination create slack - --name "#data"
      orchestrator destination create email ops@example.com
      orchestrator destination create discord://WEBHOOK_ID/WEBHOOK_TOKEN
    """
    body: dict[str, Any] = {"name": name} if name else {}
    if address:
        body |= {"kind": kind.lower(), "address": typed(_label(kind)) if address == "-" else address}
    elif ":" in kind:
        body["address"] = without_dash(kind)
    else:
        raise click.UsageError(f"Write its address after {kind!r}, or `-` to type it unseen.")
    if secret is not None:
        body["secret"] = typed("Signing secret") if secret == "-" else secret
    made = connect().post(PATH, body)
    if as_json:
        emit_json(made)
        return
    click.echo(f"Made destination '{made['name']}': {made['kind']} {made['summary']}.")
    click.echo(f"Try it: {command('destination', 'test', shlex.quote(made['name']))}")
    if made["shown_once"]:
        show_secrets([(made["name"], made["shown_once"])])


@destination.command()
@DESTINATION
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a destination: how it does and which policies tell it. Its address and secret are not shown.

    \b
      orchestrator destination inspect "#data"
    """
    found = find_destination(connect(), name)
    if as_json:
        emit_json(found)
        return
    said = found["last_answer"] and f"{found['last_answer']} ({exact(found['last_answer_at'])})"
    fields(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("kind", found["kind"]),
            ("address", found["summary"]),
            ("status", _status(found)),
            ("paused", exact(found["paused_at"])),
            ("failing since", exact(found["failing_since"])),
            ("next try", exact(found["retry_at"])),
            ("last answer", said),
            ("policies", ", ".join(found["policies"])),
            ("made", exact(found["created_at"])),
        ]
    )


@destination.command("set")
@DESTINATION
@click.option("--name", "new_name", metavar="NEW", help="What it is called.")
@click.option("--address", metavar="ADDRESS", help="Where it sends; `-` asks for it.")
@SECRET_OPTION
@json_option
def change(name: str, new_name: str | None, address: str | None, secret: str | None, as_json: bool) -> None:
    """Change a destination's name, address or signing secret.

    \b
      orchestrator destination set "#data" --address -
    """
    given = {"name": new_name, "address": address, "secret": secret}
    body = {field: text for field, text in given.items() if text is not None}
    if not body:
        raise click.UsageError("Say what to change: --name, --address or --secret.")
    api = connect()
    found = find_destination(api, name)
    for field, label in (("address", _label(found["kind"])), ("secret", "Signing secret")):
        if body.get(field) == "-":
            body[field] = typed(label)
    changed = api.patch(f"{PATH}{found['id']}/", body)
    if as_json:
        emit_json(changed)
        return
    click.echo(f"Changed destination '{changed['name']}': {changed['kind']} {changed['summary']}.")
    if changed["shown_once"]:
        show_secrets([(changed["name"], changed["shown_once"])])


@destination.command()
@DESTINATION
@json_option
def test(name: str, as_json: bool) -> None:
    """Send a test there now and print what the service said; the exit code is 1 where it refused.

    \b
      orchestrator destination test "#data"
    """
    api = connect()
    found = find_destination(api, name)
    said = api.post(f"{PATH}{found['id']}/test/")
    if as_json:
        emit_json(said)
    else:
        told([(found, said)])
    sys.exit(0 if said["ok"] else 1)


@destination.command()
@DESTINATION
@json_option
def pause(name: str, as_json: bool) -> None:
    """Send nothing there until it is resumed; what comes meanwhile waits.

    \b
      orchestrator destination pause "#data"
    """
    _turn(name, "pause", as_json, "Paused destination '{}': what comes waits.")


@destination.command()
@DESTINATION
@json_option
def resume(name: str, as_json: bool) -> None:
    """Send there again, what waited first.

    \b
      orchestrator destination resume "#data"
    """
    _turn(name, "resume", as_json, "Resumed destination '{}': what waited is sent.")


@destination.command()
@DESTINATION
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a destination. What waits to be sent there is dropped.

    \b
      orchestrator destination delete "#data" --yes
    """
    api = connect()
    found = find_destination(api, name)
    agreed(f"destination '{found['name']}'", yes)
    api.delete(f"{PATH}{found['id']}/")
    click.echo(f"Deleted destination '{found['name']}'.")


def _turn(name: str, verb: str, as_json: bool, words: str) -> None:
    api = connect()
    found = api.post(f"{PATH}{find_destination(api, name)['id']}/{verb}/")
    if as_json:
        emit_json(found)
    else:
        click.echo(words.format(found["name"]))


def _label(kind: str) -> str:
    return {"slack": "Incoming webhook URL", "email": "Addresses", "webhook": "URL"}.get(kind.lower(), "Address")
