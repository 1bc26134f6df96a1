"""The supervisor's last word in the journal of a process that ended without one."""

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from orchestrator.sdk.events import Ended, Exited, Fact, decode_line, encode
from orchestrator.sdk.home import Home
from orchestrator.sdk.journal import Journal
from orchestrator.sdk.reader import Segment, read_header, segments

if sys.platform != "win32":
    import fcntl

_TAIL_BYTES: Final = 64 * 1024


def append_ending(home: Home, journal: str, exited: Exited) -> bool:
    """Write `Exited` and `Ended` behind what a dead process wrote, making its journal if it never did.

    Call it only when the process is gone. Where the journal was brought in whole and deleted meanwhile, the one made
    here begins with numbers that were taken before, so it changes nothing.

    Args:
        home: Where the journal lies.
        journal: The journal's id.
        exited: What happened, to which attempt of which run.

    Returns:
        Whether something was written: False when the process had ended its journal after all.

    Raises:
        OSError: The home cannot be written.
    """
    written = [segment for segment in segments(home) if segment.journal == journal]
    if not written:
        made = Journal(journal, exited.run, exited.attempt)
        made.record(exited)
        made.close()
        return True
    return _append(written[-1], exited)


def _append(segment: Segment, exited: Exited) -> bool:
    fd = os.open(segment.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        if sys.platform != "win32":
            with contextlib.suppress(BlockingIOError):  # somebody asks the lock just now, or a stray child holds it
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tail, last = _tail(fd, segment.path)
        if isinstance(last, Ended):
            return False
        number = last.n if last is not None else read_header(segment.path).first - 1
        now = time.time_ns() // 1000
        exited.n, exited.t = number + 1, exited.t or now
        lines = encode(exited) + b"\n" + encode(Ended(n=number + 2, t=now)) + b"\n"
        if not tail.endswith(b"\n"):  # torn: what the process was writing when it died
            lines = b"\n" + lines
        while lines:
            lines = lines[os.write(fd, lines) :]
    finally:
        os.close(fd)
    return True


def _tail(fd: int, path: Path) -> tuple[bytes, Fact | None]:
    """Return the end of a segment and the last whole fact in it, if there is one."""
    size = os.fstat(fd).st_size
    length = min(size, _TAIL_BYTES)
    while True:
        tail = os.pread(fd, length, size - length)
        # The first piece may be the rest of a line (or is the header), the last one is torn or empty.
        for line in reversed(tail.split(b"\n")[1:-1]):
            try:
                fact = decode_line(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if isinstance(fact, Fact):
                return tail, fact
        if length >= size:
            return tail, None
        length = min(size, length * 8)
