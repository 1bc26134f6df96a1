"""The process that brings journals in, started by a worker where nobody else has: production without `server start`."""

import logging
import os
import subprocess
import sys
from typing import Final

from django.conf import settings

if sys.platform != "win32":
    import fcntl

FREE_LOOKS: Final = 3  # a second apart: a server that restarts its own ingester comes first
# The kernel ends it with the worker, even a worker that was killed, were it in this very moment.
_START: Final = """
import runpy, signal, sys
from orchestrator.sdk.kernel import kernel
kernel.die_with_parent(int(sys.argv.pop()), signal.SIGTERM)
runpy.run_module("orchestrator.ingester", run_name="__main__", alter_sys=True)
"""

_log = logging.getLogger(__name__)


def start(worker_pid: int) -> "subprocess.Popen[bytes]":
    """Start an ingester that ends with the worker of this pid, its parent."""
    command = [sys.executable, "-c", _START, str(worker_pid)]
    return subprocess.Popen(command, cwd=settings.HOME.root, stdin=subprocess.DEVNULL)


class IngesterChild:
    """Starts `python -m orchestrator.ingester` when nobody holds the home's ingest lock for some looks in a row."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._free_looks = 0

    def ensure(self) -> None:
        """Look, and start one if it is due. Quick; never raises for a lock that is held."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if self._process is not None or self._is_held():
            self._free_looks = 0
            return
        self._free_looks += 1
        if self._free_looks >= FREE_LOOKS:
            self._free_looks = 0
            _log.info("Nobody brings this home's journals in: this worker does.")
            self._process = start(os.getpid())

    def stop(self) -> None:
        """Let it bring in what is there and end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_held(self) -> bool:
        if sys.platform == "win32":  # nobody could be kept out
            return True
        try:
            file = settings.HOME.ingest_lock.open("rb")
        except OSError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
