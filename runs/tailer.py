"""The process that brings a home's journals in: one of it at a time, elected by `home.ingest_lock`.

It is woken by the bell and looks by itself behind that: often while facts come, seldom while nothing happens. Each
journal is read from its start (or from the first segment that is not wholly in) in bounded batches, in turns, so that
no long backlog keeps a short run waiting. A position is kept in memory only: after a restart what is in already is read
once more and passed over by its numbers. Nothing is deleted before the transaction that took it committed.
"""

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from django.db import InterfaceError, OperationalError, ProgrammingError, connection

from orchestrator.sdk.bell import listen
from orchestrator.sdk.home import Home
from orchestrator.sdk.journal import CANCEL_SUFFIX
from orchestrator.sdk.reader import (
    Batch,
    JournalReader,
    Judgement,
    Segment,
    UnreadableJournal,
    read_header,
    segments,
    sweep_unfinished,
)
from orchestrator.sdk.shipper import MARKER_SUFFIX
from runs.ingest import Outcome, UnusableBatch, abandon, high_water_mark, ingest
from runs.script_cancels import ScriptCancels

try:
    import fcntl
except ImportError:  # Windows: nobody else is kept out, and the lease alone judges
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

BATCH_FACTS: Final = 2_000
BATCH_BYTES: Final = 4 * 1024 * 1024
GATHER_SECONDS: Final = 0.015  # after the bell, which rings on the first fact of a burst …
BURST_SECONDS: Final = 0.05  # … and while one goes on: fewer, larger transactions leave the machine to the script
BUSY_SECONDS: Final = 0.15
QUIET_SECONDS: Final = 1.0  # crashes are seen at this pace where no fact comes
QUIET_AFTER_SECONDS: Final = 2.0
STOP_SECONDS: Final = 0.25  # how late a stop may be noticed
LOCK_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 5.0  # between tries while the database cannot be used
FAULT_SECONDS: Final = 60.0  # between tries of a journal that our own fault keeps out
SWEEP_SECONDS: Final = 600.0
#: The database cannot be used now; the last one while its tables are not made yet.
DATABASE_TROUBLE: Final = (OperationalError, InterfaceError, ProgrammingError)


@dataclass(slots=True)
class Tailed:
    """A journal that is being brought in.

    Attributes:
        reader: Where it is read.
        sequence: Its high-water mark, as far as known: what is below is not handed to the database again.
        pending: A batch that was read and is not in yet.
        passed: Segments to delete once what was read behind them is in.
        was_alive: The writer was seen alive by this process: if it dies, it dies now.
        retry_at: Not before this time (monotonic); 0 when nothing is wrong.
        failures: In a row.
    """

    reader: JournalReader
    sequence: int
    pending: Batch | None = None
    passed: list[Path] = field(default_factory=list)
    was_alive: bool = False
    retry_at: float = 0.0
    failures: int = 0


