"""Processes that a run host keeps for a deployment's runs: one run after the other in each, loaded once.

What costs in a run's start is its process: the fork, loading the user's code, the exit. A deployment on `in-worker`
infrastructure saves that, and its runs share what a process has: modules, their globals, caches, open connections. A
run that may have left more than that behind takes its process along: one that failed or was stopped, left a thread or a
process, a signal handler or a timer. So does changed code, and after some runs the process goes anyway.
"""

import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec

from orchestrator.sdk import interrupts, journal, timers
from orchestrator.sdk.flows import Flow
from orchestrator.sdk.host_child import become_ordinary, leave, run_attempt
from orchestrator.sdk.host_note import HostNote
from orchestrator.sdk.host_protocol import Finished, FromKept, Stale, Start, decode_from_kept, pack
from orchestrator.sdk.host_secrets import SecretFiles
from orchestrator.sdk.kernel import kernel
from orchestrator.sdk.loading import Entrypoint, load_flow

PATIENCE_SECONDS: Final = 2.0  #: a process that stands still must not make its host stand still
MAX_RUNS: Final = 1_000  #: of one process; what leaks in it goes with it
_THREADS_END_SECONDS: Final = 0.1  # threads of the engine's, told to end
_READ_BYTES: Final = 1024 * 1024
_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_decode_start = msgspec.json.Decoder(Start).decode


@dataclass(frozen=True, slots=True)
class Place:
    """What runs must have in common to share a process; with the team's id in `keep`, never beyond a team."""

    keep: str
    source: str
    directory: str
    entrypoint: str
    api_url: str
    env: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, start: Start) -> "Place":
        """The place of a run."""
        source = msgspec.json.encode(start.source, order="sorted").decode()
        env = tuple(sorted(start.env.items()))
        return cls(start.keep, source, start.directory, start.entrypoint, start.api_url, env)


class Link:
    """The host's end of the socket to a kept process."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.connection, self.theirs = socket.socketpair()
        self.connection.settimeout(PATIENCE_SECONDS)
        self.is_open = True
        self._heard = bytearray()

    def keep_ours(self) -> socket.socket:
        """Close the process's end, in the host; return ours."""
        self.theirs.close()
        return self.connection

    def send(self, start: Start, secrets: SecretFiles) -> None:
        """Hand a run to the process, which waits for one. Raises OSError when it is gone, or does not read."""
        secrets.send(self.connection, pack(start), start)

    def hear(self) -> FromKept | None:
        """Return what it says, of which there is something to read; None when it has closed its end."""
        while b"\n" not in self._heard:
            try:
                data = self.connection.recv(_READ_BYTES)
            except OSError:
                data = b""
            if not data:
                return None
            self._heard += data
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard = bytearray(rest)
        try:
            message: FromKept = decode_from_kept(line)
        except msgspec.MsgspecError:  # user code found our descriptor
            return None
        return message

    def close(self) -> None:
        """Let both ends go."""
        self.is_open = False
        self.connection.close()
        self.theirs.close()


def run_kept(start: Start, note: HostNote, host_pid: int, link: Link) -> NoReturn:
    """Run attempts in this newly forked process, as long as the host has some and nothing speaks against it.

    Args:
        start: The first.
        note: What this process and its host tell each other, of one run after the other.
        host_pid: The process that forked this one.
        link: Of the host; this process takes its own end.
    """
    exit_code = 1
    try:
        kernel.die_with_parent(host_pid)
        become_ordinary()
        kernel.adopt_orphans()
        link.connection.close()
        interrupts.stop_reason = lambda: note.reason
        exit_code = _Kept(note, link.theirs).serve(start)
    except BaseException as error:  # user code may raise anything, anywhere; the process must not return to the host
        sys.excepthook(type(error), error, error.__traceback__)
    leave(exit_code)


