"""Ships this process's journal to a server, from a thread: for scripts that `ORCHESTRATOR_API_URL` points at one.

User code never waits for it, except that the process's end waits up to a second for the last facts. What could not be
shipped stays in the journal. A marker beside it (`<journal id>.ship`, holding the server's URL) says that it is meant
for that server: the next script of this home that ships there brings it along, and a tailer of the home leaves it be.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator._version import __version__
from orchestrator.sdk.causes import LEASE_LOST
from orchestrator.sdk.events import Ended, encode
from orchestrator.sdk.home import Home
from orchestrator.sdk.reader import (
    JournalReader,
    Judgement,
    UnreadableJournal,
    ask_lock,
    decode_facts,
    segment,
    segments,
)

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable

MARKER_SUFFIX: Final = ".ship"
HEARTBEAT_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
EXIT_WAIT_SECONDS: Final = 1.0
REQUEST_TIMEOUT_SECONDS: Final = 10.0
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_BODY_FACTS: Final = 2_000
_FIRST_DELAY_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 30.0
_PATIENT_SECONDS: Final = 1.0  # between tries at the end, where facts would be lost

#: Called in the shipper's thread, once, with the server's reason why this process's run has to end.
on_stop: "Callable[[str], None] | None" = None
#: The same is called when no server was reached for so long: a run that is run again elsewhere must have ended by then.
lifeline_seconds: float | None = None


class NotTaken(Exception):
    """The server did not take a batch; it stays in the journal."""

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused  #: the server was reached and said no: trying again soon is no use


def start(home: Home, journal: str, wait_seconds: float = EXIT_WAIT_SECONDS) -> "Shipper | None":
    """Begin to ship a journal whose first segment is there; None where no thread or marker can be made."""
    try:
        shipper = Shipper(home, journal, wait_seconds)
        shipper.start()
    except (OSError, RuntimeError, UnreadableJournal):  # RuntimeError: no more threads, or the interpreter is ending
        return None
    return shipper


def ship_leftovers(home: Home, server: "IngestServer", leave: Callable[[Path], bool] = lambda marker: False) -> None:
    """Ship journals of a home that dead processes meant for a server.

    Args:
        home: Where they lie.
        server: The server.
        leave: Whether to leave the journal of a marker alone.

    Raises:
        NotTaken: The rest stays.
    """
    for marker in home.journals.glob(f"*{MARKER_SUFFIX}"):
        if leave(marker) or _content(marker) != server.url:
            continue
        parts = [part for part in segments(home) if part.journal == marker.stem]
        try:
            if parts and ask_lock(parts[-1].path) is not Judgement.DEAD:
                continue
            if parts:
                reader = JournalReader(parts[0])
                _ship(server, reader, heartbeat=False)
                reader.segment.path.unlink(missing_ok=True)
            marker.unlink(missing_ok=True)
        except (FileNotFoundError, UnreadableJournal):  # another process ships it just now
            continue


class Shipper:
    """Ships one living journal, then what earlier processes left for the same server.

    Args:
        home: Where the journal lies.
        journal: Its id; its first segment is there.
        wait_seconds: How long the end of the process waits for the last facts. More than a try's length where what is
            not shipped by then is lost, as in a container.
    """

    def __init__(self, home: Home, journal: str, wait_seconds: float = EXIT_WAIT_SECONDS) -> None:
        self._home = home
        self._wait_seconds = wait_seconds
        self._give_up_at = 0.0
        self._server = IngestServer(os.environ["ORCHESTRATOR_API_URL"], os.environ.get("ORCHESTRATOR_API_TOKEN", ""))
        self._reader = JournalReader(segment(home.journals, journal, 0))
        self._marker = home.journals / f"{journal}{MARKER_SUFFIX}"
        self._wake = threading.Event()
        self._ending = False
        self._complained = False
        self._has_heeded = False
        self._thread = threading.Thread(target=self._run, name="orchestrator-shipper", daemon=True)

    def start(self) -> None:
        """Begin to ship.

        Raises:
            OSError: The home cannot be written.
            RuntimeError: No thread can be started.
        """
        self._marker.write_text(self._server.url)
        self._thread.start()

    def finish(self) -> None:
        """Ship what is left, for as long as it may take. Call it when the journal was ended."""
        if self._wait_seconds > EXIT_WAIT_SECONDS:
            self._give_up_at = time.monotonic() + self._wait_seconds
        self._ending = True
        self._wake.set()
        self._thread.join(self._wait_seconds)
        if self._thread.is_alive():
            self._complain(NotTaken(f"it did not answer within {self._wait_seconds:g} s"))

    def _run(self) -> None:
        delay = 0.0
        last_contact = time.monotonic()
        leftovers_tried = False
        try:
            while True:
                asked_at = time.monotonic()
                heartbeat = asked_at - last_contact >= HEARTBEAT_SECONDS
                try:
                    if _ship(self._server, self._reader, heartbeat):
                        last_contact, delay = asked_at, 0.0
                        self._heed(self._server.stop)
                    if self._reader.ended:
                        self._delete()
                        return
                    if not leftovers_tried and not self._ending:
                        leftovers_tried = True
                        self._ship_leftovers()
                except NotTaken as problem:
                    self._complain(problem)
                    if lifeline_seconds is not None and time.monotonic() - last_contact > lifeline_seconds:
                        self._heed(LEASE_LOST)
                    if self._ending and (problem.refused or time.monotonic() >= self._give_up_at):
                        return  # there is no time for another try
                    delay = _LONGEST_DELAY_SECONDS if problem.refused else _next_delay(delay)
                    delay = delay if lifeline_seconds is None else min(delay, lifeline_seconds / 4)
                if self._ending:
                    time.sleep(min(delay, _PATIENT_SECONDS))
                else:
                    self._wake.wait(delay or POLL_SECONDS)
                delay = 0.0 if self._ending else delay
        except (FileNotFoundError, UnreadableJournal):  # somebody brought the journal in and deleted it
            self._marker.unlink(missing_ok=True)
        except OSError:
            return  # it stays for whoever comes next

    def _heed(self, stop: str) -> None:
        """Pass on, once, why this run has to end: nobody else may be there to tell it."""
        if stop and on_stop is not None and not (self._has_heeded or self._ending or self._reader.ended):
            self._has_heeded = True
            on_stop(stop)

    def _delete(self) -> None:
        self._reader.segment.path.unlink(missing_ok=True)
        self._marker.unlink(missing_ok=True)

    def _ship_leftovers(self) -> None:
        ship_leftovers(self._home, self._server, lambda marker: marker == self._marker or self._ending)

    def _complain(self, problem: NotTaken) -> None:
        if self._complained:
            return
        self._complained = True
        print(
            f"orchestrator: {self._server.url} does not take this run's record: {problem}. "
            "It is kept in the journal and sent later.",
            file=sys.__stderr__,
            flush=True,
        )


class IngestServer:
    """The server's end: one kept-alive connection, opened when needed."""

    def __init__(self, url: str, token: str) -> None:
        """Keep where it is; nothing is sent yet."""
        self.url = url.rstrip("/").removesuffix("/api")
        self.stop = ""  #: why the run whose journal this is has to end, as of the last answer; empty: it may go on
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": f"orchestrator/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes) -> int:
        """Send a batch and return the highest fact number that the server has of this journal.

        An answer without an error means that the whole batch was taken, also where the number is lower: an older server
        passes over kinds of facts that it does not know.

        Raises:
            NotTaken: It could not be reached, or said no.
        """
        import http.client  # 20 ms, spent in the shipper's thread

        try:
            connection = self._connect()
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise NotTaken(f"{type(error).__name__}: {error}") from None
        if response.status >= 300:
            refused = response.status < 500 and response.status not in (408, 425, 429)
            raise NotTaken(f"it answered {response.status} {response.reason}", refused)
        try:
            said = msgspec.json.decode(answer)
            self.stop = str(said.get("stop") or "")
            return int(said["sequence"])
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError):
            raise NotTaken("its answer is not an orchestrator server's", refused=True) from None

    def _connect(self) -> "http.client.HTTPConnection":
        if self._connection is None:
            import http.client
            from urllib.parse import urlsplit

            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise NotTaken("ORCHESTRATOR_API_URL is no http:// or https:// URL", refused=True)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(parts.hostname, parts.port, timeout=REQUEST_TIMEOUT_SECONDS)
            self._path = f"{parts.path}/api/ingest/"
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _ship(server: IngestServer, reader: JournalReader, heartbeat: bool) -> bool:
    """Ship all whole lines that are there and delete the segments that they complete.

    Args:
        heartbeat: Whether to call on the server even if there is nothing to ship.

    Returns:
        Whether the server was called on.

    Raises:
        NotTaken: The rest stays; the reader stands where it stood before the batch that was not taken.
    """
    called = False
    while True:
        place = reader.segment, reader.offset, reader.header
        lines, passed = reader.read_lines(MAX_BODY_BYTES, MAX_BODY_FACTS)
        if not lines and not (heartbeat and not called):
            return called
        facts, _ = decode_facts(lines)
        try:
            server.post(encode(reader.header) + b"\n" + lines)
        except NotTaken:
            reader.segment, reader.offset, reader.header = place
            raise
        called = True
        reader.ended = reader.ended or any(isinstance(fact, Ended) for fact in facts)
        for path in passed:
            path.unlink(missing_ok=True)


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _next_delay(delay: float) -> float:
    """Return the next wait after a failure: doubled, and spread so that scripts do not come back all at once."""
    import random  # 5 ms, only once something failed

    return min(_LONGEST_DELAY_SECONDS, max(_FIRST_DELAY_SECONDS, delay * 2)) * random.uniform(0.75, 1.25)
