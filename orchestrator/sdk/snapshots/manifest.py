"""What a snapshot is: a list of files with the digests of their contents, and the hash of that list.

The hash is SHA-256 over the list's canonical bytes: a first line that names the form, then one JSON array a line,
`[path, kind, size, digests or target]`, ordered by path. Times and owners are not in it, so that the same tree has the
same hash wherever it was made. Contents are cut into pieces of 1 MiB, each known by its own digest: a piece proves
itself wherever it comes from, and is kept once however many files and snapshots it is part of.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

import msgspec

from orchestrator.sdk.exceptions import OrchestratorError

PIECE_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 20_000
MAX_MANIFEST_BYTES: Final = 8 * 1024 * 1024
MAX_PATH_BYTES: Final = 1_000
MAX_DEPTH: Final = 64  #: folders, one in another
_FORM: Final = b"orchestrator-snapshot-1\n"
_HEX: Final = frozenset("0123456789abcdef")


class BadSnapshot(OrchestratorError):
    """A snapshot, or a piece of one, is not what it should be. The message says which part."""


class Kind(StrEnum):
    """What stands at a path."""

    FILE = "f"
    PROGRAM = "x"  #: a file that may be executed
    LINK = "l"  #: a symbolic link to something in the same snapshot


_decode_lines: Final = msgspec.json.Decoder(tuple[str, Kind, int, Any]).decode_lines


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a snapshot, relative to its root, with `/` between its parts.

    Attributes:
        size: Bytes of a file.
        pieces: Digests of the file's pieces, in their order.
        target: Of a link: the path from its own folder.
    """

    path: str
    kind: Kind
    size: int = 0
    pieces: tuple[str, ...] = ()
    target: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a snapshot, ordered by path, and its hash (64 hexadecimal digits)."""

    entries: tuple[Entry, ...]
    data: bytes
    hash: str

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Manifest":
        """Make the manifest of these files. Raises BadSnapshot for what cannot be in one."""
        ordered = sorted(entries, key=lambda entry: entry.path)
        return cls.read(_FORM + b"".join(map(_written, ordered)))

    @classmethod
    def read(cls, data: bytes, expected: str = "") -> "Manifest":
        """Read a manifest's canonical bytes.

        Args:
            data: As somebody sent them; nothing in them is trusted.
            expected: The hash that they must have, if it is known.

        Raises:
            BadSnapshot: They are something else, or name a path that could lead out of the snapshot.
        """
        found = hashlib.sha256(data).hexdigest()
        if expected and found != expected:
            raise BadSnapshot(f"The list of files has the hash {found}, not {expected}.")
        if len(data) > MAX_MANIFEST_BYTES or not data.startswith(_FORM):
            raise BadSnapshot("This is no list of a snapshot's files.")
        lines = data[len(_FORM) :].splitlines(keepends=True)
        if len(lines) > MAX_FILES:
            raise BadSnapshot(f"A snapshot has at most {MAX_FILES:,} files; this has {len(lines):,}.")
        entries = tuple(map(_read, lines))
        _check_together(entries)
        return cls(entries, data, found)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    def piece_sizes(self) -> dict[str, int]:
        """Return the length of each piece by its digest, in the order in which they travel."""
        return {digest: length for entry in self.entries for digest, _, length in pieces_of(entry)}


def looked_through(data: bytes) -> list[Entry]:
    """Return the entries of a manifest that was checked before it was kept, without their pieces: what a look needs."""
    lines: list[tuple[str, Kind, int, Any]] = _decode_lines(data[len(_FORM) :])
    return [Entry(path, kind, size, target=about if kind is Kind.LINK else "") for path, kind, size, about in lines]


def kept_pieces(data: bytes) -> dict[str, int]:
    """Return what `Manifest.piece_sizes` does, of a manifest that was checked before it was kept."""
    lines: list[tuple[str, Kind, int, Any]] = _decode_lines(data[len(_FORM) :])
    files = (Entry(path, kind, size, about) for path, kind, size, about in lines if kind is not Kind.LINK)
    return {digest: length for entry in files for digest, _, length in pieces_of(entry)}


def pieces_of(entry: Entry) -> Iterator[tuple[str, int, int]]:
    """Yield the digest, offset and length of each piece of a file."""
    for number, digest in enumerate(entry.pieces):
        offset = number * PIECE_BYTES
        yield digest, offset, min(PIECE_BYTES, entry.size - offset)


def digest_of(piece: bytes) -> str:
    """Return the digest by which a piece is known."""
    return hashlib.sha256(piece).hexdigest()


def is_hash(text: str) -> bool:
    """Whether a text is written like a digest or a snapshot's hash."""
    return len(text) == 64 and _HEX.issuperset(text)


