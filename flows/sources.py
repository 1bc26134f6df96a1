"""What a deployment says of its code, checked: the kind, its values, and that directory and file lie within."""

import posixpath
from collections.abc import Mapping
from typing import Any, Protocol

from django.core.exceptions import ValidationError

from flows.snapshots import Snapshot
from orchestrator.sdk.sources.kinds import BadSource, is_rooted, read_source, said_of
from teams.models import Team


class Coded(Protocol):
    """What has code: a declaration or a deployment."""

    entrypoint: str
    directory: str
    source: Mapping[str, Any]


def checked_source(coded: Coded) -> dict[str, Any]:
    """Return a source in its normal form; a path, which is the default, is empty.

    Raises:
        ValidationError: By `source`, `directory` or `entrypoint`.
    """
    try:
        source = read_source(coded.source)
    except BadSource as error:
        raise ValidationError({"source": str(error)}) from None
    if source.is_rooted:
        _check_within("directory", coded.directory)
        _check_within("entrypoint", coded.entrypoint.rpartition(":")[0])
    return {} if source.kind == "path" else said_of(source)


def check_is_stored(team: Team, source: Mapping[str, Any]) -> None:
    """Raise ValidationError (`source`) for a snapshot that a team has not stored (a query, for one that is)."""
    if source.get("kind") == "snapshot" and not Snapshot.objects.filter(team=team, hash=source["hash"]).exists():
        raise ValidationError({"source": f"There is no snapshot {source['hash'][:12]} yet. Store it first."})


def summary(source: Mapping[str, Any]) -> str:
    """Return a source in a few words: `snapshot 3f2a…`, `path`."""
    kind = source.get("kind", "path")
    about = source.get("hash", "")[:12] if kind == "snapshot" else _at(source)
    needs = f", environment of {source['environment']}" if source.get("environment") else ""
    return f"{kind} {about}".strip() + needs


def _at(source: Mapping[str, Any]) -> str:
    """A repository with the branch that is followed and the commit that was found, as far as they are known."""
    ref, commit = source.get("ref", ""), source.get("commit", "")
    found = f", commit {commit[:12]}" if commit and not commit.startswith(ref or "-") else ""
    return f"{source.get('url', '')}{f'@{ref}' if ref else ''}{found}"


def _check_within(name: str, path: str) -> None:
    leads_out = posixpath.normpath(path or ".").split("/")[0] == ".."
    if posixpath.isabs(path) or leads_out or "\0" in path:
        raise ValidationError({name: f"“{path}” is not within the code: write a path relative to its root."})


__all__ = ["check_is_stored", "checked_source", "is_rooted", "summary"]
