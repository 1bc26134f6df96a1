"""Where a worker's machine keeps snapshots: fetched once each, shared by all runs, the least used ones removed.

    snapshots/<first 32 digits of the hash>/tree/…     the files: read-only, all of one time
    snapshots/<…>/manifest                             what they must be
    snapshots/<…>.lock                                 held (flock, shared) by each process that uses it

Whoever uses a snapshot holds its lock until it ends, so that none is removed under a run (`kept_folders`). A folder is
filled beside its place and renamed into it. Before each use every file is looked at (one `stat` each): one that was
changed or removed is put back.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.sdk.kept_folders import megabytes, used
from orchestrator.sdk.snapshots.manifest import BadSnapshot, Entry, Kind, Manifest, looked_through, pieces_of
from orchestrator.sdk.snapshots.pack import Read, read_pack

#: Of every file: whatever is written to one leaves another. Python's cached bytecode stays good across workers.
FILE_TIME: Final = 1_000_000_000
CACHE_VARIABLE: Final = "ORCHESTRATOR_SNAPSHOT_CACHE_MB"
DEFAULT_CACHE_MB: Final = 2_048
_MARK: Final = "manifest"

Fetch = Callable[[str], AbstractContextManager[Read]]


class SnapshotUnavailable(OrchestratorError):
    """A snapshot can neither be found here nor fetched. The message says why."""


def opened(folder: Path, hash: str, fetch: Fetch, say: Callable[[str], object] = print) -> Path:
    """Return the folder with a snapshot's files, fetched where it is not here; this process uses it until it ends.

    Args:
        folder: Of all snapshots.
        hash: Which one.
        fetch: Opens its pack at the server.
        say: Tells what had to be made good.

    Raises:
        SnapshotUnavailable: It cannot be fetched, or what came is not it, or the disk is full.
    """
    place = folder / hash[:32]
    try:
        used(place, _MARK, lambda: _make(place, hash, fetch), megabytes(CACHE_VARIABLE, DEFAULT_CACHE_MB))
        _put_back(place, hash, fetch, say)
    except BadSnapshot as error:
        raise SnapshotUnavailable(f"The snapshot {hash[:12]} that came is not whole: {error}") from None
    except OSError as error:
        raise SnapshotUnavailable(f"The snapshot {hash[:12]} cannot be kept in {folder}: {error}") from None
    return place / "tree"


def _make(place: Path, hash: str, fetch: Fetch) -> int:
    """Fetch a snapshot beside its place and rename it there; return its size. Hold its lock alone."""
    beside = place.with_name(f"{place.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)  # without its manifest it was never whole
    try:
        (beside / "tree").mkdir(parents=True)
        with fetch(hash) as read:
            manifest, pieces = read_pack(read, hash)
            _write_all(beside / "tree", manifest.entries, pieces)
        (beside / "manifest").write_bytes(manifest.data)
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return manifest.size


def _write_all(tree: Path, entries: tuple[Entry, ...], pieces: Iterator[tuple[str, bytes, bytes]]) -> None:
    """Write files and links below a folder from the pieces that come. Raises BadSnapshot when some do not."""
    wanted: dict[str, list[tuple[str, int]]] = {}
    for folder in {os.path.dirname(entry.path) for entry in entries}:
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for entry in entries:
        if entry.kind is not Kind.LINK:
            os.close(os.open(tree / entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        for digest, offset, _ in pieces_of(entry):
            wanted.setdefault(digest, []).append((entry.path, offset))
    for digest, piece, _ in pieces:
        for path, offset in wanted.pop(digest, ()):
            _write_at(tree / path, piece, offset)
    if wanted:
        raise BadSnapshot(f"{len(wanted)} parts did not come.")
    for entry in entries:
        _finish(tree / entry.path, entry)


def _write_at(path: Path, piece: bytes, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(piece)


def _finish(path: Path, entry: Entry) -> None:
    if entry.kind is Kind.LINK:
        path.symlink_to(entry.target)
        return
    if path.stat().st_size != entry.size:
        raise BadSnapshot(f"{entry.path} has another size than it should.")
    path.chmod(0o555 if entry.kind is Kind.PROGRAM else 0o444)
    os.utime(path, (FILE_TIME, FILE_TIME))


def _put_back(place: Path, hash: str, fetch: Fetch, say: Callable[[str], object]) -> None:
    """Make good what somebody did to the files since they were written."""
    tree = place / "tree"
    data = (place / "manifest").read_bytes()
    changed = {entry.path for entry in looked_through(data) if not _is_whole(f"{tree}/{entry.path}", entry)}
    if not changed:
        return
    spoilt = tuple(entry for entry in Manifest.read(data, hash).entries if entry.path in changed)
    names = ", ".join(entry.path for entry in spoilt[:3]) + (" …" if len(spoilt) > 3 else "")
    say(f"Put back what was changed in the snapshot {hash[:12]}: {names}")
    beside = place.with_name(f"{place.name}.mend.{os.getpid()}")
    try:
        beside.mkdir()
        with fetch(hash) as read:
            _, pieces = read_pack(read, hash)
            _write_all(beside, spoilt, pieces)
        for entry in spoilt:
            _replace(beside / entry.path, tree / entry.path, tree)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _is_whole(path: str, entry: Entry) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    if entry.kind is Kind.LINK:
        return stat.S_ISLNK(found.st_mode) and os.readlink(path) == entry.target
    return stat.S_ISREG(found.st_mode) and found.st_size == entry.size and found.st_mtime == FILE_TIME


def _replace(new: Path, path: Path, tree: Path) -> None:
    """Rename a file over what stands in its place, even if that, or a folder above it, became something else."""
    for folder in [*path.relative_to(tree).parents][-2::-1]:  # from the top
        there = tree / folder
        if there.is_symlink() or (there.exists() and not there.is_dir()):
            there.unlink()
        there.mkdir(exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    new.rename(path)
