"""`orchestrator deploy --all`: the deployments that a file declares, compared with what is there, then applied."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import click

from orchestrator.cli import project_file
from orchestrator.cli.changes import report_changes
from orchestrator.cli.client import Api, ApiError, connect
from orchestrator.cli.flow_inspection import inspect_flow
from orchestrator.cli.output import command, emit_json, painted
from orchestrator.cli.project_file import Declared, ProjectFile
from orchestrator.cli.sources import code_of, file_of, root_of, snapshot_of, source_of, store, within_root
from orchestrator.cli.specs import complete
from orchestrator.rest import TEAM
from orchestrator.snapshots.roots import NoRoot, Root, find_root

_AT_ONCE: Final = 4  #: files that are loaded, each in a process of its own
_SIGNS: Final = {
    "create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red"), "abandon": ("?", "yellow"),
    "keep": (" ", None),
}  # fmt: skip


def deploy_all(*, team: str | None, prune: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Apply the nearest file of declarations. Raises ClickException; nothing is changed then."""
    file = project_file.read(project_file.find(Path.cwd()))
    api = connect()
    project = _Project(api, file, team)
    body = {"project": file.project, "deployments": project.declarations(), "prune": prune}
    planned = _apply(api, file, team, {**body, "dry_run": True})
    changes = [one for one in planned if one["action"] not in ("keep", "abandon")]
    if not as_json:
        _show(file, planned)
    if dry_run or not changes:
        if as_json:
            emit_json({"dry_run": dry_run, "deployments": planned})
        return
    _ask(len(changes), yes or as_json)
    project.store()
    applied = _apply(api, file, team, {**body, "dry_run": False})
    if as_json:
        emit_json({"dry_run": False, "deployments": applied})
    else:
        click.echo(f"Applied: {_counted(applied)}.")


class _Project:
    """A file's deployments with what their flows say, and the one snapshot that they share."""

    def __init__(self, api: Api, file: ProjectFile, team: str | None) -> None:
        self._api, self._file, self._team = api, file, team
        self._folder = file.path.parent
        self._root = _root_of(file) if any(one.source == "snapshot" for one in file.deployments) else None
        self._snapshot = snapshot_of(api, self._root) if self._root is not None else None

    def declarations(self) -> list[dict[str, Any]]:
        """Load every flow, and return what to send. Raises ClickException with all that cannot be loaded."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(self._inspected, self._file.deployments))
        if wrong := [one for one in found if isinstance(one, str)]:
            raise click.ClickException(f"{self._file.path}:\n" + "\n".join(f"  {line}" for line in wrong))
        return [
            self._declaration(one, flow)
            for one, flow in zip(self._file.deployments, found, strict=True)
            if isinstance(flow, dict)
        ]

    def store(self) -> None:
        """Bring the snapshot to the server."""
        if self._snapshot is not None and self._root is not None:
            store(self._api, self._root, self._snapshot, self._team)

    def _inspected(self, one: Declared) -> dict[str, Any] | str:
        try:
            root = self._root if one.source == "snapshot" else root_of(one.source, one.entrypoint, self._folder)
            return inspect_flow(one.entrypoint, root, directory=self._folder)
        except click.ClickException as error:
            return f"{one.where}: {error.message}"

    def _declaration(self, one: Declared, flow: dict[str, Any]) -> dict[str, Any]:
        if one.source == "snapshot":
            assert self._root is not None
            assert self._snapshot is not None
            source = source_of(self._snapshot, file_of(flow["entrypoint"]), one.environment)
            code = {**within_root(flow, self._root), "directory": "", "source": source}
        else:
            code = code_of(
                self._api,
                one.source,
                root_of(one.source, one.entrypoint, self._folder),
                flow,
                self._team,
                one.environment,
                one.credentials,
            )
        told = {name: flow[name] for name in ("flow", "description", "version", "parameter_schema")}
        schedules = [complete(schedule) for schedule in one.fields["schedules"]]
        return {**told, **code, **one.fields, "name": one.name, "schedules": schedules}


def _root_of(file: ProjectFile) -> Root:
    try:
        return find_root(file.path.parent)
    except NoRoot as error:
        raise click.ClickException(str(error)) from None


def _apply(api: Api, file: ProjectFile, team: str | None, body: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        answer = api.post("deployments/apply/", body, {TEAM: team} if team else None)
    except ApiError as error:
        raise click.ClickException(_told(file, error)) from None
    return list(answer["deployments"])


def _told(file: ProjectFile, error: ApiError) -> str:
    """Return what the server says of each deployment, by the name that it has in the file."""
    problems = error.problem.get("errors") or [error.problem]
    lines = []
    for problem in problems:
        where, _, rest = str(problem.get("field", "")).removeprefix("deployments.").partition(".")
        name = file.deployments[int(where)].where if where.isdecimal() and int(where) < len(file.deployments) else ""
        lines.append(": ".join(filter(None, (name, rest, str(problem.get("message", ""))))))
    return f"{file.path}: nothing was changed.\n" + "\n".join(f"  {line}" for line in lines)


def _show(file: ProjectFile, planned: list[dict[str, Any]]) -> None:
    """Print the plan."""
    for one in planned:
        sign, colour = _SIGNS[one["action"]]
        if one["action"] == "keep":
            continue
        click.echo(painted(f"{sign} {one['name']}", colour, bold=True) + _aside(one["action"]))
        if one["action"] == "update":
            report_changes(one["changes"])
        if one["kept"] and one["action"] == "update":
            click.echo(f"    kept as set elsewhere: {', '.join(one['kept'])}")
    counted = _counted(planned)
    click.echo(f"{counted[:1].upper()}{counted[1:]}." if planned else f"{file.path} declares no deployment.")


def _aside(action: str) -> str:
    if action == "abandon":
        return f" is not in the file any more, and stays. {command('deploy', '--all', '--prune')} deletes it."
    return " and its schedules; its runs stay" if action == "delete" else ""


def _counted(applied: list[dict[str, Any]]) -> str:
    words = {"create": "to create", "update": "to change", "delete": "to delete", "keep": "as declared"}
    counts = {action: sum(one["action"] == action for one in applied) for action in words}
    return ", ".join(f"{count} {words[action]}" for action, count in counts.items() if count) or "nothing to do"


def _ask(count: int, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Say --yes to apply this: no terminal is there to ask on. --dry-run only shows it.")
    click.confirm("Apply it?", abort=True)
