"""`orchestrator notification`."""

import shlex
import sys
from typing import Any

import click

from orchestrator.cli.client import connect
from orchestrator.cli.deliveries import list_deliveries, send_again
from orchestrator.cli.destinations import show_secrets, told, where
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import flow_run_id
from orchestrator.cli.options import agreed, json_option, text_or_file
from orchestrator.cli.output import Cell, command, emit_json, exact, fields, note, painted, table
from orchestrator.cli.policies import (
    LONG_RUNNING,
    PATH,
    body_of,
    find_policy,
    policy_options,
    sentence,
    states_of,
    subject_of,
)

POLICY = click.argument("name", metavar="NOTIFICATION")
RUN_OPTION = click.option("--run", metavar="RUN", help="A past run: its id or name.")


@click.group(context_settings=SETTINGS)
def notification() -> None:
    """Be told of runs that fail, crash, recover or take long: in Slack, by mail, by webhook and elsewhere.

    NOTIFICATION is the name of a policy, its id, or the beginning of one.

    \b
      orchestrator notification create --to slack:- --state FAILED
    """


for _command in (list_deliveries, send_again):
    notification.add_command(_command)


@notification.command()
@policy_options
@json_option
def create(as_json: bool, **given: Any) -> None:
    """Make a notification: which states, of which runs, are told where.

    Without --flow, --deployment and --tag it is about every run. --message is a template, which sees flow_run, flow,
    deployment, state, event, reason, time, timezone, url, log_lines, policy and team.

    \b
      orchestrator notification create --to slack:https://hooks.slack.com/services/… --state FAILED
      orchestrator notification create --to email:ops@example.com --flow 'etl-*' --state CRASHED --name crashes
      orchestrator notification create --to "#data" --longer-than 45m
      orchestrator notification create --to slack:- --message "{{ flow.name }} broke at {{ time }}: {{ reason }}"
    """
    if not given["to"]:
        raise click.UsageError("Say where: --to slack:URL, --to email:ADDRESS, or --to with a destination's name.")
    if given["longer_than"]:
        given["states"] = tuple(dict.fromkeys((*given["states"], LONG_RUNNING)))
    api = connect()
    made = api.post(PATH, body_of(**given))
    if as_json:
        emit_json(made)
        return
    click.echo(f"Made notification '{made['name']}'.")
    click.echo(sentence(made))
    if not api.serves:
        click.echo(f"Messages are sent while a server runs: {command('server', 'start')}")
    click.echo(f"Try it: {command('notification', 'test', shlex.quote(made['name']))}")
    show_secrets([(one["destination"], one["secret"]) for one in made["shown_once"]])


@notification.command("ls")
@json_option
def list_policies(as_json: bool) -> None:
    """List notifications.

    \b
      orchestrator notification ls
    """
    found = list(connect().each(PATH))
    if as_json:
        emit_json(found)
    elif found:
        table(("NAME", "STATES", "OF", "TO", "STATUS"), map(_row, found))
    else:
        example = command("notification", "create", "--to", "slack:-", "--state", "FAILED")
        click.echo(f"No notifications yet. Make one: {example}")


def _row(one: dict[str, Any]) -> list[Cell | str]:
    to = ", ".join(there["name"] for there in one["destinations"])
    status = Cell("paused", "yellow") if one["paused"] else Cell("on", "green")
    return [one["name"], states_of(one), subject_of(one), to, status]


