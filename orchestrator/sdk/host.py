"""The run host: forks each flow run of one worker into a process of its own, and answers for its ending.

`python -m orchestrator.sdk.host --fd N` serves the worker at the other end of that stream socket (`host_protocol`). It
has one thread, the engine imported, no Django and no secrets, so that a fork is quick and safe. SIGTERM, SIGINT and
SIGHUP are blocked here: what a terminal or a service manager sends to everybody is the worker's to decide about, and
the end of the socket is the one order to stop. Every run that ends without a word of its own gets one in its journal.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import Final

import msgspec

import orchestrator
from orchestrator.sdk.events import Exited
from orchestrator.sdk.home import home
from orchestrator.sdk.host_child import death_with_parent, run_child
from orchestrator.sdk.host_note import HostNote
from orchestrator.sdk.host_protocol import FromHost, Ready, RunExited, Start, Started, Stop, decode_to_host, pack
from orchestrator.sdk.journal_ending import append_ending

BLOCKED_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
PRIVATE_VARIABLES: Final = (
    "ORCHESTRATOR_DATABASE_URL",
    "ORCHESTRATOR_BROKER_URL",
    "ORCHESTRATOR_EMAIL_URL",
    "ORCHESTRATOR_SECRET_KEY",
    "ORCHESTRATOR_SECRET_KEY_FALLBACKS",
    "DJANGO_SETTINGS_MODULE",
)
_READ_BYTES: Final = 1024 * 1024
_LAST_WAIT_SECONDS: Final = 10.0  # for processes that even SIGKILL does not end at once


@dataclass(slots=True)
class _Child:
    """A run's process."""

    start: Start
    pid: int
    note: HostNote
    kill_at: float | None = None  #: monotonic time of its SIGKILL


