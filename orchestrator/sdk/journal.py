"""This process's journal: an append-only file in the home that every recorded fact goes to, one line each.

A fact is handed to the operating system before `record` returns, so that killing the process loses nothing that had
happened (losing the machine's power may: nothing is synced). Rules that readers rely on:

- A segment is made under another ending, locked (flock), given its header and then renamed into place; so whoever sees
  a segment sees a whole header, and a free lock means that the writer is gone.
- The lock is held until the process ends. The next segment is made and locked before the last one is let go.
- A line ends with a newline. One that does not is still being written, or was torn by a full disk or by dying.
- After a fork the child drops what it inherited (the parent's lock stays the parent's) and makes a journal of its own.
"""

import atexit
import errno
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.sdk.bell import Bell
from orchestrator.sdk.boot import this_boot
from orchestrator.sdk.events import Ended, Fact, Header, encode
from orchestrator.sdk.home import Home, home, ships_itself
from orchestrator.sdk.ids import uuid7

if TYPE_CHECKING:
    from orchestrator.sdk.shipper import Shipper
if sys.platform != "win32":  # there a crash is judged by lease alone
    import fcntl

SEGMENT_BYTES: Final = 64 * 1024 * 1024
SUFFIX: Final = ".jsonl"
CANCEL_SUFFIX: Final = ".cancel"
UNFINISHED_SUFFIX: Final = ".making"
RETRY_SECONDS: Final = 1.0
LAST_FACTS_SECONDS: Final = 30.0  # for a run whose facts are lost with its container
_MAX_DEPTH: Final = 32
_LOWEST_FD: Final = 200  # out of the way of programs that close or reuse low descriptors