@notification.command()
@POLICY
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a notification: what it tells, of what, where and in which words.

    \b
      orchestrator notification inspect "Failed to #data"
    """
    found = find_policy(connect(), name)
    if as_json:
        emit_json(found)
        return
    fields(
        [
            ("name", found["name"]),
            ("id", found["id"]),
            ("states", states_of(found)),
            ("of", subject_of(found)),
            ("to", "\n".join(where(one) for one in found["destinations"])),
            ("paused", Cell("yes", "yellow") if found["paused"] else ""),
            ("message", found["message"] or "the usual one"),
            ("log lines", str(found["log_lines"])),
            ("timezone", found["timezone"] or "the server's"),
            ("burst limit", f"{found['burst_limit']} messages a minute"),
            ("made", exact(found["created_at"])),
        ]
    )


@notification.command("set")
@POLICY
@policy_options
@json_option
def change(name: str, as_json: bool, **given: Any) -> None:
    """Change a notification: what is given replaces what it has; `--tag ""` takes its tags away.

    \b
      orchestrator notification set crashes --flow etl --flow 'load-*' --log-lines 10
    """
    api = connect()
    found = find_policy(api, name)
    if given["longer_than"]:
        given["states"] = tuple(dict.fromkeys((*(given["states"] or found["events"]), LONG_RUNNING)))
    body = body_of(**given)
    if not body:
        raise click.UsageError("Say what to change, e.g. --state, --flow, --to or --message. See --help.")
    changed = api.patch(f"{PATH}{found['id']}/", body)
    if as_json:
        emit_json(changed)
        return
    click.echo(f"Changed notification '{changed['name']}'.")
    click.echo(sentence(changed))
    show_secrets([(one["destination"], one["secret"]) for one in changed["shown_once"]])


@notification.command()
@POLICY
@RUN_OPTION
@json_option
def test(name: str, run: str | None, as_json: bool) -> None:
    """Send a test to each of its destinations now and print what the service said.

    The exit code is 1 where one refused. With --run the message is the one of that run.

    \b
      orchestrator notification test crashes
    """
    api = connect()
    found = find_policy(api, name)
    body = {"flow_run": flow_run_id(api, run)} if run else {}
    said = api.post(f"{PATH}{found['id']}/test/", body)["results"]
    if as_json:
        emit_json(said)
        all_took_it = all(one["ok"] for one in said)
    else:
        all_took_it = told([(one["destination"], one) for one in said])
    sys.exit(0 if all_took_it else 1)


@notification.command()
@POLICY
@RUN_OPTION
@click.option("--message", metavar="TEXT|@FILE", help="Try this template instead of its own.")
@json_option
def preview(name: str, run: str | None, message: str | None, as_json: bool) -> None:
    """Show what it would say of a past run: of --run, else of the newest that failed. Nothing is sent.

    \b
      orchestrator notification preview crashes --run fuzzy-leopard
    """
    api = connect()
    body = {"policy": find_policy(api, name)["id"]}
    if run:
        body["flow_run"] = flow_run_id(api, run)
    if message is not None:
        body["message"] = text_or_file(message, "--message")
    said = api.post(f"{PATH}preview/", body)
    if as_json:
        emit_json(said)
        return
    note(f"To read in lists: {said['title']}")
    click.echo(said["text"])
    for line in said["log_lines"]:
        click.echo(painted(f"  {line}", dim=True))
    if said["url"]:
        click.echo(f"{said['url_label']}: {said['url']}")


@notification.command()
@POLICY
@json_option
def pause(name: str, as_json: bool) -> None:
    """Tell nothing until it is resumed. What happens meanwhile is not told later.

    \b
      orchestrator notification pause crashes
    """
    _turn(name, "pause", as_json, "Paused notification '{}'.")


@notification.command()
@POLICY
@json_option
def resume(name: str, as_json: bool) -> None:
    """Tell again what happens from now on.

    \b
      orchestrator notification resume crashes
    """
    _turn(name, "resume", as_json, "Resumed notification '{}'.")


@notification.command()
@POLICY
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a notification. Its destinations stay; what waits under it is not sent.

    \b
      orchestrator notification delete crashes --yes
    """
    api = connect()
    found = find_policy(api, name)
    agreed(f"notification '{found['name']}'", yes)
    api.delete(f"{PATH}{found['id']}/")
    click.echo(f"Deleted notification '{found['name']}'.")


def _turn(name: str, verb: str, as_json: bool, words: str) -> None:
    api = connect()
    found = api.post(f"{PATH}{find_policy(api, name)['id']}/{verb}/")
    if as_json:
        emit_json(found)
    else:
        click.echo(words.format(found["name"]))
