"""What an attempt prints past its engine of flows, read so that no output of it fills its worker's memory or log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

MAX_LINE_BYTES: Final = 65_536  #: of a line so much is kept, the rest is passed over
MAX_LINES: Final = 10_000  #: of an attempt so many are added to its run's log …
MAX_CHARACTERS: Final = 16 * 1024 * 1024  #: … and no line behind so much
PIECE_BYTES: Final = 65_536


class Lines:
    """Cuts an output into lines, of which it never holds more than the longest that may be.

    Args:
        longest: How many bytes of a line are kept.
    """

    def __init__(self, longest: int = MAX_LINE_BYTES) -> None:
        self._longest = longest
        self._line = bytearray()

    def feed(self, piece: bytes) -> Iterator[str]:
        """Return the lines that end in the next piece of the output."""
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._taken()
        self._add(rest)

    def rest(self) -> Iterator[str]:
        """Return the last line, where it has no end."""
        if self._line:
            yield self._taken()

    def _add(self, more: bytes) -> None:
        self._line += more[: self._longest - len(self._line)]

    def _taken(self) -> str:
        line = self._line.decode(errors="replace")
        self._line.clear()
        return line


def lines(pieces: Iterable[bytes], longest: int = MAX_LINE_BYTES) -> Iterator[str]:
    """Return the lines of an output as they come."""
    cut = Lines(longest)
    for piece in pieces:
        yield from cut.feed(piece)
    yield from cut.rest()


class Printed:
    """Adds what an attempt prints to its run's log, up to a number of lines and characters, and knows the last one.

    Args:
        tell: Adds a line to the log.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lines = self._characters = 0
        self._is_full = False
        self.last = ""

    def add(self, line: str) -> None:
        """Take a line that it printed."""
        self.last = line
        if self._is_full:
            return
        self._is_full = self._lines >= MAX_LINES or self._characters >= MAX_CHARACTERS
        if self._is_full:
            self._tell(f"It printed too much past its flow: what comes behind {self._lines} lines is not kept.")
            return
        self._lines += 1
        self._characters += len(line)
        self._tell(line)
