"""Where a deployment's code comes from, on the command line: `--source`."""

import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from orchestrator.cli.client import Api
from orchestrator.cli.output import note
from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.sdk.sources.kinds import read_source
from orchestrator.snapshots.collecting import Collected, collect, in_words
from orchestrator.snapshots.environment import find_environment, named_by
from orchestrator.snapshots.pushing import max_bytes, push
from orchestrator.snapshots.roots import NoRoot, Root, find_root

SOURCE_HELP: Final = (
    "Where runs have their code from: snapshot, stored on the server; path, the folder on the worker as it is when a "
    "run starts; git:URL@REF, a branch, tag or commit of a repository; image, the container's own.  [snapshot]"
)
GIT: Final = "git:"
_SAID_BYTES: Final = 2 * 1024 * 1024  #: of files; an upload of more says how far it is


def root_of(source: str, entrypoint: str, directory: Path | None = None) -> Root | None:
    """Return the folder of all of the code that a deployment's runs will have; None where that is on the worker.

    Args:
        source: As it was typed.
        entrypoint: The flow's.
        directory: Where to look for it; here by default.

    Raises:
        ClickException: There is no such folder.
    """
    path = Path(directory or Path.cwd(), Path(_target(entrypoint)).expanduser()).absolute()
    file = path if path.suffix == ".py" else None
    start = path.parent if file is not None else (directory or Path.cwd())
    if source.startswith(GIT):
        return Root(_clone(start.resolve()))
    try:
        return find_root(start, file) if source == "snapshot" else None
    except NoRoot as error:
        raise click.ClickException(str(error)) from None


def _clone(start: Path) -> Path:
    """Return the folder of the clone that a folder is in. Raises ClickException."""
    top = next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), None)
    if top is None:
        raise click.ClickException(f"{start} is in no clone of a repository. Deploy from one.")
    return top


def code_of(
    api: Api,
    source: str,
    root: Root | None,
    found: dict[str, Any],
    team: str | None,
    environment: str | bool = True,
    credentials: str = "",
) -> dict[str, Any]:
    """Return what a declaration says of its code, after storing a snapshot of it where that is the source.

    Args:
        source: As it was typed.
        root: Of the project, for a snapshot.
        found: What `inspect_flow` returned.
        team: Whose the deployment will be; None: the caller's own.
        environment: The file that says what its code needs; True: look for one; False: none.
        credentials: The block that reads a private repository.

    Raises:
        ClickException: The folder cannot be taken.
    """
    if source in ("path", "image"):
        code = {"entrypoint": _relative(found["entrypoint"], found["directory"]), "directory": found["directory"]}
        return {**code, "source": {"kind": source}}
    if source.startswith(GIT):
        assert root is not None
        return _from_git(source.removeprefix(GIT), root, found, environment, credentials)
    if source != "snapshot" or root is None:
        raise click.UsageError(f"--source {source!r} is none; write snapshot, path, git:URL@REF or image.")
    file = file_of(found["entrypoint"])
    collected = snapshot_of(api, root, file)
    said = source_of(collected, file, environment)
    store(api, root, collected, team)
    return {**within_root(found, root), "source": said}


def _from_git(
    address: str, root: Root, found: dict[str, Any], environment: str | bool, credentials: str
) -> dict[str, Any]:
    """Return what a declaration says of code in a repository that is cloned here. Raises ClickException."""
    url, ref = _parted(address)
    try:
        read_source({"kind": "git", "url": url, "ref": ref})
        needs = named_by(root.folder, file_of(found["entrypoint"])) if environment is True else environment or ""
    except OrchestratorError as error:
        raise click.UsageError(f"--source git: {error}") from None
    note(f"Runs have the code that is at {ref or 'the default branch'} of {url} when they start, not what is here.")
    said = {"kind": "git", "url": url, **({"ref": ref} if ref else {}), **({"environment": needs} if needs else {})}
    if credentials:
        said["credentials"] = credentials
    return {**within_root(found, root), "source": said}


def _parted(address: str) -> tuple[str, str]:
    """Part URL@REF: what is after the last @ of the path, not that of user@host."""
    scheme, mark, rest = address.rpartition("://")
    host, slash, path = rest.partition("/") if mark else rest.partition(":")
    path, _, ref = path.rpartition("@") if "@" in path else (path, "", "")
    return f"{scheme}{mark}{host}{slash}{path}", ref


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
