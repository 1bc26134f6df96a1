"""Processes of parts that are forked from the server, so that Django is imported once and not four times (5 s).

Only on Linux: elsewhere system libraries do not survive a fork, and parts are started by exec. The server has one
thread and no open database connection when it forks.
"""

import atexit
import ctypes
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

from orchestrator.server.parts import Part

IS_SUPPORTED: Final = sys.platform == "linux"
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class ForkedProcess:
    """What `subprocess.Popen` offers, of it what a server needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal) if the process has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Wait for the end."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def fork_part(
    part: Part, environment: Mapping[str, str], directory: str, log: Path, let_go: Callable[[], None], gate: int | None
) -> ForkedProcess:
    """Fork a process that runs a part's module as `python -m` would.

    Args:
        part: What to run.
        environment: The whole of its environment.
        directory: Where it works.
        log: Gets what it prints.
        let_go: Called in the child, to close what is the server's own.
        gate: A pipe; the part imports what it needs and then waits until its other end is closed. None: no waiting.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return ForkedProcess(pid)
    _run_child(part, environment, directory, log, let_go, gate, parent)


def _run_child(
    part: Part,
    environment: Mapping[str, str],
    directory: str,
    log: Path,
    let_go: Callable[[], None],
    gate: int | None,
    parent: int,
) -> NoReturn:
    code = 1
    try:
        _become_ordinary(part.name, parent)
        _redirect(log)
        let_go()
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        for module in part.preload:
            import_module(module)
        if gate is not None:
            os.read(gate, 1)
            os.close(gate)
        sys.argv = [part.module, *part.arguments]
        runpy.run_module(part.module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:  # nothing may return into the server's own code
        sys.excepthook(type(error), error, error.__traceback__)
    _leave(code)


def _become_ordinary(name: str, parent: int) -> None:
    """Be what an exec would have made: own session, default signals; and die with the server."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _prctl(_PR_SET_NAME, f"orch-{name}".encode()[:15], 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _redirect(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _leave(code: int) -> NoReturn:
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
    os._exit(code & 0xFF)
