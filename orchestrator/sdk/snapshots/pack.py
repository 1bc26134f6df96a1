"""How a snapshot travels: frames of four bytes of length and that much deflated data; the manifest is the first.

The others are pieces, in any order: each is known by what it contains. A pack may hold some of a snapshot's pieces.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from orchestrator.sdk.snapshots.manifest import MAX_MANIFEST_BYTES, PIECE_BYTES, BadSnapshot, Manifest, digest_of

MEDIA_TYPE: Final = "application/vnd.orchestrator.snapshot"
_LENGTH: Final = struct.Struct(">I")
Read = Callable[[int], bytes]


def deflated(data: bytes) -> bytes:
    """Return data as it is kept and sent."""
    return zlib.compress(data, 6)


def inflated(data: bytes, most: int = PIECE_BYTES) -> bytes:
    """Return what was deflated. Raises BadSnapshot when it is broken, or longer than `most` bytes."""
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(data, most + 1)
    except zlib.error:
        raise BadSnapshot("A part of the snapshot is broken.") from None
    if len(found) > most or not inflater.eof or inflater.unused_data:
        raise BadSnapshot("A part of the snapshot is broken, or larger than it may be.")
    return found


def frame(data: bytes) -> bytes:
    """Return deflated data as it is sent."""
    return _LENGTH.pack(len(data)) + data


def packed(manifest: Manifest, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a pack of a manifest and deflated pieces, part by part."""
    yield frame(deflated(manifest.data))
    for piece in pieces:
        yield frame(piece)


def read_pack(read: Read, expected: str = "") -> tuple[Manifest, Iterator[tuple[str, bytes, bytes]]]:
    """Read a pack as it comes.

    Args:
        read: Returns up to so many bytes, none at the end.
        expected: The hash that the snapshot must have, if it is known.

    Returns:
        The manifest; and each piece: its digest, itself, and its deflated form. Pieces are not held against the
        manifest.

    Raises:
        BadSnapshot: It is no pack, or ends in the middle; so does the iterator, and where a piece comes twice.
    """
    first = _next(read, MAX_MANIFEST_BYTES)
    if first is None:
        raise BadSnapshot("There is nothing in this pack.")
    return Manifest.read(inflated(first, MAX_MANIFEST_BYTES), expected), _pieces(read)


def _pieces(read: Read) -> Iterator[tuple[str, bytes, bytes]]:
    seen: set[str] = set()
    while (data := _next(read, 2 * PIECE_BYTES)) is not None:
        piece = inflated(data)
        if len(data) > len(piece) + len(piece) // 8 + 64:  # it is kept and sent as it comes; no deflater adds so much
            raise BadSnapshot("A part of the snapshot is larger than it may be.")
        digest = digest_of(piece)
        if digest in seen:
            raise BadSnapshot(f"The piece {digest[:12]} comes twice.")
        seen.add(digest)
        yield digest, piece, data


def _next(read: Read, most: int) -> bytes | None:
    head = _exactly(read, _LENGTH.size, may_end=True)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > most:
        raise BadSnapshot("A part of the snapshot is larger than it may be.")
    return _exactly(read, length)


def _exactly(read: Read, length: int, may_end: bool = False) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = read(length - len(data))
        if not more:
            if may_end and not data:
                break
            raise BadSnapshot("The snapshot ends in the middle.")
        data += more
    return bytes(data)
