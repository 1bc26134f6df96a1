"""`orchestrator deployment webhook`: a secret address that runs a deployment."""

import click

from orchestrator.cli.client import connect
from orchestrator.cli.names import find_deployment
from orchestrator.cli.options import json_option
from orchestrator.cli.output import emit_json, exact, fields

DEPLOYMENT = click.argument("name", metavar="DEPLOYMENT")


@click.group()
def webhook() -> None:
    """A secret address that runs a deployment, with the body of the request as parameters."""


MAP = click.option(
    "--map", "pairs", metavar="PARAMETER=PATH", multiple=True,
    help="Where a parameter's value is in the body: day=event.date, id=commits.0.id; event=*: the whole body.",
)  # fmt: skip


@webhook.command("create")
@DEPLOYMENT
@MAP
@json_option
def create(name: str, pairs: tuple[str, ...], as_json: bool) -> None:
    """Make the address of a deployment's webhook, and print it, this once.

    \b
      orchestrator deployment webhook create etl/nightly --map day=event.date
    """
    mapping = _mapping(pairs)
    api = connect()
    found = find_deployment(api, name)
    _show(api.post(f"deployments/{found['id']}/webhook/", {"mapping": mapping}), found["name"], as_json)


@webhook.command("inspect")
@DEPLOYMENT
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a deployment's webhook: how its address begins, when it was used last, and its mapping.

    \b
      orchestrator deployment webhook inspect etl/nightly
    """
    api = connect()
    found = api.get(f"deployments/{find_deployment(api, name)['id']}/webhook/")
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("Address", f"/hooks/{found['prefix']}…"),
            ("Made", f"{exact(found['created_at'])}{' by ' + found['created_by'] if found['created_by'] else ''}"),
            ("Last used", exact(found["last_used_at"]) or "never"),
            ("Parameters", "\n".join(f"{parameter}={path}" for parameter, path in found["mapping"].items())),
        ]
    )


@webhook.command("set")
@DEPLOYMENT
@MAP
@json_option
def change(name: str, pairs: tuple[str, ...], as_json: bool) -> None:
    """Map the body to these parameters, in place of those before; without one, the body is not looked at.

    \b
      orchestrator deployment webhook set etl/nightly --map day=event.date --map event=*
    """
    mapping = _mapping(pairs)
    api = connect()
    found = find_deployment(api, name)
    changed = api.patch(f"deployments/{found['id']}/webhook/", {"mapping": mapping})
    if as_json:
        emit_json(changed)
    else:
        click.echo(f"The webhook of {found['name']} gives {', '.join(changed['mapping']) or 'no parameters'}.")


@webhook.command("rotate")
@DEPLOYMENT
@json_option
def rotate(name: str, as_json: bool) -> None:
    """Give a webhook another address; the one before is no longer good.

    \b
      orchestrator deployment webhook rotate etl/nightly
    """
    api = connect()
    found = find_deployment(api, name)
    _show(api.post(f"deployments/{found['id']}/webhook/rotate/"), found["name"], as_json)


@webhook.command("delete")
@DEPLOYMENT
def delete(name: str) -> None:
    """Take a deployment's webhook away.

    \b
      orchestrator deployment webhook delete etl/nightly
    """
    api = connect()
    found = find_deployment(api, name)
    api.delete(f"deployments/{found['id']}/webhook/")
    click.echo(f"{found['name']} has no webhook any more.")


def _mapping(pairs: tuple[str, ...]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        parameter, equals, path = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r}; write PARAMETER=PATH, as in day=event.date.", param_hint="--map")
        mapping[parameter.strip()] = path.strip()
    return mapping


def _show(made: dict[str, object], deployment: str, as_json: bool) -> None:
    if as_json:
        emit_json(made)
        return
    click.echo(f"{made['url']}")
    click.echo(f"POST JSON there to run {deployment}. It is shown this once: whoever has it can run it.", err=True)