class _Kept:
    """A kept process from its first run to its last."""

    def __init__(self, note: HostNote, connection: socket.socket) -> None:
        self._note = note
        self._connection = connection
        self._flow: Flow[..., Any] | None = None
        self._sources = _Sources()
        self._environment: Mapping[str, str] = {}
        self._before: _Traces | None = None

    def serve(self, start: Start) -> int:
        """Run attempts; return the exit code for the process."""
        self._environment = dict(os.environ)
        for _ in range(MAX_RUNS - 1):
            exit_code = self._run(start)
            if exit_code or self._before is None or not self._before.are_all():
                return exit_code
            journal.close()
            self._sources.notice()
            self._connection.sendall(pack(_finished(exit_code)))
            following = self._wait()
            if following is None:
                return 0
            if self._sources.have_changed():
                self._connection.sendall(pack(Stale()))
                return 0
            start = following
        return self._run(start)

    def _run(self, start: Start) -> int:
        self._note.set_begun()
        _restore(os.environ, self._environment)
        # In a context of its own, so that no variable of one run's is seen by the next.
        return copy_context().run(run_attempt, start, self._note, self._load)

    def _load(self, entrypoint: str) -> Flow[..., Any]:
        """Load the flow before the first run, in which what it raises is recorded."""
        if self._flow is None:
            self._sources.begin(entrypoint)
            self._flow = load_flow(entrypoint)
            self._before = _Traces.now()
        return self._flow

    def _wait(self) -> Start | None:
        """Return the next run; None when the host lets this process go."""
        data, secrets = bytearray(), SecretFiles()
        while not data.endswith(b"\n"):
            received = secrets.receive(self._connection, _READ_BYTES)
            if not received:
                return None
            data += received
        try:
            return secrets.restored(_decode_start(bytes(data)))
        finally:
            secrets.close_all()


def _finished(exit_code: int) -> Finished:
    peak, cpu_seconds = 0, 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        peak = max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        cpu_seconds += usage.ru_utime + usage.ru_stime
    return Finished(exit_code=exit_code, peak=peak, cpu_seconds=round(cpu_seconds, 3))


def _restore(environment: Any, wanted: Mapping[str, str]) -> None:
    """Undo what the run before did to the environment."""
    if dict(environment) != wanted:
        for name in environment.keys() - wanted.keys():
            del environment[name]
        environment.update(wanted)


@dataclass(frozen=True, slots=True)
class _Traces:
    """What a run could leave behind in its process and disturb the next one with."""

    threads: frozenset[threading.Thread]
    handlers: tuple[Any, ...]

    @classmethod
    def now(cls) -> "_Traces":
        """Return those that there are."""
        return cls(frozenset(threading.enumerate()), tuple(map(signal.getsignal, _HANDLED)))

    def are_all(self) -> bool:
        """Whether the process is as it was: no thread, child or timer more, and no other signal handlers."""
        if _has_children() or signal.getitimer(signal.ITIMER_REAL)[0] or not timers.nothing_waits():
            return False
        until = time.monotonic() + _THREADS_END_SECONDS
        for thread in threading.enumerate():
            if thread in self.threads or thread.name == timers.THREAD_NAME:
                continue
            if thread.name.startswith("orchestrator-"):
                thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return False
        return _Traces.now().handlers == self.handlers


def _has_children() -> bool:
    """Whether a process that runs started is there. What has ended is reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


class _Sources:
    """The files of the project that this process has loaded, as they were then."""

    def __init__(self) -> None:
        self._folders: tuple[str, ...] = ()
        self._files: dict[str, tuple[int, int] | None] = {}
        self._modules = 0

    def begin(self, entrypoint: str) -> None:
        """Note the entrypoint's file before it is read, and where the project lies."""
        target = Entrypoint.parse(entrypoint)
        folders = [os.getcwd()]
        if target.is_file:
            path = os.path.realpath(target.path)
            folders.append(os.path.dirname(path))
            self._files[str(target.path)] = _version(str(target.path))
        self._folders = tuple(folder.rstrip(os.sep) + os.sep for folder in folders)

    def notice(self) -> None:
        """Note the modules that were imported since the last look."""
        if len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file not in self._files and self._is_own(file):
                self._files[file] = _version(file)

    def have_changed(self) -> bool:
        """Whether one of the files is no longer what was loaded."""
        return any(_version(file) != known for file, known in self._files.items())

    def _is_own(self, file: str) -> bool:
        return file.startswith(self._folders) and not any(part in file for part in _INSTALLED)


def _version(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
