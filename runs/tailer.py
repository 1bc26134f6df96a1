"""The process that brings a home's journals in: one of it at a time, elected by `home.ingest_lock`.

It is woken by the bell and looks by itself behind that: often while facts come, seldom while nothing happens. How a
pass goes stands in `runs.passes`.
"""

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

from django.db import connection

from orchestrator.sdk.bell import listen
from orchestrator.sdk.home import Home
from orchestrator.sdk.reader import (
    sweep_unfinished,
)
from runs.passes import DATABASE_TROUBLE, Tailer
from runs.script_cancels import ScriptCancels

try:
    import fcntl
except ImportError:  # Windows: nobody else is kept out, and the lease alone judges
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

GATHER_SECONDS: Final = 0.015  # after the bell, which rings on the first fact of a burst …
BURST_SECONDS: Final = 0.05  # … and while one goes on: fewer, larger transactions leave the machine to the script
BUSY_SECONDS: Final = 0.15
QUIET_SECONDS: Final = 1.0  # crashes are seen at this pace where no fact comes
QUIET_AFTER_SECONDS: Final = 2.0
STOP_SECONDS: Final = 0.25  # how late a stop may be noticed
LOCK_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 5.0  # between tries while the database cannot be used
SWEEP_SECONDS: Final = 600.0


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
