"""Where a deployment's code comes from, on the command line: `--source`."""

import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from orchestrator.cli.client import Api
from orchestrator.cli.output import note
from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.snapshots.collecting import Collected, collect, in_words
from orchestrator.snapshots.environment import find_environment
from orchestrator.snapshots.pushing import max_bytes, push
from orchestrator.snapshots.roots import NoRoot, Root, find_root

SOURCE_HELP: Final = (
    "Where runs have their code from: snapshot, stored on the server; path, the folder on the worker as it is when a "
    "run starts; image, the container's own.  [snapshot]"
)
_SAID_BYTES: Final = 2 * 1024 * 1024  #: of files; an upload of more says how far it is


def root_of(entrypoint: str) -> Root:
    """Return the project that is deployed with an entrypoint. Raises ClickException."""
    path = Path(_target(entrypoint)).expanduser().absolute()
    try:
        return find_root(path.parent, path) if path.suffix == ".py" else find_root(Path.cwd())
    except NoRoot as error:
        raise click.ClickException(str(error)) from None


def code_of(
    api: Api, source: str, root: Root | None, found: dict[str, Any], team: str | None, environment: str | bool = True
) -> dict[str, Any]:
    """Return what a declaration says of its code, after storing a snapshot of it where that is the source.

    Args:
        source: As it was typed.
        root: Of the project, for a snapshot.
        found: What `inspect_flow` returned.
        team: Whose the deployment will be; None: the caller's own.
        environment: The file that says what a snapshot's code needs; True: look for one; False: none.

    Raises:
        ClickException: The folder cannot be taken.
    """
    if source in ("path", "image"):
        code = {"entrypoint": _relative(found["entrypoint"], found["directory"]), "directory": found["directory"]}
        return {**code, "source": {"kind": source}}
    if source != "snapshot" or root is None:
        raise click.UsageError(f"--source {source!r} is none; write snapshot, path or image.")
    file = file_of(found["entrypoint"])
    collected = snapshot_of(api, root, file)
    said = source_of(collected, file, environment)
    store(api, root, collected, team)
    return {**within_root(found, root), "source": said}


def source_of(collected: Collected, file: Path | None, environment: str | bool) -> dict[str, Any]:
    """Return a snapshot as a source, with the file of it that says what its code needs. Raises ClickException."""
    try:
        needs = find_environment(collected, file, environment)
    except OrchestratorError as error:
        raise click.ClickException(str(error)) from None
    return {"kind": "snapshot", "hash": collected.manifest.hash, **({"environment": needs} if needs else {})}


def within_root(found: dict[str, Any], root: Root) -> dict[str, Any]:
    """Return where a flow is, relative to its project's folder; runs work where it was deployed, if that is within."""
    folder = str(root.folder)
    here = os.path.realpath(found["directory"])
    directory = os.path.relpath(here, folder) if Path(here).is_relative_to(folder) else ""
    file = file_of(found["entrypoint"])
    entrypoint = found["entrypoint"] if file is None else _relative(_real(found["entrypoint"]), folder)
    return {"entrypoint": entrypoint, "directory": "" if directory == "." else directory}


def store(api: Api, root: Root, collected: Collected, team: str | None) -> str:
    """Bring a snapshot to the server, say what it is, and return its hash. Raises ClickException."""
    try:
        sent = push(api, collected, team=team, progress=_progress(collected)).sent
    except OrchestratorError as error:
        raise click.ClickException(str(error)) from None
    _tell(root, collected, sent)
    return collected.manifest.hash


def snapshot_of(api: Api, root: Root, file: Path | None = None) -> Collected:
    """Take a snapshot of a project's folder, and store nothing. Raises ClickException."""
    try:
        return collect(root, max_bytes(api), file)
    except OrchestratorError as error:
        raise click.ClickException(str(error)) from None


def _tell(root: Root, collected: Collected, sent: int) -> None:
    manifest = collected.manifest
    what = f"{len(manifest.entries):,} file{'s' if len(manifest.entries) != 1 else ''}, {in_words(manifest.size)}"
    where = (
        f"of {root.folder}" if root.only is None else f"of {root.only.name} alone, since {root.folder} is no project"
    )
    note(f"Snapshot {manifest.hash[:12]} {where}: {what}; {f'{in_words(sent)} sent' if sent else 'the server had it'}.")
    if collected.left_out:
        names = ", ".join(collected.left_out[:5])
        note(f"Left out: {names}. Secrets are better off elsewhere; !{collected.left_out[0]} in .orchestratorignore "
             "takes it along.")  # fmt: skip


def _progress(collected: Collected) -> Any:
    whole = collected.manifest.size
    if whole < _SAID_BYTES or not sys.stderr.isatty():
        return lambda *_: None

    def say(done: int, of: int) -> None:
        click.echo(f"\rStoring the snapshot: {done * 100 // of} %", err=True, nl=done == of)

    return say


def _target(entrypoint: str) -> str:
    target, colon, function = entrypoint.strip().rpartition(":")
    return target if colon and function.replace(".", "").isidentifier() else entrypoint.strip()


def file_of(entrypoint: str) -> Path | None:
    """The file of an entrypoint as `inspect_flow` returns it; None for a module."""
    target = _target(entrypoint)
    return Path(target) if os.path.isabs(target) else None


def _real(entrypoint: str) -> str:
    target = _target(entrypoint)
    return os.path.realpath(target) + entrypoint[len(target) :]


def _relative(entrypoint: str, directory: str) -> str:
    """Return a file's entrypoint relative to a directory where it lies below it."""
    target, colon, function = entrypoint.rpartition(":")
    if not os.path.isabs(target):
        return entrypoint
    try:
        return f"{Path(target).relative_to(directory)}{colon}{function}"
    except ValueError:
        return entrypoint
