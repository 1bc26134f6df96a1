"""`orchestrator block`."""

from typing import Any

import click

from orchestrator.cli.block_values import block_type, option_of, read_values
from orchestrator.cli.client import connect
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import find_deployment, find_named
from orchestrator.cli.options import agreed, json_option
from orchestrator.cli.output import command, emit_json, exact, fields, table, value

PATH = "blocks/"
NAME = click.argument("name", metavar="NAME")
SETTINGS_OF_TYPE = click.argument("settings", metavar="[--FIELD VALUE]...", nargs=-1, type=click.UNPROCESSED)
DESCRIPTION = click.option("--description", metavar="TEXT", help="What it is for.")
OPEN = click.option(
    "--open",
    "opened",
    multiple=True,
    metavar="FIELD",
    help="A field that deployments and runs may override; may be repeated. '' opens none.",
)


@click.group(context_settings=SETTINGS)
def block() -> None:
    """Blocks: where runs execute, and the credentials that workers need for that.

    A deployment names a block; changing the block moves its next runs.

    \b
      orchestrator block create process small --memory-mb 512 --environment TZ=UTC
      orchestrator deployment set etl/nightly --infrastructure small
    """


@block.group("type", context_settings=SETTINGS)
def types() -> None:
    """The types that a block can be of."""


@types.command("ls")
@json_option
def list_types(as_json: bool) -> None:
    """List the types of blocks.

    \b
      orchestrator block type ls
    """
    found = connect().get("block-types/")
    if as_json:
        emit_json(found)
        return
    table(("TYPE", "WHAT IT DOES"), [[one["name"], one["summary"]] for one in found])
    click.echo(f"See its options: {command('block', 'type', 'inspect', 'process')}")


@types.command("inspect")
@click.argument("name", metavar="TYPE")
@json_option
def inspect_type(name: str, as_json: bool) -> None:
    """Show a type: what it does, its risk, and an option for each of its fields.

    \b
      orchestrator block type inspect process
    """
    found = block_type(connect(), name)
    if as_json:
        emit_json(found)
        return
    fields([("type", found["name"]), ("does", found["summary"]), ("risk", found["risk"])])
    if found["fields"]:
        click.echo()
        table(("OPTION", "TAKES", "WHAT IT IS"), map(_field_row, found["fields"]))


def _field_row(field: dict[str, Any]) -> list[str]:
    takes = " | ".join(field["choices"]) or field["unit"] or field["shape"]
    notes = ", ".join(word for word in ("required", "secret") if field[word])
    return [option_of(field), takes, f"{field['help']}{f' ({notes})' if notes else ''}"]


@block.command(context_settings={"ignore_unknown_options": True})
@click.argument("type_", metavar="TYPE")
@NAME
@SETTINGS_OF_TYPE
@DESCRIPTION
@OPEN
@json_option
def create(
    type_: str, name: str, settings: tuple[str, ...], description: str | None, opened: tuple[str, ...], as_json: bool
) -> None:
    """Make a block. Its options are those of its type: `orchestrator block type inspect TYPE` lists them.

    A list or a mapping is given one entry an option. A secret may be `-`, which asks for it unseen or reads it from
    standard input, or @FILE.

    \b
      orchestrator block create process small --memory-mb 512 --cpu-seconds 60
      orchestrator block create registry-credentials ghcr --registry ghcr.io --username me --password -
    """
    api = connect()
    body: dict[str, Any] = {"type": type_, "name": name, "values": read_values(block_type(api, type_), settings)}
    body |= _described(description, opened)
    made = api.post(PATH, body)
    if as_json:
        emit_json(made)
        return
    click.echo(f"Made block '{made['name']}': {_words(made)}.")
    if any(one["name"] == type_ and one["is_infrastructure"] for one in api.get("block-types/")):
        click.echo(f"Use it: {command('block', 'use', made['name'], 'FLOW/DEPLOYMENT')}")


@block.command("ls")
@click.option("--type", "type_", metavar="TYPE", help="Of this type.")
@json_option
def list_blocks(type_: str | None, as_json: bool) -> None:
    """List blocks.

    \b
      orchestrator block ls --type process
    """
    found = list(connect().each(PATH, type=type_))
    if as_json:
        emit_json(found)
    elif found:
        rows = [[one["name"], one["type"], str(one["deployments"] or ""), _values(one, ", ")] for one in found]
        table(("NAME", "TYPE", "DEPLOYMENTS", "VALUES"), rows)
    else:
        click.echo(f"No blocks yet. Make one: {command('block', 'create', 'process', 'small', '--memory-mb', '512')}")