class Journal:
    """One journal of this process. Its methods may be called from any thread and from signal handlers."""

    __slots__ = (
        "_bell",
        "_closed",
        "_deferred",
        "_fd",
        "_home",
        "_lost",
        "_n",
        "_retry_at",
        "_segment",
        "_size",
        "_torn",
        "_warned",
        "_writing",
        "attempt",
        "id",
        "on_ended",
        "run",
        "shipper",
    )

    def __init__(self, journal_id: str = "", run: str = "", attempt: int = 0) -> None:
        self.id = journal_id or str(uuid7())
        self.run = run
        self.attempt = attempt
        self.on_ended: Callable[[], None] | None = None  #: called when the ending stands in the file
        self.shipper: Shipper | None = None
        self._home: Home | None = None
        self._bell: Bell | None = None
        self._deferred: deque[bytes] = deque()  # facts under way, without their numbers
        self._writing = False
        self._closed = False
        self._fd = -1
        self._n = 0
        self._segment = -1
        self._size = 0
        self._torn = False
        self._warned = False
        self._lost = 0
        self._retry_at = 0.0

    @property
    def opened(self) -> bool:
        """Whether there is a file."""
        return self._fd >= 0

    @property
    def sequence(self) -> int:
        """The number of the last fact."""
        return self._n

    def ring(self) -> None:
        """Wake whoever brings this journal in, should they have missed the last fact."""
        with _lock:
            if self._bell is not None:
                self._bell.ring(time.monotonic_ns())

    @property
    def is_cancelled(self) -> bool:
        """Whether who reads it has noted, before sending a signal, that somebody asked to cancel its run."""
        return self._home is not None and (self._home.journals / f"{self.id}{CANCEL_SUFFIX}").exists()

    def record(self, fact: Fact) -> None:
        """Append a fact. Never raises; see the module's `record`."""
        fact.n = 0
        if not fact.t:
            fact.t = time.time_ns() // 1000
        # Encoded outside the mutex: user code may run in here (`str` of a parameter), and it may record.
        self.append(encoded(fact))

    def open(self) -> None:
        """Make the file now instead of at the first fact. Never raises."""
        with _lock:
            self._attempt(b"")

    def close(self) -> None:
        """Write the ending and let the file go; does nothing where no file was made."""
        with _lock:
            if self._fd < 0:
                return  # a fact that comes later still opens this journal
            self._retry_at = 0.0
            self.append(encode(Ended(t=time.time_ns() // 1000))[:-1])
            self._closed = True
            if self.on_ended is not None and not self._lost:
                self.on_ended()
            self._release()
            if self._bell is not None:
                self._bell.ring()
                self._bell.close()

    def abandon(self) -> None:
        """Close the inherited descriptors in a forked child. The lock stays with the parent."""
        self._retry_at = math.inf  # should a write have been under way in the thread that forked, it goes nowhere
        self._release()
        if self._bell is not None:
            self._bell.close()

    def append(self, body: bytes) -> None:
        """Append a fact that is encoded already (by `encoded`)."""
        with _lock:
            if self._closed and self is not _journal:  # closed while this thread waited for the mutex
                _journal.append(body)
                return
            self._deferred.append(body)
            if self._writing:  # a signal handler interrupted this thread's own write, which goes on afterwards
                return
            self._writing = True
            try:
                # Taken off only when written: a signal handler may raise in here, and readers drop a number seen twice.
                while self._deferred:
                    self._attempt(b'%b,"n":%d}\n' % (self._deferred[0], self._n + 1))
                    self._n += 1
                    self._deferred.popleft()
            finally:
                self._writing = False
            if self._bell is not None:
                self._bell.ring(time.monotonic_ns())

    def _attempt(self, line: bytes) -> None:
        """Write a line, or count it as lost; whatever the disk does, the user's code goes on."""
        if self._retry_at and time.monotonic() < self._retry_at:
            self._lost += 1
            return
        try:
            if self._fd < 0 or self._size >= SEGMENT_BYTES:
                self._open_segment()
            if self._torn:
                self._write(b"\n")
                self._torn = False
            self._write(line)
        except (OSError, ValueError, RuntimeError) as error:  # the last two: a home that is no path, or not to be found
            self._lost += bool(line)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._warn(error)
        else:
            if self._retry_at:
                self._resume()

    def _write(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        self._size += written
        while written < len(line):
            self._torn = True
            more = os.write(self._fd, line[written:])
            written += more
            self._size += more
            self._torn = written < len(line)

    def _open_segment(self) -> None:
        if self._home is None:
            self._home = home()
        self._home.make()
        segment = self._segment + 1
        path = self._home.journals / f"{self.id}-{segment:06d}{SUFFIX}"
        making = path.with_suffix(UNFINISHED_SUFFIX)
        # Appending, so that a supervisor's last word and this process's never overwrite each other.
        fd = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            fd = _move_up(fd)
            if sys.platform != "win32":
                fcntl.flock(fd, fcntl.LOCK_EX)
            header = self._header(segment)
            _write_whole(fd, header)
            os.rename(making, path)
        except BaseException:
            os.close(fd)
            making.unlink(missing_ok=True)
            raise
        self._release()
        self._fd, self._segment, self._size, self._torn = fd, segment, len(header), False
        if self._bell is None:
            self._bell = Bell(self._home.bell)
            _close_with_multiprocessing()
            self._ship(self._home)

    def _header(self, segment: int) -> bytes:
        boot = this_boot()
        header = Header(
            journal=self.id,
            segment=segment,
            first=self._n + 1,
            t=time.time_ns() // 1000,
            pid=os.getpid(),
            host=boot.host,
            machine=boot.machine,
            boot=boot.boot,
            run=self.run,
            attempt=self.attempt,
        )
        return encode(header) + b"\n"

    def _ship(self, home: Home) -> None:
        """Have a thread send this journal to a server, where the environment names one."""
        if ships_itself():
            from orchestrator.sdk import shipper  # 5 ms, which only these processes pay

            self.shipper = shipper.start(home, self.id, LAST_FACTS_SECONDS if self.run else shipper.EXIT_WAIT_SECONDS)

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _warn(self, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno == errno.EBADF:
            self._fd = -1  # something closed our descriptor: the next try makes a new segment
        if self._warned:
            return
        self._warned = True
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        _say(
            f"{self._who()}: not recording: {reason} ({self._where()}). Your code runs on, but what it does now is not "
            "recorded. Make room there, or set ORCHESTRATOR_HOME to a folder that can be written."
        )

    def _resume(self) -> None:
        self._retry_at = 0.0
        lost, self._lost = self._lost, 0
        if lost:
            self._warned = False
            _say(f"{self._who()}: recording again; {lost} facts were lost while {self._where()} could not be written.")

    def _who(self) -> str:
        # A worker's log has the lines of many runs.
        return f"orchestrator: run {self.run}" if self.run else "orchestrator"

    def _where(self) -> str:
        return str(self._home.journals) if self._home is not None else "ORCHESTRATOR_HOME"


# One for all journals: a fork can hold it. Reentrant: a signal handler may record while its own thread writes.
_lock = threading.RLock()
_journal = Journal()


def record(fact: Fact) -> None:
    """Append a fact to this process's journal, making the journal if this is its first fact.

    Sets the fact's number, and its time when that is zero. Never raises and never waits but for the disk: when the home
    cannot be written, one warning goes to standard error and facts are dropped until it can (tried once a second).
    """
    _journal.record(fact)


def record_encoded(body: bytes) -> None:
    """Append a fact that another process of a run of this one's has encoded; as `record` does.

    Args:
        body: What `encoded` made of it, with its time and without a number.
    """
    _journal.append(body)


def divert(journal: Journal) -> Journal:
    """Have `record` hand all facts of this process to another journal; returns the one before."""
    global _journal
    with _lock:
        before, _journal = _journal, journal
        return before


def open_journal(journal_id: str | None = None, run: str = "", attempt: int = 0) -> Journal:
    """Begin the journal that a supervisor named; whatever this process wrote before is ended first.

    Args:
        journal_id: UUIDv7 text; a new one by default.
        run: The flow run that a supervisor started this process for.
        attempt: Which attempt of it.

    Returns:
        The journal that `record` writes to from now on.
    """
    global _journal
    with _lock:
        _journal.close()
        _journal = Journal(journal_id or "", run, attempt)
        _journal.open()
        return _journal


def current() -> Journal:
    """Return this process's journal, opened or not."""
    return _journal


def close() -> None:
    """End this process's journal, if it has one. A fact recorded later begins a new one."""
    global _journal
    with _lock:
        ending = _journal
        if not ending.opened:
            return
        ending.close()
        _journal = Journal()
    if ending.shipper is not None:
        ending.shipper.finish()


def encoded(fact: Fact) -> bytes:
    """Return a fact's JSON without its closing brace, so that its number can follow. Never raises."""
    return _encode(fact)[:-1]


def _encode(fact: Fact) -> bytes:
    try:
        return encode(fact)
    except Exception:  # what users pass: a value whose __str__ raises, lone surrogates, a cycle, a key that is no text
        plain = {name: _plain(getattr(fact, name), _MAX_DEPTH) for name in fact.__struct_fields__}
        tag = fact.__struct_config__.tag
        return msgspec.json.encode({"k": tag} | {name: value for name, value in plain.items() if name != "n"})


def _plain(value: object, depth: int) -> object:
    """Return the nearest thing to a value that JSON can hold."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if depth and isinstance(value, dict):
        return {str(_plain(key, 0)): _plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in value]
    if depth and isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name), depth - 1) for name in value.__struct_fields__}
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return f"<{type(value).__qualname__}>"


def _close_with_multiprocessing() -> None:
    """Have the journal ended in a worker of multiprocessing, which leaves without running what atexit holds."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, close, exitpriority=-100)


def _move_up(fd: int) -> int:
    """Move a descriptor out of reach of daemons that close the low ones: our lines must not end in a user's file."""
    if sys.platform == "win32":
        return fd
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
    except OSError:  # the limit of open files is lower than that
        return fd
    os.close(fd)
    return moved


def _write_whole(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _say(line: str) -> None:
    # The interpreter's own stream: sys.stderr may be one that records what is printed.
    stream = sys.__stderr__ or sys.stderr
    try:
        print(line, file=stream, flush=True)
    except Exception:
        pass


def _before_fork() -> None:
    _lock.acquire()  # no other thread is making a segment, whose lock the child would keep unknowingly


def _after_fork_in_parent() -> None:
    _lock.release()


def _after_fork_in_child() -> None:
    global _journal, _lock
    _lock = threading.RLock()
    inherited, _journal = _journal, Journal()
    inherited.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
# Registered at import, so that it runs after whatever the user registers later; without a journal it does nothing.
atexit.register(close)
