"""Carries the journals of a home to a server, for a worker that has no database.

One process of a home does it, chosen by the home's ingest lock as where journals are brought in locally; the others
wait to take over. It is woken by the home's bell. What cannot be delivered stays in its journal and is tried again.
Journals that scripts ship by themselves (`shipper`) are left to them.
"""

import contextlib
import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.sdk.bell import listen
from orchestrator.sdk.events import Ended, Exited, encode
from orchestrator.sdk.home import Home
from orchestrator.sdk.journal_ending import append_ending
from orchestrator.sdk.reader import JournalReader, Judgement, Segment, UnreadableJournal, decode_facts, segments
from orchestrator.sdk.shipper import (
    HEARTBEAT_SECONDS,
    MARKER_SUFFIX,
    MAX_BODY_BYTES,
    MAX_BODY_FACTS,
    IngestServer,
    NotTaken,
)

if sys.platform != "win32":
    import fcntl

GATHER_SECONDS: Final = 0.015  # after the bell, which rings on the first fact of a burst
LOOK_SECONDS: Final = 0.5  # without a bell: for locks of dead writers, for a stop
NO_BELL_SECONDS: Final = 0.1  # where the bell cannot be bound
REFUSED_SECONDS: Final = 60.0  # between tries of a journal that the server refuses
FIRST_PAUSE_SECONDS: Final = 0.2  # between tries while the server is away …
LONGEST_PAUSE_SECONDS: Final = 5.0  # … doubled each time
LOST_MESSAGE: Final = "its process died without an ending"

_log = logging.getLogger("runs.carrier")


@dataclass(slots=True)
class _Carried:
    """A journal on its way."""

    reader: JournalReader
    called_at: float  #: monotonic; when the server last heard of it
    retry_at: float = 0.0  #: monotonic; not before
    passed: list[Path] = field(default_factory=list)  #: segments whose facts the server has


class Carrier:
    """A thread that carries a home's journals to a server.

    Args:
        home: Whose journals.
        url: The server's address.
        token: A token of the team that the runs are of.
    """

    def __init__(self, home: Home, url: str, token: str) -> None:
        self._home = home
        self._server = IngestServer(url, token)
        self._carried: dict[str, _Carried] = {}
        self._unusable: set[Path] = set()  # said once each, left where they are
        self._pause = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def ensure(self) -> None:
        """Start the thread, or another one where it died of a fault."""
        if self._thread is None or (not self._thread.is_alive() and not self._stop.is_set()):
            self._thread = threading.Thread(target=self._run, name="carrier", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Carry what is there, for so long at most, and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def pass_once(self) -> bool:
        """Give every journal a turn; return whether anything was carried. Hold the home's ingest lock.

        Raises:
            NotTaken: The server is away: all of them wait.
        """
        self._discover()
        moved = False
        for journal, carried in list(self._carried.items()):
            if carried.retry_at > time.monotonic():
                continue
            try:
                moved = self._turn(journal, carried) or moved
            except FileNotFoundError:  # somebody cleared the folder
                del self._carried[journal]
            except NotTaken as problem:
                if not problem.refused:
                    raise
                _log.error("Journal %s is not taken and stays where it is: %s", journal, problem)
                carried.retry_at = time.monotonic() + REFUSED_SECONDS
            except (OSError, UnreadableJournal) as error:
                _log.error("Journal %s cannot be read: %s", journal, error)
                carried.retry_at = time.monotonic() + REFUSED_SECONDS
        return moved

    # One journal

    def _discover(self) -> None:
        for found in segments(self._home):  # ordered by journal and number: the oldest segment of each comes first
            if found.journal in self._carried or found.path in self._unusable:
                continue
            if (self._home.journals / f"{found.journal}{MARKER_SUFFIX}").exists():
                continue
            self._begin(found)

    def _begin(self, found: Segment) -> None:
        try:
            self._carried[found.journal] = _Carried(JournalReader(found), time.monotonic())
        except FileNotFoundError:
            return
        except UnreadableJournal as error:
            self._unusable.add(found.path)
            _log.error("%s is left where it is: %s", found.path, error)

    def _turn(self, journal: str, carried: _Carried) -> bool:
        """Carry the next batch of a journal; where there is none, see whether it is over."""
        reader = carried.reader
        place = reader.segment, reader.offset, reader.header
        lines, passed = reader.read_lines(MAX_BODY_BYTES, MAX_BODY_FACTS)
        heartbeat = time.monotonic() - carried.called_at >= HEARTBEAT_SECONDS
        if lines or heartbeat:
            try:
                self._server.post(encode(reader.header) + b"\n" + lines)
            except NotTaken:
                reader.segment, reader.offset, reader.header = place
                raise
            carried.called_at = time.monotonic()
            facts, _ = decode_facts(lines)
            reader.ended = reader.ended or any(isinstance(fact, Ended) for fact in facts)
        for path in passed:
            path.unlink(missing_ok=True)
        if not lines:
            self._after_the_last(journal, reader)
        return bool(lines)

    def _after_the_last(self, journal: str, reader: JournalReader) -> None:
        if reader.ended:
            reader.segment.path.unlink(missing_ok=True)
            del self._carried[journal]
        elif reader.judge() is Judgement.DEAD:
            _log.info("The process %d of journal %s died without an ending", reader.header.pid, journal)
            if reader.header.run:
                header = reader.header
                append_ending(self._home, journal, Exited(run=header.run, attempt=header.attempt, message=LOST_MESSAGE))
            else:  # nobody answers for it: its lease speaks
                reader.ended = True

    # The thread

    def _run(self) -> None:
        with self._elected() as elected:
            if not elected:
                return
            bell = self._listen()
            try:
                while not self._stop.is_set():
                    if not self._try_pass():
                        self._wait(bell)
                while self._try_pass():  # what is there when it ends
                    pass
            finally:
                if bell is not None:
                    bell.close()
                    self._home.bell.unlink(missing_ok=True)

    def _try_pass(self) -> bool:
        try:
            moved = self.pass_once()
        except NotTaken as problem:
            if not self._pause:
                _log.error("Facts wait in their journals: the server cannot be reached: %s", problem)
            self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._stop.wait(self._pause)
            return False
        if self._pause:
            _log.error("The server takes facts again.")
        self._pause = 0.0
        return moved

    def _wait(self, bell: socket.socket | None) -> None:
        """Sleep until the bell rings, or it is time to look again."""
        if bell is None:
            self._stop.wait(NO_BELL_SECONDS)
        elif select.select([bell], [], [], LOOK_SECONDS)[0]:
            self._stop.wait(GATHER_SECONDS)
            with contextlib.suppress(BlockingIOError):
                while bell.recv(64):
                    pass

    def _listen(self) -> socket.socket | None:
        try:
            return listen(self._home.bell)
        except OSError as error:
            _log.warning("%s cannot be bound (%s): journals are looked at often", self._home.bell, error)
            return None

    @contextlib.contextmanager
    def _elected(self) -> Iterator[bool]:
        """Hold the home's ingest lock; False when told to stop before it was free. The kernel frees it."""
        fd = os.open(self._home.ingest_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield self._lock(fd)
        finally:
            os.close(fd)

    def _lock(self, fd: int) -> bool:
        while sys.platform != "win32":
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._stop.wait(LOOK_SECONDS):
                    return False
            else:
                break
        return True
