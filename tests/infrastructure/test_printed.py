"""What an attempt prints is cut into lines of a bounded length, and a bounded number of them is told."""

import tracemalloc

import pytest

from orchestrator.sdk.infrastructure import printed
from orchestrator.sdk.infrastructure.container_engine import _frames
from orchestrator.sdk.infrastructure.printed import Printed, lines


def test_lines_are_cut_where_they_end_wherever_the_pieces_do() -> None:
    assert list(lines([b"one\ntw", b"o\n\nthr", b"", b"ee"])) == ["one", "two", "", "three"]
    assert list(lines([b"one\n"])) == ["one"]


def test_of_a_long_line_the_beginning_is_kept_and_the_next_line_is_whole() -> None:
    assert list(lines([b"12345", b"678\nnext", b"\n123456789"], longest=4)) == ["1234", "next", "1234"]


def test_an_output_without_an_end_of_line_fills_no_memory() -> None:
    piece = b"x" * printed.PIECE_BYTES
    tracemalloc.start()
    (line,) = lines(piece for _ in range(1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(line) == printed.MAX_LINE_BYTES
    assert peak < 1024 * 1024


def test_a_frame_of_any_length_is_read_in_pieces() -> None:
    class Stream:
        left = 300_000
        asked: list[int] = []

        def read(self, size: int) -> bytes:
            if size == 8:
                return b"\x01\0\0\0" + self.left.to_bytes(4, "big") if self.left else b""
            self.asked.append(size)
            self.left -= size
            return b"x" * size

    stream = Stream()
    assert sum(len(piece) for _, piece in _frames(stream)) == 300_000
    assert max(stream.asked) <= printed.PIECE_BYTES


@pytest.mark.parametrize("bound", ["MAX_LINES", "MAX_CHARACTERS"])
def test_what_is_too_much_is_said_once_and_the_last_line_is_known(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, bound, 2)
    told: list[str] = []
    output = Printed(told.append)
    for line in ("a", "b", "c", "d"):
        output.add(line)
    assert told == ["a", "b", "It printed too much past its flow: what comes behind 2 lines is not kept."]
    assert output.last == "d"
