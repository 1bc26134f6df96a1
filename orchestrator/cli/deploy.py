"""`orchestrator deploy`: says what a flow is, where it lies and when it runs; the server keeps the rest."""

from typing import Any

import click

from orchestrator.cli.block_values import read_overrides
from orchestrator.cli.changes import QUIET, report_changes
from orchestrator.cli.client import Api, connect
from orchestrator.cli.deploy_all import deploy_all
from orchestrator.cli.flow_inspection import inspect_flow
from orchestrator.cli.groups import SETTINGS
from orchestrator.cli.names import full_name
from orchestrator.cli.options import (
    CRASH_RETRIES,
    INFRA_OVERRIDE,
    INFRASTRUCTURE,
    ISOLATION,
    TASK_RUNNER,
    parameter_options,
    read_parameters,
)
from orchestrator.cli.output import command, emit_json, painted, upcoming
from orchestrator.cli.sources import SOURCE_HELP, code_of, root_of
from orchestrator.cli.specs import complete, spec_options
from orchestrator.cli.time_limits import time_limit_options, time_limits_of
from orchestrator.rest import TEAM


@click.command(context_settings=SETTINGS)
@click.argument("entrypoint", metavar="FILE.py:FLOW", required=False)
@click.option("--name", metavar="NAME", help="The deployment's own name, e.g. nightly.")
@click.option("--all", "every", is_flag=True, help="Instead of one: all that orchestrator.toml declares.")
@click.option("--prune", is_flag=True, help="With --all: delete what the file declared before and does no more.")
@click.option("--dry-run", is_flag=True, help="With --all: only show what would change.")
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
@spec_options
@parameter_options
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag for its runs; may be repeated.")
@click.option("--team", metavar="TEAM", help="The team that owns a new one.  [yours; ORCHESTRATOR_TEAM names another]")
@click.option("--queue", metavar="QUEUE", help="The work queue whose workers run it.  [default]")
@INFRASTRUCTURE
@INFRA_OVERRIDE
@ISOLATION
@TASK_RUNNER
@CRASH_RETRIES
@time_limit_options
@click.option("--source", "source_text", default="snapshot", metavar="SOURCE", help=SOURCE_HELP)
@click.option(
    "--environment",
    metavar="FILE",
    help="What its code needs, for an environment of its own that workers build with uv."
    "  [the flow's PEP 723 header, requirements.txt, or pyproject.toml]",
)
@click.option("--git-credentials", metavar="BLOCK", default="", help="The block that reads a private repository.")
@click.option("--no-environment", is_flag=True, help="Run it with what the worker has.")
@click.option("--description", metavar="TEXT", help="Instead of the flow's own.")
@click.option("--version", "version_", metavar="TEXT", help="Instead of the flow's own.")
@click.option("--paused", is_flag=True, help="Make a new one paused: its schedules wait for `deployment resume`.")
@click.option("--json", "as_json", is_flag=True, help="Print the deployment as JSON.")
def deploy(
    entrypoint: str | None,
    name: str | None,
    every: bool,
    prune: bool,
    dry_run: bool,
    yes: bool,
    spec: dict[str, Any],
    param: tuple[str, ...],
    params: str,
    tags: tuple[str, ...],
    team: str | None,
    queue: str | None,
    infrastructure: str | None,
    overrides: tuple[str, ...],
    isolation: str | None,
    task_runner: str | None,
    crash_retries: int | None,
    source_text: str,
    environment: str | None,
    git_credentials: str,
    no_environment: bool,
    description: str | None,
    version_: str | None,
    paused: bool,
    as_json: bool,
    **time_limits: str | None,
) -> None:
    """Make a deployment of a flow, or update it.

    A snapshot of the file's project is stored on the server, from where every worker has it: of the nearest folder
    with orchestrator.toml, pyproject.toml or .git, else of the file's own; without what .gitignore and
    .orchestratorignore leave out. The file is read in a process of its own; flows that it calls at its top level are
    not started. Running this again changes what you changed since, and keeps what was set in the browser.

    \b
      orchestrator deploy etl.py:etl --name nightly --cron "0 2 * * *" --timezone Europe/Paris
      orchestrator deploy etl.py:etl --name small --param limit=10
      orchestrator deploy --all
    """
    _check_usage(every, bool(entrypoint or name), bool(entrypoint and name), prune or dry_run or yes, spec)
    if every:
        deploy_all(team=team, prune=prune, yes=yes, dry_run=dry_run, as_json=as_json)
        return
    assert entrypoint  # or the usage is wrong
    root = root_of(source_text, entrypoint)
    found = inspect_flow(entrypoint, root)
    parameters = read_parameters(param, params, found["parameter_schema"])
    optional = {
        "queue": queue or None,
        "infrastructure": infrastructure,
        "isolation": isolation or None,
        "task_runner": task_runner,
        "crash_retries": crash_retries,
    }
    api = connect()
    declaration = {
        "flow": found["flow"],
        "name": name,
        **code_of(api, source_text, root, found, team, environment or not no_environment, git_credentials),
        "description": found["description"] if description is None else description,
        "version": found["version"] if version_ is None else version_,
        "parameters": parameters,
        "parameter_schema": found["parameter_schema"],
        "tags": list(tags),
        "paused": paused,
        **{field: said for field, said in optional.items() if said is not None},
        **time_limits_of(**time_limits),
        **({"schedules": [complete(spec)]} if spec else {}),
    }
    if overrides:
        declaration["infrastructure_overrides"] = read_overrides(api, infrastructure or "", overrides)
    deployment = api.post("deployments/", declaration, {TEAM: team} if team else None)
    if as_json:
        emit_json(deployment)
    else:
        _report(api, deployment)


