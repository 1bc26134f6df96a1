"""The run host: forks each flow run of one worker into a process of its own, and answers for its ending.

`python -m orchestrator.sdk.host --fd N` serves the worker at the other end of that stream socket (`host_protocol`). It
has one thread, the engine imported, no Django and no secrets (those of runs pass by unread: `host_secrets`), so that a
fork is quick and safe, and other processes of its user may not look into it. SIGTERM, SIGINT and SIGHUP are blocked
here: what a terminal or a service manager sends to everybody is the worker's to decide about, and the end of the socket
is the one order to stop. Every run that ends without a word of its own gets one in its journal.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import time
from typing import Final

import msgspec

import orchestrator
from orchestrator.sdk.boot import boot_seconds
from orchestrator.sdk.causes import CANCELLED, LEASE_LOST, WORKER_GONE
from orchestrator.sdk.events import Exited
from orchestrator.sdk.home import home
from orchestrator.sdk.host_child import needs_python, run_child
from orchestrator.sdk.host_children import LEASE_GRACE_SECONDS, LEASE_MARGIN_SECONDS, Child, Keeping
from orchestrator.sdk.host_exits import Exit, cause_of, reap, signal_group
from orchestrator.sdk.host_hooks import run_hooks
from orchestrator.sdk.host_kept import Link, Place, run_kept
from orchestrator.sdk.host_note import HostNote, shareable_file
from orchestrator.sdk.host_protocol import (
    Extend,
    FromHost,
    Ready,
    RunExited,
    Stale,
    Start,
    Started,
    Stop,
    decode_to_host,
    pack,
)
from orchestrator.sdk.host_secrets import SecretFiles
from orchestrator.sdk.host_supervisor import CLEAN_UP_SECONDS, supervise
from orchestrator.sdk.infrastructure.base import InfrastructureError
from orchestrator.sdk.infrastructure.kinds import infrastructure_of
from orchestrator.sdk.infrastructure.process import Process, ProcessSettings
from orchestrator.sdk.journal_ending import append_ending
from orchestrator.sdk.kernel import kernel
from orchestrator.sdk.oom import WINDOW_SECONDS, OomWatch
from orchestrator.sdk.processes import kill_marked, mark_of

BLOCKED_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
PRIVATE_VARIABLES: Final = (
    "ORCHESTRATOR_DATABASE_URL",
    "ORCHESTRATOR_BROKER_URL",
    "ORCHESTRATOR_EMAIL_URL",
    "ORCHESTRATOR_OIDC_CLIENT_SECRET",
    "ORCHESTRATOR_SECRET_KEY",
    "ORCHESTRATOR_SECRET_KEY_FALLBACKS",
    "DJANGO_SETTINGS_MODULE",
)
_READ_BYTES: Final = 1024 * 1024
_LAST_WAIT_SECONDS: Final = 10.0  # for processes that even SIGKILL does not end at once, and for the last hooks
HOOKS_SECONDS: Final = 60.0  # what the hooks of a run may take that did not come to run them itself


class RunHost:
    """The host's loop and the runs it answers for."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._children: dict[int, Child] = {}
        self._waiting: dict[str, Start] = {}  #: attempts of runs whose attempt before is still ending here
        self._hooks: dict[int, float] = {}  #: processes that run hooks, and the monotonic time of their SIGKILL
        self._oom = OomWatch()
        self._gone_at: float | None = None
        self._selector = selectors.DefaultSelector()
        self._secrets = SecretFiles()
        self._keeping = Keeping(self._children, self._selector, self._secrets)
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
            self._give_up_lapsed()
            self._kill_overdue()
            self._keeping.dismiss()
            self._oom.look(time.monotonic())

    def _is_over(self) -> bool:
        if self._gone_at is None:
            return False
        return not (self._children or self._hooks) or time.monotonic() > self._gone_at + _LAST_WAIT_SECONDS

    def _timeout(self) -> float | None:
        now = time.monotonic()
        children = self._children.values()
        deadlines = [child.kill_at - now for child in children if child.kill_at is not None]
        deadlines += [kill_at - now for kill_at in self._hooks.values()]
        deadlines += [child.gives_up_at - boot_seconds() for child in children if child.lease_until]
        if self._gone_at is not None:
            deadlines.append(self._gone_at + _LAST_WAIT_SECONDS - now)
        deadlines += self._keeping.seconds_left()
        if any(child.start is not None for child in children):
            deadlines.append(WINDOW_SECONDS)
        return max(0.0, min(deadlines)) if deadlines else None

    # What the worker says

    def _on_message(self) -> None:
        self._flush()
        try:
            data = self._secrets.receive(self._connection, _READ_BYTES)
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
        elif isinstance(message, Stop):
            self._stop(message)
        else:
            self._extend(message)

    def _worker_gone(self) -> None:
        self._selector.unregister(self._connection)
        self._outgoing.clear()
        self._gone_at = time.monotonic()
        self._waiting.clear()  # their leases speak for them
        for child in self._children.values():
            child.note.set_reason(child.note.reason or WORKER_GONE)
            # A supervisor has to end what runs elsewhere, and gets as long as this host waits for the last.
            signal_group(child.pid, signal.SIGTERM if child.is_supervised else signal.SIGKILL)

    # The life of a run

    def _start(self, start: Start) -> None:
        before = [child for child in self._children.values() if child.executes(start.run)]
        if before:  # two attempts of a run are never under way at once
            if (other := self._waiting.get(start.run)) is not None:
                self._secrets.close(other)
            self._waiting[start.run] = start
            for child in before:
                self._stop_child(child, LEASE_LOST, 0.0)
            return
        if start.lease_until and boot_seconds() > start.lease_until - LEASE_MARGIN_SECONDS:
            self._refuse(start, LEASE_LOST)  # the worker stood still between its claim and this
        elif (kept := self._keeping.hand_over(start)) is not None:
            self._send(Started(run=start.run, attempt=start.attempt, pid=kept.pid))
        else:
            self._fork(start)

    def _fork(self, start: Start) -> None:
        """Make the attempt's process: one that runs it, becomes another Python, is kept, or supervises it elsewhere."""
        try:
            infrastructure = infrastructure_of(start.infrastructure)
        except InfrastructureError as error:
            self._refuse(start, str(error))
            return
        if not self._secrets.has(start):
            self._refuse(start, "its token did not reach the run host, which may have too many files open")
            return
        process = infrastructure if isinstance(infrastructure, Process) else Process(ProcessSettings())
        note_fd, link, host_pid = -1, None, os.getpid()
        try:
            other_python = process.python or needs_python(start)
            note_fd = shareable_file() if other_python and not infrastructure.is_supervised else -1
            note = HostNote(note_fd)
            link = Link(Place.of(start)) if start.keep else None
            pid = os.fork()
        except OSError as error:
            if link is not None:
                link.close()
            self._refuse(start, f"no process could be started: {error.strerror}")
            return
        if pid == 0:
            start = self._let_go(start)
            if infrastructure.is_supervised:
                supervise(start, note, host_pid, infrastructure_of(start.infrastructure))
            if link is None:
                run_child(start, note, host_pid, process, note_fd)
            run_kept(start, note, host_pid, link)
        child = self._children[pid] = Child(start, pid, note, start.lease_until, link=link)
        child.is_supervised = infrastructure.is_supervised
        child.explain = process.explain
        if infrastructure.is_supervised:  # its hooks are its own to run: nobody here needs them again
            self._secrets.close(start)
        if note_fd >= 0:
            os.close(note_fd)
        self._keeping.begin(child, lambda: self._on_kept(child))
        self._send(Started(run=start.run, attempt=start.attempt, pid=pid))

    def _refuse(self, start: Start, message: str) -> None:
        exited = Exited(run=start.run, attempt=start.attempt, message=message, cause=cause_of(message))
        self._secrets.close(start)
        self._close_journal(start, exited)
        self._send(RunExited(run=start.run, attempt=start.attempt))

    def _let_go(self, start: Start) -> Start:
        """Close what is the host's own, in the child that is forked for this attempt; return it with its secrets."""
        try:
            start = self._secrets.restored(start)
        except (OSError, msgspec.MsgspecError) as error:
            print(f"run host: the secrets of {start.run} cannot be read: {error}", file=sys.stderr, flush=True)
            os._exit(1)  # this process must not return to the host
        self._secrets.close_all()
        kernel.show()  # a run is its user's to look into
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for connection in (self._connection, self._wakeup, self._wakeup_writer):
            connection.close()
        for child in self._children.values():
            child.note.close()
            if child.link is not None:
                child.link.close()
        self._children.clear()
        return start

    def _stop(self, stop: Stop) -> None:
        waiting = self._waiting.pop(stop.run, None)
        if waiting is not None:
            self._refuse(waiting, stop.reason)
        for child in self._children.values():
            if child.executes(stop.run):
                self._stop_child(child, stop.reason, stop.grace_seconds)

    def _stop_child(self, child: Child, reason: str, grace_seconds: float) -> None:
        if child.note.reason != CANCELLED:
            child.note.set_reason(reason)
        child.is_stopped = True
        child.lease_until = 0.0
        child.note.set_grace(grace_seconds)
        kill_at = time.monotonic() + grace_seconds + (CLEAN_UP_SECONDS if child.is_supervised else 0.0)
        child.kill_at = kill_at if child.kill_at is None else min(kill_at, child.kill_at)
        signal_group(child.pid, signal.SIGTERM)

    def _extend(self, extend: Extend) -> None:
        for child in self._children.values():
            start = child.start
            if start and (start.run, start.attempt) == (extend.run, extend.attempt) and not child.is_stopped:
                child.lease_until = extend.lease_until

    def _give_up_lapsed(self) -> None:
        """Stop what will be run again elsewhere: its lease was not extended, and lapses in a moment."""
        for child in self._children.values():
            if child.lease_until and child.gives_up_at <= boot_seconds():
                left = child.lease_until - LEASE_MARGIN_SECONDS - boot_seconds()
                self._stop_child(child, LEASE_LOST, max(0.0, min(left, LEASE_GRACE_SECONDS)))

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.kill_at is not None and child.kill_at <= now:
                child.kill_at = None
                signal_group(child.pid, signal.SIGKILL)
                if child.start is not None:
                    kill_marked(mark_of(child.start.run, child.start.attempt))
        for pid, kill_at in self._hooks.items():
            if kill_at <= now:
                self._hooks[pid] = now + HOOKS_SECONDS
                signal_group(pid, signal.SIGKILL)

    def _on_child_signal(self) -> None:
        try:
            while self._wakeup.recv(4096):
                pass
        except BlockingIOError:
            pass
        for child in list(self._children.values()):
            if (ended := reap(child.pid)) is not None:
                self._ended(child, ended)
        for pid in list(self._hooks):
            if reap(pid) is not None:
                del self._hooks[pid]

    def _ended(self, child: Child, ended: Exit) -> None:
        del self._children[child.pid]
        self._keeping.hang_up(child)
        if child.start is not None and child.never_began:
            self._fork(child.start)
        elif child.start is not None:
            self._run_ended(child, child.start, ended)
        child.note.close()

    def _on_kept(self, child: Child) -> None:
        """A kept process says that it has ended its run, or that it is too old for the one that it was given."""
        assert child.link is not None
        message, start = child.link.hear(), child.start
        if message is None:  # it leaves: its exit says how
            self._keeping.hang_up(child)
        elif start is not None and isinstance(message, Stale):
            self._keeping.let_go(child)
            self._fork(start)
        elif start is not None and not isinstance(message, Stale):
            self._keeping.keep(child)
            self._run_ended(child, start, child.has_finished(message))

    def _run_ended(self, child: Child, start: Start, ended: Exit) -> None:
        child.start, child.lease_until = None, 0.0
        reason = child.note.reason
        if not child.note.left and (
            child.is_stopped or not child.note.ended
        ):  # what left its group is not left to itself
            kill_marked(mark_of(start.run, start.attempt))
        if not child.note.ended and not child.note.left:
            message, cause = ended.explain(reason, self._oom)
            message = message if reason else child.explain(ended, child.note.begun) or message
            self._close_journal(
                start,
                Exited(
                    run=start.run,
                    attempt=start.attempt,
                    exit_code=ended.exit_code,
                    signal=ended.signal,
                    message=message,
                    cause=cause,
                    peak=ended.peak,
                    cpu_seconds=ended.cpu_seconds,
                ),
            )
            if child.note.owes_hooks:
                self._run_hooks(start, reason, message)
        self._secrets.close(start)
        self._send(
            RunExited(
                run=start.run,
                attempt=start.attempt,
                exit_code=ended.exit_code,
                signal=ended.signal,
                peak=ended.peak,
                cpu_seconds=ended.cpu_seconds,
            )
        )
        if (waiting := self._waiting.pop(start.run, None)) is not None:
            self._start(waiting)

    def _run_hooks(self, start: Start, reason: str, message: str) -> None:
        """Have a new process run the hooks that the run's own did not come to."""
        host_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"run host: the hooks of {start.run} were not run: {error.strerror}", file=sys.stderr, flush=True)
            return
        if pid == 0:
            run_hooks(self._let_go(start), reason, message, host_pid)
        self._hooks[pid] = time.monotonic() + HOOKS_SECONDS

    def _close_journal(self, start: Start, exited: Exited) -> None:
        try:
            append_ending(home(), start.journal, exited)
        except (OSError, ValueError) as error:  # the lease speaks in our place
            print(f"run host: no ending could be recorded for {exited.run}: {error}", file=sys.stderr, flush=True)

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
    kernel.prepare()
    kernel.hide()
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