def _written(entry: Entry) -> bytes:
    about: Any = entry.target if entry.kind is Kind.LINK else entry.pieces
    try:
        return msgspec.json.encode([entry.path, entry.kind, entry.size, about]) + b"\n"
    except UnicodeEncodeError:
        raise BadSnapshot(f"The name {entry.path!r} is not written in UTF-8. Rename it, or leave it out.") from None


def _read(line: bytes) -> Entry:
    try:
        path, kind, size, about = msgspec.json.decode(line, type=tuple[str, Kind, int, list[str] | str])
    except msgspec.MsgspecError:
        raise BadSnapshot(f"This names no file of a snapshot: {line[:100]!r}.") from None
    if kind is Kind.LINK:
        entry = Entry(path, kind, size, target=about if isinstance(about, str) else "")
    else:
        entry = Entry(path, kind, size, tuple(about) if isinstance(about, list) else ("",))
    _check_path(path)
    _check_link(entry) if kind is Kind.LINK else _check_file(entry)
    if _written(entry) != line:  # one list, one hash
        raise BadSnapshot(f"{path!r} is not written in the normal form.")
    return entry


def _check_path(path: str) -> None:
    parts = path.split("/")
    odd = "\0" in path or len(path.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > 255 for part in parts)
    if odd or any(part in ("", ".", "..") for part in parts):
        raise BadSnapshot(f"{path[:200]!r} is no path within a snapshot.")
    if len(parts) > MAX_DEPTH + 1:
        raise BadSnapshot(f"{path[:200]!r} lies deeper than {MAX_DEPTH} folders.")


def _check_file(entry: Entry) -> None:
    needed = -(-entry.size // PIECE_BYTES)
    if entry.size < 0 or len(entry.pieces) != needed or not all(map(is_hash, entry.pieces)):
        raise BadSnapshot(f"{entry.path!r} does not say what its {entry.size} bytes are.")


def _check_link(entry: Entry) -> None:
    """A link leads up first, then down: so it stays within, through whatever other links it goes."""
    parts = entry.target.split("/")
    up = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    depth = entry.path.count("/")
    fine = entry.target in (".", "") or not any(part in ("", ".", "..") for part in parts[up:])
    if entry.size or not entry.target or up > depth or not fine or "\0" in entry.target or len(entry.target) > 1000:
        raise BadSnapshot(f"The link {entry.path!r} leads out of the snapshot, to {entry.target[:200]!r}.")


def _check_together(entries: tuple[Entry, ...]) -> None:
    """No path twice, none below another that is no folder, all in order; a piece has one length."""
    paths = [entry.path for entry in entries]
    if any(before >= after for before, after in pairwise(paths)):
        raise BadSnapshot("The files of a snapshot are listed in order, each once.")
    known, looked_at = set(paths), ""
    for path in paths:
        folder = innermost = posixpath.dirname(path)
        while folder and not f"{looked_at}/".startswith(f"{folder}/"):  # those of the path before were looked at
            if folder in known:
                raise BadSnapshot(f"{path!r} lies below {folder!r}, which is no folder.")
            folder = posixpath.dirname(folder)
        looked_at = innermost
    lengths: dict[str, int] = {}
    for entry in entries:
        for digest, _, length in pieces_of(entry):
            if lengths.setdefault(digest, length) != length:
                raise BadSnapshot(f"{entry.path!r} gives a piece another length than it has elsewhere.")
