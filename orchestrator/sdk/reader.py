"""Reading journals, for whoever brings them in: the tailer of a home, a worker, a script that ships its own.

**What is read.** Whole lines only: the last line of a living journal may be under way. Torn lines and kinds of facts
this version does not know are passed over and counted.

**When a journal is over.** When `Ended` was read; or when it is abandoned: its writer's lock is free, everything was
read after the lock was seen free, and there is still no `Ended`. Only the machine that wrote it may judge so
(`Judgement`); for journals of other machines the lease speaks. An abandoned journal is a crash of the attempts that
this journal began (its header's run, or a RUNNING in it) and did not finish: a forked child of a run has a journal of
its own, may record tasks of its parent's run, and its death is not the run's.

**When a segment is deleted.** By the caller, after the transaction that took its facts: a segment that was read whole
and has a later one (`Batch.passed`), and the last segment of a journal that is over. Nothing else is ever deleted.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from orchestrator.sdk.boot import this_boot
from orchestrator.sdk.events import AnyFact, Ended, Header, decode_line
from orchestrator.sdk.home import Home
from orchestrator.sdk.journal import SUFFIX, UNFINISHED_SUFFIX

if sys.platform != "win32":
    import fcntl

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_BATCH_FACTS: Final = 5_000
MAX_LINE_BYTES: Final = 32 * 1024 * 1024  # a log line of 1 MB, each character escaped, and room
#: A run host writes `Exited` into the journals of its runs; it is given this long before anybody else judges.
SUPERVISOR_GRACE_SECONDS: Final = 3.0


class UnreadableJournal(ValueError):
    """A file that has a segment's name and no header that this version can read. Leave it where it is."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of a journal."""

    journal: str
    number: int
    path: Path

    def next(self) -> "Segment":
        """Return the segment after this one, which may not exist."""
        return segment(self.path.parent, self.journal, self.number + 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Facts in their order, and where the next ones begin."""

    header: Header
    facts: list[AnyFact]
    passed: tuple[Path, ...] = ()  #: earlier segments read whole: delete them once these facts are in
    skipped: int = 0  #: torn lines and unknown kinds among them
    ended: bool = False  #: `Ended` was read: the journal is over

    @property
    def last(self) -> int:
        """The highest fact number in it; 0 when it is empty."""
        return max((fact.n for fact in self.facts), default=0)


class Judgement(Enum):
    """What the lock of a journal says about its writer."""

    ALIVE = "alive"
    DYING = "dying"  #: its lock is free, but its last words are not all read yet
    DEAD = "dead"
    UNKNOWN = "unknown"  #: another machine's journal: judge by lease


def segment(folder: Path, journal: str, number: int) -> Segment:
    """Return the segment of that number of a journal in a folder."""
    return Segment(journal, number, folder / f"{journal}-{number:06d}{SUFFIX}")


def segments(home: Home) -> list[Segment]:
    """Return the segments in a home, ordered by journal (oldest first) and number; empty where there is no home."""
    try:
        with os.scandir(home.journals) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        journal, _, number = name.removesuffix(SUFFIX).rpartition("-")
        if journal and number.isdecimal():
            found.append(Segment(journal, int(number), home.journals / name))
    return sorted(found)


def decode_facts(data: bytes) -> tuple[list[AnyFact], int]:
    """Decode whole lines.

    Args:
        data: Lines as they stand in a journal, headers allowed.

    Returns:
        The facts in their order, and how many lines were passed over.
    """
    facts: list[AnyFact] = []
    skipped = 0
    for line in data.split(b"\n"):
        if not line:
            continue
        try:
            fact = decode_line(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            skipped += 1
            continue
        if not isinstance(fact, Header):
            facts.append(fact)
    return facts, skipped


def read_header(path: Path) -> Header:
    """Return the header of a segment.

    Raises:
        UnreadableJournal: The file begins with something else.
        OSError: It cannot be read.
    """
    return _read_header(path)[0]


def _read_header(path: Path) -> tuple[Header, int]:
    """Return the header and the offset behind it."""
    with path.open("rb") as file:
        line = file.readline(64 * 1024)
    try:
        header = decode_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableJournal(f"{path} is no journal: {error}") from None
    if not isinstance(header, Header):
        raise UnreadableJournal(f"{path} is no journal: its first line is no header")
    return header, len(line)


class JournalReader:
    """Reads one journal from some place on, through all its later segments. Holds no file open between reads.

    Args:
        start: The segment to begin with, the journal's oldest as a rule.
        offset: Bytes of it that were read before.

    Raises:
        UnreadableJournal: The first line is no header.
        OSError: The file cannot be read (FileNotFoundError: somebody else brought it in).
    """

    __slots__ = ("_free_since", "_read_since_free", "ended", "header", "offset", "segment")

    def __init__(self, start: Segment, offset: int = 0) -> None:
        self.segment = start
        self.header, behind_header = _read_header(start.path)
        self.offset = max(offset, behind_header)
        self.ended = False
        self._free_since: float | None = None
        self._read_since_free = False

    def read(self, max_bytes: int = MAX_BATCH_BYTES, max_facts: int = MAX_BATCH_FACTS) -> Batch:
        """Return the next facts that are there; an empty batch when there are none (yet).

        Raises:
            OSError: A segment cannot be read (FileNotFoundError: somebody else brought it in).
        """
        data, passed = self.read_lines(max_bytes, max_facts)
        facts, skipped = decode_facts(data)
        if facts and isinstance(facts[-1], Ended):
            self.ended = True
        return Batch(self.header, facts, passed, skipped, self.ended)

    def batches(self, max_bytes: int = MAX_BATCH_BYTES, max_facts: int = MAX_BATCH_FACTS) -> Iterator[Batch]:
        """Yield batches until there is nothing more to read now."""
        while True:
            batch = self.read(max_bytes, max_facts)
            if not batch.facts and not batch.passed and not batch.skipped:
                return
            yield batch

    def read_lines(
        self, max_bytes: int = MAX_BATCH_BYTES, max_lines: int = MAX_BATCH_FACTS
    ) -> tuple[bytes, tuple[Path, ...]]:
        """Return the next facts as the lines they stand in, and the segments that were left behind for them.

        Raises:
            OSError: As `read`.
        """
        passed: list[Path] = []
        while True:
            data = self._take(max_bytes, max_lines)
            if data:
                break
            later = self.segment.next()
            if not later.path.exists():
                self._read_since_free = self._free_since is not None
                break
            # The writer made the later segment before its last line here could be missed: look once more.
            data = self._take(max_bytes, max_lines)
            if data:
                break
            passed.append(self.segment.path)
            self.header, self.offset = _read_header(later.path)
            self.segment = later
            self._free_since = None
        return data, tuple(passed)

    def judge(self) -> Judgement:
        """Return whether the writer lives, by the lock.

        DEAD is said only after everything was read since the lock was first seen free: `read` until it is empty, then
        `judge`, in turns. Where a run host supervises the writer, its own word is waited for some seconds before.

        Raises:
            OSError: The segment cannot be opened.
        """
        if self._free_since is None:
            verdict = ask_lock(self.segment.path, self.header)
            if verdict is not Judgement.DEAD:
                return verdict
            self._free_since = time.monotonic()
        grace = SUPERVISOR_GRACE_SECONDS if self.header.run else 0.0
        if not self._read_since_free or time.monotonic() < self._free_since + grace:
            return Judgement.DYING
        return Judgement.DEAD

    def _take(self, max_bytes: int, max_lines: int) -> bytes:
        """Read whole lines from the current segment and move the offset behind them."""
        if self.segment.path.stat().st_size <= self.offset:
            return b""
        with self.segment.path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), max_bytes, self.offset)
            end = data.rfind(b"\n") + 1
            while not end and len(data) < MAX_LINE_BYTES:
                more = os.pread(file.fileno(), max_bytes, self.offset + len(data))
                if not more:
                    return b""
                end = more.find(b"\n") + 1
                end += len(data) if end else 0
                data += more
        if not end:  # longer than any line we write: pass over it in pieces, each of them torn
            self.offset += len(data)
            return b"\0"
        data = data[: _end_of_line(data, end, max_lines)]
        self.offset += len(data)
        return data


def ask_lock(path: Path, header: Header | None = None) -> Judgement:
    """Return whether the writer of a segment lives, by its lock and its boot. Says nothing about what was read.

    The same boot id means the same kernel (containers share it), whose locks can be trusted. Another boot of the same
    machine means that the writer died with it; the host's name counts too, since cloned machines share an id.

    Raises:
        OSError: The file cannot be opened.
        UnreadableJournal: It has no header.
    """
    header = header or read_header(path)
    here = this_boot()
    if sys.platform == "win32" or not here.boot or not header.boot:
        return Judgement.UNKNOWN
    if header.boot != here.boot:
        same_machine = (header.machine, header.host) == (here.machine, here.host)
        return Judgement.DEAD if same_machine else Judgement.UNKNOWN
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look must not take each other for the writer
    except BlockingIOError:
        return Judgement.ALIVE
    finally:
        os.close(fd)
    return Judgement.DEAD


def is_abandoned(path: Path) -> bool:
    """Whether the writer of a segment is surely gone. What it wrote may not all be read yet; see `JournalReader.judge`.

    Raises:
        OSError: The file cannot be opened.
        UnreadableJournal: It has no header.
    """
    return ask_lock(path) is Judgement.DEAD


def sweep_unfinished(home: Home, older_than_seconds: float = 3600.0) -> int:
    """Delete files that somebody died over while making them; return how many."""
    deleted = 0
    limit = time.time() - older_than_seconds
    for path in home.journals.glob(f"*{UNFINISHED_SUFFIX}"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
                deleted += 1
        except OSError:  # another sweep, or the one who makes it
            continue
    return deleted


def _end_of_line(data: bytes, end: int, max_lines: int) -> int:
    """Return where the last whole line ends that a batch may hold."""
    if data.count(b"\n", 0, end) <= max_lines:
        return end
    position = 0
    for _ in range(max_lines):
        position = data.index(b"\n", position) + 1
    return position