class RunHost:
    """The host's loop and the runs it answers for."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._children: dict[int, _Child] = {}
        self._gone_at: float | None = None
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_writer = socket.socketpair()

    def serve(self) -> None:
        """Run until the worker is gone and every run with it."""
        self._connection.setblocking(False)
        self._wakeup.setblocking(False)
        self._wakeup_writer.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_child_signal)
        self._selector.register(self._connection, selectors.EVENT_READ, self._on_message)
        self._send(Ready())
        while not self._is_over():
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._kill_overdue()

    def _is_over(self) -> bool:
        if self._gone_at is None:
            return False
        return not self._children or time.monotonic() > self._gone_at + _LAST_WAIT_SECONDS

    def _timeout(self) -> float | None:
        deadlines = [child.kill_at for child in self._children.values() if child.kill_at is not None]
        if self._gone_at is not None:
            deadlines.append(self._gone_at + _LAST_WAIT_SECONDS)
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    # What the worker says

    def _on_message(self) -> None:
        self._flush()
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._worker_gone()
            return
        self._incoming += data
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = rest
        for line in lines:
            self._obey(bytes(line))

    def _obey(self, line: bytes) -> None:
        try:
            message = decode_to_host(line)
        except msgspec.MsgspecError as error:  # a newer worker
            print(f"run host: passed over a message: {error}", file=sys.stderr, flush=True)
            return
        if isinstance(message, Start):
            self._start(message)
        else:
            self._stop(message)

    def _worker_gone(self) -> None:
        self._selector.unregister(self._connection)
        self._outgoing.clear()
        self._gone_at = time.monotonic()
        for child in self._children.values():
            child.note.set_reason(child.note.reason or "worker gone")
            _signal_group(child.pid, signal.SIGKILL)

    # The life of a run

    def _start(self, start: Start) -> None:
        note = HostNote()
        host_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            note.close()
            self._close_journal(start, message=f"no process could be started: {error.strerror}")
            self._send(RunExited(run=start.run, attempt=start.attempt))
            return
        if pid == 0:
            self._let_go()
            run_child(start, note, host_pid)
        self._children[pid] = _Child(start, pid, note)
        self._send(Started(run=start.run, attempt=start.attempt, pid=pid))

    def _let_go(self) -> None:
        """Close what is the host's own, in the child."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for connection in (self._connection, self._wakeup, self._wakeup_writer):
            connection.close()
        for child in self._children.values():
            child.note.close()
        self._children.clear()

    def _stop(self, stop: Stop) -> None:
        for child in self._children.values():
            if child.start.run == stop.run:
                child.note.set_reason(stop.reason)
                child.kill_at = time.monotonic() + stop.grace_seconds
                _signal_group(child.pid, signal.SIGTERM)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.kill_at is not None and child.kill_at <= now:
                child.kill_at = None
                _signal_group(child.pid, signal.SIGKILL)

    def _on_child_signal(self) -> None:
        try:
            while self._wakeup.recv(4096):
                pass
        except BlockingIOError:
            pass
        for child in list(self._children.values()):
            status = _reap(child.pid)
            if status is not None:
                self._ended(child, status)

    def _ended(self, child: _Child, status: int) -> None:
        del self._children[child.pid]
        signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        exit_code = None if signal_number else os.WEXITSTATUS(status)
        if not child.note.ended:
            message = child.note.reason or _describe(exit_code, signal_number)
            self._close_journal(child.start, message, exit_code, signal_number)
        child.note.close()
        self._send(
            RunExited(run=child.start.run, attempt=child.start.attempt, exit_code=exit_code, signal=signal_number)
        )

    def _close_journal(self, start: Start, message: str, exit_code: int | None = None, signal_number: int = 0) -> None:
        exited = Exited(
            run=start.run, attempt=start.attempt, exit_code=exit_code, signal=signal_number, message=message
        )
        try:
            append_ending(home(), start.journal, exited)
        except (OSError, ValueError) as error:  # the lease speaks in our place
            print(f"run host: no ending could be recorded for {start.run}: {error}", file=sys.stderr, flush=True)

    # What the host says

    def _send(self, message: FromHost) -> None:
        if self._gone_at is None:
            self._outgoing += pack(message)
            self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._connection.send(self._outgoing)]
        except BlockingIOError:  # the worker is slow to read
            pass
        except OSError:  # it is gone: the next read says so
            self._outgoing.clear()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
        if self._selector.get_key(self._connection).events != events:
            self._selector.modify(self._connection, events, self._on_message)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it was forked just now and leads no group yet
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    except PermissionError:  # what is left of the group is a zombie, or runs as another user
        pass


def _reap(pid: int) -> int | None:
    """Return the wait status of a child that ended, None while it lives. What is left of its group is killed."""
    if hasattr(os, "waitid"):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        _signal_group(pid, signal.SIGKILL)  # before its pid is free for others
        return os.waitpid(pid, 0)[1]
    reaped, status = os.waitpid(pid, os.WNOHANG)
    if not reaped:
        return None
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    return status


def _describe(exit_code: int | None, signal_number: int) -> str:
    if not signal_number:
        return f"exit code {exit_code}"
    try:
        name = f" ({signal.Signals(signal_number).name})"
    except ValueError:  # a real-time signal
        name = ""
    return f"killed by signal {signal_number}{name}"


def main(arguments: list[str]) -> int:
    """Serve the worker whose socket is the file descriptor after `--fd`."""
    if len(arguments) != 2 or arguments[0] != "--fd" or not arguments[1].isdecimal():
        print("usage: python -m orchestrator.sdk.host --fd N  (a worker starts this)", file=sys.stderr)
        return 2
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
    for name in PRIVATE_VARIABLES:
        os.environ.pop(name, None)
    if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]  # put there by -m; the server's own folder is none of the runs' business
    death_with_parent.prepare()
    for public in dir(orchestrator):  # loaded once here, instead of in every run
        getattr(orchestrator, public)
    connection = socket.socket(fileno=int(arguments[1]))
    os.set_inheritable(connection.fileno(), False)
    gc.collect()
    gc.freeze()  # so that collections in the children leave these pages shared
    RunHost(connection).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
