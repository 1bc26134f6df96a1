"""What differs between two versions of a deployment: settings, and files of their snapshots line by line."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flows.models import Deployment
from flows.snapshot_actions import manifest_of, pieces_of
from flows.snapshots import Snapshot
from flows.versions import DeploymentVersion
from orchestrator.sdk.snapshots.manifest import Entry, Kind
from orchestrator.sdk.snapshots.pack import inflated

MAX_FILE_BYTES: Final = 256 * 1024  #: a larger file is only said to differ
MAX_FILE_LINES: Final = 5_000
MAX_DIFF_CHARS: Final = 1024 * 1024  #: of all files
MAX_FILES: Final = 500


@dataclass(frozen=True, slots=True)
class FileDiff:
    """A file that differs.

    Attributes:
        change: `added`, `removed` or `changed`.
        text: A unified diff; empty where `why` says why there is none.
        why: `binary`, `large`, or nothing.
    """

    path: str
    change: str
    text: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs.

    Attributes:
        settings: By field, before and after.
        files: At most 500.
        more: How many files differ that are not among them.
        unread: Why files could not be compared; empty where they were.
    """

    settings: dict[str, list[Any]]
    files: list[FileDiff]
    more: int = 0
    unread: str = ""


def difference(
    deployment: Deployment, before: DeploymentVersion, after: DeploymentVersion, *, unread: str = ""
) -> Difference:
    """Return what differs between two versions of a deployment (a query for each 16 pieces of files that differ).

    Args:
        deployment: Whose they are.
        before: The one.
        after: The other.
        unread: Why its files are not to be compared, for somebody who may not read them; then settings alone are.
    """
    old, new = before.state, after.state
    settings = {name: [old.get(name), new.get(name)] for name in {**old, **new} if old.get(name) != new.get(name)}
    sources = old.get("source", {}), new.get("source", {})
    if sources[0] == sources[1]:
        return Difference(settings, [])
    if unread:
        return Difference(settings, [], unread=unread)
    snapshots = [_snapshot(deployment, source) for source in sources]
    if snapshots[0] is None or snapshots[1] is None:
        stored = all(source.get("kind") == "snapshot" for source in sources)
        why = "a snapshot is not kept any more" if stored else "only files of snapshots can be compared"
        return Difference(settings, [], unread=why)
    changed = list(_changed(*(_entries(snapshot) for snapshot in snapshots if snapshot)))
    files, room = [], MAX_DIFF_CHARS
    for path, was, now in changed[:MAX_FILES]:
        files.append(_compared(path, (snapshots[0], was), (snapshots[1], now), room))
        room -= len(files[-1].text)
    return Difference(settings, files, more=max(0, len(changed) - MAX_FILES))


def _snapshot(deployment: Deployment, source: Mapping[str, Any]) -> Snapshot | None:
    if source.get("kind") != "snapshot":
        return None
    return Snapshot.objects.filter(team=deployment.team_id, hash=source.get("hash")).first()


def _entries(snapshot: Snapshot) -> dict[str, Entry]:
    return {entry.path: entry for entry in manifest_of(snapshot).entries}


def _changed(old: dict[str, Entry], new: dict[str, Entry]) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            yield path, old.get(path), new.get(path)


def _compared(
    path: str, before: tuple[Snapshot, Entry | None], after: tuple[Snapshot, Entry | None], room: int
) -> FileDiff:
    change = "added" if before[1] is None else "removed" if after[1] is None else "changed"
    lines = []
    for snapshot, entry in (before, after):
        if entry is not None and entry.size > min(MAX_FILE_BYTES, max(room, 0)):
            return FileDiff(path, change, why="large")
        content = _content(snapshot, entry)
        if content is None:
            return FileDiff(path, change, why="binary")
        lines.append(content)
    if max(map(len, lines)) > MAX_FILE_LINES:
        return FileDiff(path, change, why="large")
    names = (f"a/{path}" if before[1] else "/dev/null", f"b/{path}" if after[1] else "/dev/null")
    text = "\n".join(difflib.unified_diff(*lines, *names, lineterm=""))
    return FileDiff(path, change, text) if text else FileDiff(path, change, why=_about_kinds(before[1], after[1]))


def _content(snapshot: Snapshot, entry: Entry | None) -> list[str] | None:
    """Return a file's lines, a link's target as one; None for what is no text."""
    if entry is None:
        return []
    if entry.kind is Kind.LINK:
        return [f"link to {entry.target}"]
    data = b"".join(map(inflated, pieces_of(snapshot, entry.pieces)))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.splitlines()


def _about_kinds(before: Entry | None, after: Entry | None) -> str:
    """Words for files that have the same lines."""
    if before is None or after is None:
        return "empty"
    if before.kind is not after.kind:
        return "executable now" if after.kind is Kind.PROGRAM else "not executable any more"
    return "line endings"