@block.command()
@NAME
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a block. Of its secrets only which are set.

    \b
      orchestrator block inspect small
    """
    found = find_named(connect(), PATH, "block", name)
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("type", found["type"]),
            ("description", found["description"]),
            ("values", _values(found, "\n")),
            ("secrets set", ", ".join(found["secrets_set"])),
            ("may be overridden", ", ".join(found["opened"])),
            ("version", str(found["version"])),
            ("deployments", str(found["deployments"])),
            ("changed", exact(found["updated_at"])),
        ]
    )


@block.command("set", context_settings={"ignore_unknown_options": True})
@NAME
@SETTINGS_OF_TYPE
@click.option("--name", "new_name", metavar="NEW", help="What it is called.")
@DESCRIPTION
@OPEN
@json_option
def change(
    name: str,
    settings: tuple[str, ...],
    new_name: str | None,
    description: str | None,
    opened: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change a block: the next runs find it changed. `--FIELD=` takes a field back to its default.

    \b
      orchestrator block set small --memory-mb 1024 --cpu-seconds=
      orchestrator block set small --open memory_mb --open environment
    """
    body: dict[str, Any] = {"name": new_name} if new_name else {}
    body |= _described(description, opened)
    if not body and not settings:
        raise click.UsageError("Say what to change: --FIELD VALUE, --name, --description or --open.")
    api = connect()
    found = find_named(api, PATH, "block", name)
    if settings:
        body["values"] = read_values(block_type(api, found["type"]), settings)
    changed = api.patch(f"{PATH}{found['id']}/", body)
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"Changed block '{changed['name']}': {_words(changed)}.")


@block.command()
@NAME
@click.argument("deployments", metavar="DEPLOYMENT...", nargs=-1, required=True)
@json_option
def use(name: str, deployments: tuple[str, ...], as_json: bool) -> None:
    """Have deployments execute there, from their next runs on: all that are named, or none.

    \b
      orchestrator block use small etl/nightly etl/hourly
    """
    api = connect()
    found = find_named(api, PATH, "block", name)
    chosen = [find_deployment(api, one) for one in deployments]
    changed = api.post(f"{PATH}{found['id']}/deployments/", {"deployments": [one["id"] for one in chosen]})
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"{', '.join(one['name'] for one in chosen)}: next runs execute in '{changed['name']}'.")


@block.command()
@NAME
@click.option("--deployment", metavar="FLOW/DEPLOYMENT", help="One that executes there: with what it overrides.")
@json_option
def preview(name: str, deployment: str | None, as_json: bool) -> None:
    """Show what a worker asks of an engine: the manifest of a Kubernetes Job, or what a container is made of.

    It holds no secret. The run's id in it stands for that of a run.

    \b
      orchestrator block preview jobs | kubectl apply --dry-run=server -f -
      orchestrator block preview jobs --deployment etl/nightly --json
    """
    api = connect()
    found = find_named(api, PATH, "block", name)
    query = {"deployment": find_deployment(api, deployment)["id"]} if deployment else {}
    said = api.get(f"{PATH}{found['id']}/preview/", **query)
    if as_json:
        emit_json(said["preview"])
    elif said["preview"] is None:
        click.echo(f"'{found['name']}' is {found['type']}: its runs ask no engine.")
    else:
        click.echo(said["yaml"], nl=False)


@block.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a block that no deployment and no other block uses.

    \b
      orchestrator block delete small --yes
    """
    api = connect()
    found = find_named(api, PATH, "block", name)
    agreed(f"block '{found['name']}'", yes)
    api.delete(f"{PATH}{found['id']}/")
    click.echo(f"Deleted block '{found['name']}'.")


def _described(description: str | None, opened: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {} if description is None else {"description": description}
    if opened:
        said["opened"] = [field.replace("-", "_") for field in opened if field]
    return said


def _words(one: dict[str, Any]) -> str:
    values = _values(one, ", ")
    return f"{one['type']}{f' with {values}' if values else ''}"


def _values(one: dict[str, Any], between: str) -> str:
    return between.join(f"{name}={value(found)}" for name, found in one["values"].items())
