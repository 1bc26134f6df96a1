"""The journals of a home, brought in pass by pass.

Each journal is read from its start (or from the first segment that is not wholly in) in bounded batches, in turns, so
that no long backlog keeps a short run waiting. What a pass found of several journals goes into one transaction, up to a
batch's bounds; where that cannot be, each journal's goes into its own, with its own trouble. A position is kept in
memory only: after a restart what is in already is read once more and passed over by its numbers. Nothing is deleted
before the transaction that took it committed.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from django.db import InterfaceError, OperationalError, ProgrammingError

from orchestrator.sdk.home import Home
from orchestrator.sdk.journal import CANCEL_SUFFIX
from orchestrator.sdk.reader import Batch, JournalReader, Judgement, Segment, UnreadableJournal, read_header, segments
from orchestrator.sdk.shipper import MARKER_SUFFIX
from runs.ingest import Outcome, abandon, high_water_marks, ingest, ingest_together
from runs.loading import UnusableBatch

logger = logging.getLogger(__name__)

BATCH_FACTS: Final = 2_000
BATCH_BYTES: Final = 4 * 1024 * 1024
TOGETHER: Final = 32  # journals in one transaction: it is over before claims have to wait for long
FAULT_SECONDS: Final = 60.0  # between tries of a journal that our own fault keeps out
#: The database cannot be used now; the last one while its tables are not made yet.
DATABASE_TROUBLE: Final = (OperationalError, InterfaceError, ProgrammingError)


@dataclass(slots=True)
class Tailed:
    """A journal that is being brought in.

    Attributes:
        reader: Where it is read.
        sequence: Its high-water mark, as far as known: what is below is not handed to the database again.
        pending: A batch that was read and is not in yet.
        pending_bytes: How long it is.
        passed: Segments to delete once what was read behind them is in.
        was_alive: The writer was seen alive by this process: if it dies, it dies now.
        retry_at: Not before this time (monotonic); 0 when nothing is wrong.
        failures: In a row.
    """

    reader: JournalReader
    sequence: int
    pending: Batch | None = None
    pending_bytes: int = 0
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
        found: dict[str, Batch] = {}  # in the order of the journals, oldest first
        older_are_behind = False
        for journal, tailed in list(self._tailed.items()):
            if stop is not None and stop.is_set():
                break
            if tailed.retry_at > time.monotonic():
                continue
            with self._its_own_trouble(journal, tailed):
                batch = self._look(journal, tailed, judge)
                if batch is None:
                    continue
                found[journal] = batch
            if self._is_enough(found):
                read += self._bring_in(found, older_are_behind)
                older_are_behind = True
                found = {}
        return read + self._bring_in(found, older_are_behind)

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
        new = {
            journal: found_segments
            for journal, found_segments in by_journal.items()
            if journal not in self._tailed
            and found_segments[0].path not in self._unusable
            and not self._is_shipped(journal)
        }
        marks = high_water_marks(filter(None, map(_id_of, new))) if new else {}
        for journal, found_segments in new.items():
            key = _id_of(journal)
            if key is None:
                self._leave(found_segments[0].path, ValueError(f"{journal!r} is no journal's id"))
            else:
                self._start(journal, found_segments, marks.get(key, 0))
        self._folder_mtime = mtime

    def _start(self, journal: str, found: list[Segment], sequence: int) -> None:
        """Begin with the first segment that is not wholly in; those before it are deleted."""
        try:
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

    def _look(self, journal: str, tailed: Tailed, judge: bool) -> Batch | None:
        """Return what is to be brought in of a journal now; None where there is nothing, or it is not ours."""
        if not tailed.sequence and self._is_shipped(journal):  # the mark is made just after the journal
            del self._tailed[journal]
            return None
        if tailed.pending is not None:
            return tailed.pending
        segment, offset = tailed.reader.segment, tailed.reader.offset
        batch = tailed.reader.read(BATCH_BYTES, BATCH_FACTS)
        tailed.passed.extend(batch.passed)
        if batch.skipped:
            logger.info("%d lines of journal %s were torn or of an unknown kind", batch.skipped, journal)
        if not batch.facts and not batch.skipped:
            self._after_the_last(journal, tailed, judge)
            return None
        tailed.pending = batch
        tailed.pending_bytes = tailed.reader.offset - (offset if tailed.reader.segment is segment else 0)
        return batch

    def _is_enough(self, found: dict[str, Batch]) -> bool:
        """Whether these batches fill a transaction."""
        return (
            len(found) >= TOGETHER
            or sum(len(batch.facts) for batch in found.values()) >= BATCH_FACTS
            or sum(self._tailed[journal].pending_bytes for journal in found) >= BATCH_BYTES
        )

    def _bring_in(self, found: dict[str, Batch], older_are_behind: bool) -> int:
        """Hand batches to the database, together where that can be; return how many facts were read and are done with.

        Args:
            found: By journal, oldest first.
            older_are_behind: Whether older journals than these were not read to their ends.
        """
        read = 0
        new = {journal: batch for journal, batch in found.items() if batch.last > self._tailed[journal].sequence}
        outcomes = ingest_together(list(new.values()), hold_unknown=True, tell=self._tell) if len(new) > 1 else None
        together = dict(zip(new, outcomes, strict=True)) if outcomes is not None else {}
        for journal, batch in found.items():
            tailed = self._tailed[journal]
            with self._its_own_trouble(journal, tailed):
                if journal in together:
                    self._is_in(journal, tailed, together[journal])
                elif journal in new and not self._bring_one_in(journal, tailed, batch, older_are_behind):
                    older_are_behind = older_are_behind or journal in self._tailed
                    continue
                tailed.pending = None
                self._delete_passed(tailed)
                tailed.retry_at, tailed.failures = 0.0, 0
                read += len(batch.facts) + batch.skipped
                older_are_behind = True
        return read

    def _bring_one_in(self, journal: str, tailed: Tailed, batch: Batch, older_are_behind: bool) -> bool:
        """Hand a batch to the database; False when it has to wait for other journals, or belongs to nobody."""
        try:
            outcome = ingest(batch, hold_unknown=older_are_behind, tell=self._tell)
        except UnusableBatch as error:
            self._leave(tailed.reader.segment.path, error)
            del self._tailed[journal]
            return False
        if outcome.held:
            return False
        self._is_in(journal, tailed, outcome)
        return True

    def _is_in(self, journal: str, tailed: Tailed, outcome: Outcome) -> None:
        if outcome.unknown:
            logger.info("%d facts of journal %s are about runs that are not there", outcome.unknown, journal)
        tailed.sequence = max(tailed.sequence, outcome.sequence)

    @contextlib.contextmanager
    def _its_own_trouble(self, journal: str, tailed: Tailed) -> Iterator[None]:
        """Keep what goes wrong with one journal from the others."""
        try:
            yield
        except FileNotFoundError:  # somebody cleared the folder
            self._tailed.pop(journal, None)
        except DATABASE_TROUBLE:
            raise
        except Exception as error:
            self._set_back(journal, tailed, error)

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


def _id_of(journal: str) -> UUID | None:
    try:
        return UUID(journal)
    except ValueError:
        return None