class Tailer:
    """Brings the journals of a home in, pass by pass. Hold the home's ingest lock while using it.

    Args:
        home: Whose journals.
        tell: Whether to announce what changed; without a server there is nobody to tell.
    """

    def __init__(self, home: Home, *, tell: bool = True) -> None:
        self.home = home
        self._tell = tell
        self._tailed: dict[str, Tailed] = {}
        self._unusable: set[Path] = set()  # said once each, left where they are
        self._folder_mtime = -1

    @property
    def readers(self) -> list[JournalReader]:
        """Of the journals that are not over."""
        return [tailed.reader for tailed in self._tailed.values()]

    @property
    def has_journals(self) -> bool:
        """Whether any journal is not over."""
        return bool(self._tailed)

    def pass_once(self, stop: threading.Event | None = None, *, judge: bool = True) -> int:
        """Give every journal one turn: read what is there, up to a batch, and bring it in.

        Args:
            stop: Ends the pass early, between two journals.
            judge: Whether to look at the locks of journals that have nothing more to read.

        Returns:
            How many facts were read; 0 when there is nothing to do now.

        Raises:
            DatabaseError: One of `DATABASE_TROUBLE`; what was read is kept for the next pass.
        """
        self._discover()
        read = 0
        older_are_behind = False
        for journal, tailed in list(self._tailed.items()):
            if stop is not None and stop.is_set():
                break
            if tailed.retry_at > time.monotonic():
                continue
            try:
                count = self._turn(journal, tailed, older_are_behind, judge)
            except FileNotFoundError:  # somebody cleared the folder
                del self._tailed[journal]
            except DATABASE_TROUBLE:
                raise
            except Exception as error:
                self._set_back(journal, tailed, error)
            else:
                read += count
                older_are_behind = older_are_behind or count > 0 or tailed.pending is not None
        return read

    def _discover(self) -> None:
        """Find new journals, where the folder changed since the last look."""
        try:
            mtime = os.stat(self.home.journals).st_mtime_ns
        except FileNotFoundError:
            return
        # Two changes within the clock's resolution look like one: a folder that just changed is read again.
        if mtime == self._folder_mtime and time.time_ns() - mtime > 2_000_000_000:
            return
        by_journal: dict[str, list[Segment]] = {}
        for found in segments(self.home):
            by_journal.setdefault(found.journal, []).append(found)
        for journal, found_segments in by_journal.items():
            if journal in self._tailed or found_segments[0].path in self._unusable:
                continue
            if not self._is_shipped(journal):
                self._start(journal, found_segments)
        self._folder_mtime = mtime

    def _start(self, journal: str, found: list[Segment]) -> None:
        """Begin with the first segment that is not wholly in; those before it are deleted."""
        try:
            sequence = high_water_mark(UUID(journal))
            while len(found) > 1 and read_header(found[1].path).first <= sequence + 1:
                found.pop(0).path.unlink(missing_ok=True)
            self._tailed[journal] = Tailed(JournalReader(found[0]), sequence)
        except FileNotFoundError:
            return
        except (UnreadableJournal, ValueError) as error:
            self._leave(found[0].path, error)

    def _is_shipped(self, journal: str) -> bool:
        """Whether a script marked the journal as meant for another server, and ships it itself."""
        return (self.home.journals / f"{journal}{MARKER_SUFFIX}").exists()

    def _leave(self, path: Path, error: Exception) -> None:
        self._unusable.add(path)
        logger.error("%s is left where it is: %s", path, error)

    def _turn(self, journal: str, tailed: Tailed, older_are_behind: bool, judge: bool) -> int:
        batch = tailed.pending
        if not tailed.sequence and self._is_shipped(journal):  # the mark is made just after the journal
            del self._tailed[journal]
            return 0
        if batch is None:
            batch = tailed.reader.read(BATCH_BYTES, BATCH_FACTS)
            tailed.passed.extend(batch.passed)
        if batch.skipped:
            logger.info("%d lines of journal %s were torn or of an unknown kind", batch.skipped, journal)
        if not batch.facts and not batch.skipped:
            self._after_the_last(journal, tailed, judge)
            return 0
        if batch.last > tailed.sequence:
            tailed.pending = batch
            if not self._bring_in(journal, tailed, batch, older_are_behind):
                return 0
        tailed.pending = None
        self._delete_passed(tailed)
        tailed.retry_at, tailed.failures = 0.0, 0
        return len(batch.facts) + batch.skipped

    def _bring_in(self, journal: str, tailed: Tailed, batch: Batch, older_are_behind: bool) -> bool:
        """Hand a batch to the database; False when it has to wait for other journals, or belongs to nobody."""
        try:
            outcome: Outcome = ingest(batch, hold_unknown=older_are_behind, tell=self._tell)
        except UnusableBatch as error:
            self._leave(tailed.reader.segment.path, error)
            del self._tailed[journal]
            return False
        if outcome.held:
            return False
        if outcome.unknown:
            logger.info("%d facts of journal %s are about runs that are not there", outcome.unknown, journal)
        tailed.sequence = max(tailed.sequence, outcome.sequence)
        return True

    def _after_the_last(self, journal: str, tailed: Tailed, judge: bool) -> None:
        """Everything there is was read: is the journal over?"""
        if tailed.reader.ended:
            self._forget(journal, tailed)
            return
        if not judge:
            return
        verdict = tailed.reader.judge()
        if verdict is Judgement.ALIVE:
            tailed.was_alive = True
        elif verdict is Judgement.DEAD:
            header = tailed.reader.header
            at = time.time_ns() // 1000 if tailed.was_alive else None
            abandon(header, at=at, tell=self._tell)
            logger.info("The process %d of journal %s died without an ending", header.pid, journal)
            self._forget(journal, tailed)

    def _forget(self, journal: str, tailed: Tailed) -> None:
        self._delete_passed(tailed)
        tailed.reader.segment.path.unlink(missing_ok=True)
        (self.home.journals / f"{journal}{CANCEL_SUFFIX}").unlink(missing_ok=True)
        del self._tailed[journal]

    def _delete_passed(self, tailed: Tailed) -> None:
        for path in tailed.passed:
            path.unlink(missing_ok=True)
        tailed.passed.clear()

    def _set_back(self, journal: str, tailed: Tailed, error: Exception) -> None:
        """One journal's trouble is its own: it is tried again later, the others go on."""
        if not tailed.failures:
            logger.error(
                "Journal %s cannot be brought in now and stays where it is: %s", journal, error, exc_info=error
            )
        tailed.failures += 1
        tailed.retry_at = time.monotonic() + FAULT_SECONDS


