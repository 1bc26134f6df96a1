"""Snapshots for tests."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.sdk.snapshots.manifest import PIECE_BYTES, Entry, Kind, Manifest, digest_of
from orchestrator.sdk.snapshots.pack import Read, deflated, packed


@dataclass
class Made:
    """A snapshot made of texts, and its pack; how often that was fetched."""

    manifest: Manifest
    pieces: dict[str, bytes]
    fetched: list[str] = field(default_factory=list)

    @property
    def pack(self) -> bytes:
        """All of it, as it travels."""
        return b"".join(packed(self.manifest, map(deflated, self.pieces.values())))

    @contextlib.contextmanager
    def fetch(self, hash: str) -> Iterator[Read]:
        """As a store fetches it."""
        self.fetched.append(hash)
        yield io.BytesIO(self.pack).read


def made(files: Mapping[str, bytes | str], links: Mapping[str, str] = {}) -> Made:
    """Make a snapshot of files, by path, and of links with their targets."""
    entries, pieces = [], {}
    for path, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        cut = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
        pieces |= {digest_of(piece): piece for piece in cut}
        entries.append(Entry(path, Kind.FILE, len(data), tuple(map(digest_of, cut))))
    entries += [Entry(path, Kind.LINK, target=target) for path, target in links.items()]
    return Made(Manifest.of(entries), pieces)


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
