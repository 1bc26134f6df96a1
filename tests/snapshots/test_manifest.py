"""A snapshot's hash is that of what it contains, and no list of files leads out of its folder."""

import io
import zlib

import pytest

from orchestrator.sdk.snapshots.manifest import (
    MAX_DEPTH,
    PIECE_BYTES,
    BadSnapshot,
    Entry,
    Kind,
    Manifest,
    digest_of,
    kept_pieces,
)
from orchestrator.sdk.snapshots.pack import deflated, frame, inflated, read_pack
from tests.snapshots.making import made


def test_order_does_not_matter_and_content_does() -> None:
    one = made({"a.py": "1", "b/c.py": "2"}).manifest
    assert made({"b/c.py": "2", "a.py": "1"}).manifest.hash == one.hash
    assert made({"a.py": "1", "b/c.py": "3"}).manifest.hash != one.hash
    assert made({"a.py": "1", "b/d.py": "2"}).manifest.hash != one.hash
    assert Manifest.of([Entry("a", Kind.PROGRAM)]).hash != Manifest.of([Entry("a", Kind.FILE)]).hash


def test_a_pack_is_read_as_it_was_made() -> None:
    snapshot = made({"a.py": "x", "empty": b"", "large": bytes(range(256)) * 10_000, "same": "x"}, {"l": "a.py"})
    manifest, pieces = read_pack(io.BytesIO(snapshot.pack).read, snapshot.manifest.hash)
    assert manifest == snapshot.manifest
    assert {digest: piece for digest, piece, _ in pieces} == snapshot.pieces
    assert manifest.size == 2 + 2_560_000
    assert max(map(len, snapshot.pieces.values())) == PIECE_BYTES


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "a//b", "./a", "a/.", "", "a\0", "x" * 300])
def test_no_path_leads_out(path: str) -> None:
    with pytest.raises(BadSnapshot, match="no path within"):
        Manifest.of([Entry(path, Kind.FILE)])


@pytest.mark.parametrize(
    ("path", "target"),
    [("a", "../x"), ("d/a", "../../x"), ("a", "/etc/passwd"), ("d/a", "b/../../.."), ("a", ""), ("a", "x//y")],
)
def test_no_link_leads_out(path: str, target: str) -> None:
    with pytest.raises(BadSnapshot, match="leads out"):
        Manifest.of([Entry(path, Kind.LINK, target=target)])


def test_no_file_lies_below_a_link_or_a_file_and_none_stands_twice() -> None:
    with pytest.raises(BadSnapshot, match="lies below"):
        Manifest.of([Entry("a", Kind.LINK, target="b"), Entry("a/c", Kind.FILE)])
    with pytest.raises(BadSnapshot, match="each once"):
        Manifest.of([Entry("a", Kind.FILE), Entry("a", Kind.PROGRAM)])


def test_what_lies_below_a_file_is_found_whatever_stands_between() -> None:
    between = [Entry(path, Kind.FILE) for path in ("a", "a-b/c/d", "a-b/c/e", "a-b/f")]
    assert Manifest.of(between).entries
    for path in ("a/b/c", "a-b/c/d/e", "a-b/f/g/h"):
        with pytest.raises(BadSnapshot, match="lies below"):
            Manifest.of([*between, Entry(path, Kind.FILE)])


def test_folders_have_a_depth() -> None:
    assert Manifest.of([Entry("d/" * MAX_DEPTH + "f", Kind.FILE)]).entries
    with pytest.raises(BadSnapshot, match="deeper than 64 folders"):
        Manifest.of([Entry("d/" * (MAX_DEPTH + 1) + "f", Kind.FILE)])


def test_a_piece_comes_once_and_not_blown_up() -> None:
    snapshot = made({"a": "1"})
    (piece,) = snapshot.pieces.values()
    list(read_pack(io.BytesIO(snapshot.pack).read)[1])
    with pytest.raises(BadSnapshot, match="comes twice"):
        list(read_pack(io.BytesIO(snapshot.pack + frame(deflated(piece))).read)[1])
    deflater = zlib.compressobj()
    plain = deflater.compress(piece) + deflater.flush()
    padded = plain[:2] + b"\0\0\0\xff\xff" * 1000 + plain[2:]  # stored blocks of nothing
    assert inflated(padded) == piece
    with pytest.raises(BadSnapshot, match="larger than it may be"):
        list(read_pack(io.BytesIO(frame(deflated(snapshot.manifest.data)) + frame(padded)).read)[1])


def test_the_pieces_of_a_kept_list_are_those_that_were_checked() -> None:
    snapshot = made({"a.py": "x", "large": bytes(range(256)) * 10_000, "same": "x"}, {"l": "a.py"})
    assert kept_pieces(snapshot.manifest.data) == snapshot.manifest.piece_sizes()


def test_what_is_not_written_in_the_normal_form_is_refused() -> None:
    data = Manifest.of([Entry("a", Kind.FILE)]).data
    for other in (data.replace(b",", b", "), data[:-1], data + b"\n", b"x" + data, data.replace(b"0", b"-1")):
        with pytest.raises(BadSnapshot):
            Manifest.read(other)
    with pytest.raises(BadSnapshot, match="has the hash"):
        Manifest.read(data, "0" * 64)
    with pytest.raises(BadSnapshot, match="does not say"):
        Manifest.of([Entry("a", Kind.FILE, 5, ("zz",))])


def test_a_bomb_and_a_broken_part_are_refused() -> None:
    with pytest.raises(BadSnapshot, match="larger"):
        inflated(deflated(bytes(PIECE_BYTES + 1)))
    with pytest.raises(BadSnapshot, match="broken"):
        inflated(b"nothing deflated")
    with pytest.raises(BadSnapshot, match="larger"):
        read_pack(io.BytesIO(b"\xff\xff\xff\xff").read)
    pack = made({"a": "x"}).pack
    with pytest.raises(BadSnapshot, match="in the middle"):
        list(read_pack(io.BytesIO(pack[:-1]).read)[1])
    with pytest.raises(BadSnapshot, match="nothing"):
        read_pack(io.BytesIO(b"").read)


def test_a_piece_is_known_by_what_it_is_and_not_by_what_is_said() -> None:
    snapshot = made({"a": "right"})
    pack = frame(deflated(snapshot.manifest.data)) + frame(deflated(b"wrong"))
    ((digest, _, _),) = read_pack(io.BytesIO(pack).read)[1]
    assert digest == digest_of(b"wrong")
