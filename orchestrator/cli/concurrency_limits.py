"""`orchestrator concurrency-limit`."""

import sys
from typing import Any

import click

from orchestrator.cli.client import Api, connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.numbers import Number, NumberCommand
from orchestrator.cli.options import agreed, json_option
from orchestrator.cli.output import Cell, command, emit_json, fields, moment, table

TAG = click.argument("tag", metavar="TAG")
LIMIT = click.argument("limit", metavar="LIMIT", type=Number(0, 10_000))
YES = click.option("--yes", is_flag=True, help="Do not ask.")
_PATH = "concurrency-limits/"


@click.group("concurrency-limit", context_settings=SETTINGS)
def concurrency_limit() -> None:
    """Concurrency limits: how many task runs with a tag at once.

    They hold over all flows, machines and scripts of a team. A task run over the limit waits in
    AwaitingConcurrencySlot, first come, first served.

    \b
      orchestrator concurrency-limit create prod-database 1
    """


@concurrency_limit.command(cls=NumberCommand)
@TAG
@LIMIT
@json_option
def create(tag: str, limit: int, as_json: bool) -> None:
    """Limit a tag. Task runs that run already go on, uncounted.

    \b
      orchestrator concurrency-limit create prod-database 1
    """
    made = connect().post(_PATH, {"tag": tag, "limit": limit})
    if as_json:
        emit_json(made)
        return
    click.echo(f"{made['tag']}: {_words(made)}.")
    click.echo(f"See who holds it: {command('concurrency-limit', 'inspect', made['tag'])}")


@concurrency_limit.command("ls")
@json_option
def list_limits(as_json: bool) -> None:
    """List the limits, with how many slots are held and waited for.

    \b
      orchestrator concurrency-limit ls
    """
    found = list(connect().each(_PATH))
    if as_json:
        emit_json(found)
        return
    if not found:
        click.echo(f"No tag is limited yet. Limit one: {command('concurrency-limit', 'create', 'prod-database', '1')}")
        return
    rows = [[row["tag"], _used(row), str(row["limit"]), str(row["waiting"] or "")] for row in found]
    table(("TAG", "USED", "LIMIT", "WAITING"), rows)


@concurrency_limit.command()
@TAG
@json_option
def inspect(tag: str, as_json: bool) -> None:
    """Show who holds a limit's slots, and who waits in which order.

    \b
      orchestrator concurrency-limit inspect prod-database
    """
    api = connect()
    found = api.get(f"{_PATH}{_find(api, tag)['id']}/")
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("tag", found["tag"]),
            ("id", found["id"]),
            ("limit", str(found["limit"])),
            ("used", _used(found)),
            ("held by", _lines(found["holders"], "granted_at", found["used"])),
            ("waiting", _lines(found["waiters"], "asked_at", found["waiting"])),
        ]
    )


@concurrency_limit.command("set", cls=NumberCommand)
@TAG
@LIMIT
@json_option
def change(tag: str, limit: int, as_json: bool) -> None:
    """Allow another number at once. Who holds a slot over a lower limit goes on.

    \b
      orchestrator concurrency-limit set prod-database 4
    """
    api = connect()
    changed = api.patch(f"{_PATH}{_find(api, tag)['id']}/", {"limit": limit})
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"{changed['tag']}: {_words(changed)}.")


@concurrency_limit.command()
@TAG
@YES
@json_option
def reset(tag: str, yes: bool, as_json: bool) -> None:
    """Free every slot that is held; who waits starts.

    Task runs that hold one go on, uncounted. It is for slots whose task runs are known to be gone.

    \b
      orchestrator concurrency-limit reset prod-database --yes
    """
    api = connect()
    found = _find(api, tag)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"This frees {_slots(found)} of {found['tag']}. Say --yes, without a terminal.")
        click.confirm(f"Free {_slots(found)} of {found['tag']}, whoever holds them?", abort=True)
    freed = api.post(f"{_PATH}{found['id']}/reset/", {})
    if as_json:
        emit_json(freed)
    else:
        click.echo(f"Freed {freed['freed']} of {found['tag']}.")


@concurrency_limit.command()
@TAG
@YES
def delete(tag: str, yes: bool) -> None:
    """Limit a tag no longer: who waits for it alone starts.

    \b
      orchestrator concurrency-limit delete prod-database --yes
    """
    api = connect()
    found = _find(api, tag)
    agreed(f"the limit of {found['tag']}", yes)
    api.delete(f"{_PATH}{found['id']}/")
    click.echo(f"Deleted the limit of {found['tag']}.")


def _find(api: Api, text: str) -> dict[str, Any]:
    """Return a limit by its tag or id. Raises click.ClickException: there is none, or two teams have one."""
    found = list(api.each(_PATH, 2, tag=text.strip())) or [row for row in api.each(_PATH) if row["id"] == text]
    if not found:
        raise click.ClickException(f"There is no limit of {text!r}. `orchestrator concurrency-limit ls` lists them.")
    if len(found) > 1:
        raise click.ClickException(f"Several teams limit {text!r}: {found[0]['id']} or {found[1]['id']}. Write the id.")
    return dict(found[0])


def _words(limit: dict[str, Any]) -> str:
    number = limit["limit"]
    return f"at most {number} task run{'' if number == 1 else 's'} at once" if number else "no task run may run"


def _slots(limit: dict[str, Any]) -> str:
    return f"{limit['used']} held slot{'' if limit['used'] == 1 else 's'}"


def _used(limit: dict[str, Any]) -> Cell:
    is_full = limit["used"] >= limit["limit"]
    return Cell(str(limit["used"]), "yellow" if is_full else None)


def _lines(slots: list[dict[str, Any]], since: str, total: int) -> str:
    lines = [f"{slot['name']}  of {slot['flow_run_name']}  since {moment(slot[since])}" for slot in slots]
    return "\n".join([*lines, *([f"and {total - len(slots)} more"] if total > len(slots) else [])])
