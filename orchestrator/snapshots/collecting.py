"""Walking through a project's folder: its files, what they contain, and why others are left out."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.sdk.home import home
from orchestrator.sdk.snapshots.manifest import MAX_FILES, PIECE_BYTES, Entry, Kind, Manifest
from orchestrator.snapshots.ignoring import Rules
from orchestrator.snapshots.roots import Root

_LOOKED_AT: Final = 200_000  #: files, before a folder is taken for too large without having been looked through
_NAMED: Final = 5


class CannotCollect(OrchestratorError):
    """The folder cannot be taken as it is. The message says why, and what to do."""


@dataclass(slots=True)
class Collected:
    """A snapshot that was taken, and where its pieces are read.

    Attributes:
        left_out: Paths that were left out by default alone, though they may hold what runs need: secrets.
    """

    manifest: Manifest
    root: Path
    places: dict[str, tuple[Path, int, int]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def piece(self, digest: str) -> bytes:
        """Read a piece. Raises CannotCollect when its file has changed since it was taken."""
        path, offset, length = self.places[digest]
        try:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(length)
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() != digest:
            raise CannotCollect(f"{path} changed while it was deployed. Deploy again.")
        return data


def collect(root: Root, max_bytes: int, needed: Path | None = None) -> Collected:
    """Take a snapshot of a folder.

    Args:
        root: The folder.
        max_bytes: How large its files may be together.
        needed: A file that must be among them: the one with the flow.

    Raises:
        CannotCollect: It is too large, which names the largest folders; a file cannot be read; a link leads out of it;
            or the needed file is left out.
    """
    left_out: list[str] = []
    found = [root.only] if root.only is not None else list(_walk(root.folder, left_out))
    if needed is not None:
        _check_is_in(root, needed.resolve(), found)
    _check_size(root.folder, found, max_bytes)
    places: dict[str, tuple[Path, int, int]] = {}
    entries = [_entry(root.folder, path, places) for path in found]
    return Collected(Manifest.of(entries), root.folder, places, left_out)


def _walk(root: Path, left_out: list[str]) -> Iterator[Path]:
    """Yield the files and links of a folder that are taken."""
    own_home = home().root.resolve()
    waiting = [("", Rules.of(root))]
    while waiting:
        folder, rules = waiting.pop()
        rules = rules.below(folder)
        for child in _children(root / folder):
            path = folder + child.name
            is_folder = child.is_dir(follow_symlinks=False)
            if why := rules.leave_out(f"{path}/" if is_folder else path):
                if why == "the default" and child.name.startswith(".env"):
                    left_out.append(path)
            elif is_folder:
                if Path(child.path) != own_home:
                    waiting.append((f"{path}/", rules))
            elif child.is_symlink() or child.is_file():  # no sockets, pipes and devices
                yield Path(child.path)


def _children(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda child: child.name)
    except OSError as error:
        raise CannotCollect(
            f"{folder} cannot be read: {error.strerror}. Leave it out in .orchestratorignore."
        ) from None


def _check_is_in(root: Root, needed: Path, found: Iterable[Path]) -> None:
    if needed in found:
        return
    if not needed.is_relative_to(root.folder):
        raise CannotCollect(f"{needed} is not within {root.folder}, which is what is deployed.")
    path, rules = needed.relative_to(root.folder), Rules.of(root.folder)
    folder = ""
    for part in [*path.parts[:-1], ""]:
        rules = rules.below(folder)
        one = f"{folder}{part}/" if part else path.as_posix()
        if why := rules.leave_out(one):
            raise CannotCollect(
                f"{one} is left out by {why}, and the flow is in it. Add the line !{one} to .orchestratorignore."
            )
        folder = one
    raise CannotCollect(f"{needed} is no file that can be taken.")


def _check_size(root: Path, found: list[Path], max_bytes: int) -> None:
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for path in found[:_LOOKED_AT]:
        inside = path.relative_to(root)
        name = f"{inside.parts[0]}/" if len(inside.parts) > 1 else str(inside)
        sizes[name] += path.lstat().st_size
        counts[name] += 1
    whole = sum(sizes.values())
    if whole > max_bytes:
        largest = ", ".join(f"{name} ({in_words(size)})" for name, size in sizes.most_common(_NAMED))
        raise CannotCollect(
            f"{root} has {in_words(whole)} of files; a snapshot has at most {in_words(max_bytes)}. "
            f"The largest: {largest}. Leave out in .orchestratorignore what runs do not need, or deploy with "
            "--source path."
        )
    if len(found) > MAX_FILES:
        most = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(_NAMED))
        raise CannotCollect(
            f"{root} has {len(found):,} files; a snapshot has at most {MAX_FILES:,}. Most are in: {most}. "
            "Leave out in .orchestratorignore what runs do not need."
        )


def _entry(root: Path, path: Path, places: dict[str, tuple[Path, int, int]]) -> Entry:
    name = path.relative_to(root).as_posix()
    try:
        if path.is_symlink():
            return Entry(name, Kind.LINK, target=_target(root, path))
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            pieces, size = [], 0
            while data := file.read(PIECE_BYTES):
                digest = hashlib.sha256(data).hexdigest()
                places.setdefault(digest, (path, size, len(data)))
                pieces.append(digest)
                size += len(data)
    except OSError as error:
        raise CannotCollect(f"{path} cannot be read: {error.strerror}. Leave it out in .orchestratorignore.") from None
    return Entry(name, Kind.PROGRAM if mode & stat.S_IXUSR else Kind.FILE, size, tuple(pieces))


def _target(root: Path, link: Path) -> str:
    """Return where a link leads, from its own folder, through no other link. Raises CannotCollect where that is out."""
    real = Path(os.path.realpath(link))
    if not real.is_relative_to(root):
        raise CannotCollect(
            f"{link} is a link to {real}, which other machines do not have. Put a copy in its place, or leave it out "
            "in .orchestratorignore."
        )
    return os.path.relpath(real, link.parent)


def in_words(size: int) -> str:
    """Return a number of bytes in words: `34 KB`, `1.2 MB`."""
    amount, unit = float(size), "bytes" if size != 1 else "byte"
    for larger in ("KB", "MB", "GB"):
        if amount >= 1000:
            amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}" if unit[0] != "b" and amount < 10 else f"{amount:.0f} {unit}"