def run(home: Home, stop: threading.Event) -> None:
    """Bring a home's journals in until told to stop; a last pass brings in what is there then.

    Waits for the home's ingest lock first, as long as another process holds it. While the database cannot be used it
    waits and tries again, longer each time; nothing is lost.
    """
    home.make()
    with _elected(home, stop) as elected:
        if not elected:
            return
        bell = _listen(home)
        try:
            _loop(Tailer(home), bell, stop)
        finally:
            if bell is not None:
                bell.close()
                home.bell.unlink(missing_ok=True)


def bring_in_once(home: Home, wait_seconds: float = 0.3) -> bool:
    """Bring in everything that journals hold now, judge crashes, and return.

    Args:
        home: Whose journals.
        wait_seconds: How long to wait for another process that holds the lock and does the same.

    Returns:
        False when another process holds the lock (and brings them in itself).
    """
    if not home.journals.is_dir():
        return True
    stop = threading.Event()
    timer = threading.Timer(wait_seconds, stop.set)
    timer.daemon = True
    timer.start()
    with _elected(home, stop, look_seconds=0.05) as elected:
        timer.cancel()
        if not elected:
            return False
        tailer = Tailer(home, tell=False)
        while tailer.pass_once():
            pass
        tailer.pass_once()  # a dead process is judged only after a read that followed the first look at its lock
        return True


def _loop(tailer: Tailer, bell: socket.socket | None, stop: threading.Event) -> None:
    failures = 0
    cancels = ScriptCancels()
    down_since = last_fact = last_judged = last_swept = 0.0
    while True:
        stopping = stop.is_set()
        now = time.monotonic()
        if now - last_swept >= SWEEP_SECONDS:
            last_swept = now
            sweep_unfinished(tailer.home)
        judge = now - last_judged >= (BUSY_SECONDS if now - last_fact < QUIET_AFTER_SECONDS else QUIET_SECONDS)
        try:
            read = tailer.pass_once(None if stopping else stop, judge=judge)
            if judge and tailer.has_journals:
                cancels.look(tailer.readers)
        except DATABASE_TROUBLE as error:
            failures += 1
            if failures == 1:
                down_since = now
                logger.error("The database cannot be used (%s); facts wait in their journals", _first_line(error))
            _close_connection()
            if stopping:
                return
            stop.wait(min(0.1 * 2 ** min(failures, 10), MAX_PAUSE_SECONDS))
            continue
        if failures:
            logger.error("The database can be used again after %.0f s", time.monotonic() - down_since)
            failures = 0
        if judge:
            last_judged = now
        if read:
            last_fact = time.monotonic()
            if stopping:
                continue  # to the end of what is there
        elif stopping:
            return
        else:
            _wait(bell, stop, last_fact, tailer.has_journals)


def _wait(bell: socket.socket | None, stop: threading.Event, last_fact: float, has_journals: bool) -> None:
    """Sleep until the bell rings, something is due to be looked at, or a stop is asked for."""
    busy = time.monotonic() - last_fact < QUIET_AFTER_SECONDS
    seconds = BUSY_SECONDS if busy or (bell is None and has_journals) else QUIET_SECONDS
    deadline = time.monotonic() + seconds
    while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
        if bell is None:
            stop.wait(left)
        elif select.select([bell], [], [], min(left, STOP_SECONDS))[0]:
            stop.wait(BURST_SECONDS if time.monotonic() - last_fact < 2 * BURST_SECONDS else GATHER_SECONDS)
            with contextlib.suppress(BlockingIOError):
                while bell.recv(64):
                    pass
            return


def _listen(home: Home) -> socket.socket | None:
    try:
        return listen(home.bell)
    except OSError as error:
        logger.warning("%s cannot be bound (%s): journals are looked at every %.2f s", home.bell, error, BUSY_SECONDS)
        return None


@contextlib.contextmanager
def _elected(home: Home, stop: threading.Event, look_seconds: float = LOCK_SECONDS) -> Iterator[bool]:
    """Hold the home's ingest lock; False when told to stop before it was free. The kernel frees it with the process."""
    fd = os.open(home.ingest_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _lock(fd, stop, look_seconds)
    finally:
        os.close(fd)


def _lock(fd: int, stop: threading.Event, look_seconds: float) -> bool:
    while fcntl is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if stop.wait(look_seconds):
                return False
        else:
            break
    return True


def _close_connection() -> None:
    if not connection.in_atomic_block:
        connection.close()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
