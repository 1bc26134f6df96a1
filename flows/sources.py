"""What a deployment says of its code, checked: the kind, its values, and that directory and file lie within."""

import posixpath
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from flows.infrastructure import secrets_of
from flows.models import Block, slug_of
from flows.snapshots import Snapshot
from orchestrator.encryption import Unreadable
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
    """Raise ValidationError (`source`) for a snapshot, or credentials, that a team does not have (at most a query)."""
    if name := source.get("credentials"):
        _check_credentials(team, name, source["url"])
    if source.get("kind") == "snapshot" and not Snapshot.objects.filter(team=team, hash=source["hash"]).exists():
        raise ValidationError({"source": f"There is no snapshot {source['hash'][:12]} yet. Store it first."})


def source_credentials(team_id: Any, source: Mapping[str, Any]) -> dict[str, str]:
    """Return what a private repository takes, for a worker alone; nothing where it takes none (a query where it does).

    Where the block is gone, or for another host by now, or cannot be read, git says what is missing.
    """
    if not (name := source.get("credentials")):
        return {}
    block = Block.objects.filter(team=team_id, type="git-credentials", slug=slug_of(str(name))).first()
    if block is None or block.values.get("host") != urlsplit(source["url"]).netloc:
        return {}
    try:
        secrets = secrets_of(block)
    except Unreadable:
        return {}
    return {"host": block.values["host"], "username": block.values.get("username") or "git", "token": secrets["token"]}


def _check_credentials(team: Team, name: str, url: str) -> None:
    block = Block.objects.filter(team=team, type="git-credentials", slug=slug_of(name)).first()
    if block is None:
        hint = "Make it first: orchestrator block create git-credentials NAME."
        raise ValidationError({"source": f"The team has no block “{name}” of git credentials. {hint}"})
    if block.values.get("host") != urlsplit(url).netloc:
        host = block.values.get("host")
        raise ValidationError({"source": f"The credentials “{name}” are for {host}, not for {urlsplit(url).netloc}."})


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