def _check_usage(every: bool, names_any: bool, names_both: bool, of_all: bool, spec: dict[str, Any]) -> None:
    """Raise UsageError for options that do not go together."""
    if every and names_any:
        raise click.UsageError("--all deploys what orchestrator.toml declares: leave FILE.py:FLOW and --name out.")
    if every:
        return
    if not names_both:
        raise click.UsageError("Say which flow, and what the deployment is called: FILE.py:FLOW --name NAME; or --all.")
    if of_all:
        raise click.UsageError("--prune, --dry-run and --yes go with --all.")
    if spec and "kind" not in spec:
        raise click.UsageError("Say when: --weekly, --cron, --interval or --rrule; the rest needs one of them.")


def _report(api: Api, deployment: dict[str, Any]) -> None:
    changes = deployment["changes"]
    name = painted(deployment["name"], bold=True)
    if "name" in changes:
        click.echo(f"Created deployment {name}.")
    elif set(changes) - QUIET:
        click.echo(f"Updated deployment {name}:")
        report_changes(changes)
    elif changes:
        click.echo(f"Updated deployment {name}: its parameters' schema.")
    else:
        click.echo(f"Deployment {name} is as it was.")
    if kept := deployment.get("kept"):
        click.echo(f"Kept as set elsewhere: {', '.join(kept)}")
    _report_times(deployment)
    _report_next(api, deployment)


def _report_times(deployment: dict[str, Any]) -> None:
    """Print each schedule in words with its next times."""
    for schedule in deployment["schedules"]:
        click.echo(f"Schedule: {schedule['description']}{'' if schedule['active'] else ' (off)'}")
        for time in schedule["next_times"]:
            click.echo(f"  {upcoming(time)}")
    if deployment["paused"]:
        click.echo(
            f"It is paused. To let its schedules run it: {command('deployment', 'resume', full_name(deployment))}"
        )


def _report_next(api: Api, deployment: dict[str, Any]) -> None:
    """Say what to type next."""
    if not api.serves:
        click.echo(f"Nothing runs it until a server is up: {command('server', 'start')}")
    click.echo(f"Run it now: {command('deployment', 'run', full_name(deployment), '--watch')}")
