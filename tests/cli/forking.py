"""Runs the command in processes forked from one that has imported what others wrote, Django among it.

What is forked is a process of its own: it sets up its environment, folder and streams, and only then imports any part
of Orchestrator, reads its settings and calls `main()`. It ends as every interpreter does. That spares half the
processor time of a verb (0.4 s instead of 0.7 s without a server, next to nothing instead of 0.3 s with one).
`test_forking.py` compares it with the command itself.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from django.conf import settings

COMMAND = [str(Path(sys.executable).with_name("orchestrator"))]
_IMPORTS = [
    "asyncio",
    "celery.schedules",
    "click",
    "cryptography.fernet",
    "django.contrib.postgres.fields",
    "django.core.handlers.wsgi",
    "django.core.mail",
    "django.core.management",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.db.models",
    "django.forms",
    "django.urls",
    "django.views.generic",
    "http.client",
    "markdown",
    "msgspec",
    "pygments.formatters",
    "pygments.lexers",
    "requests",
    "sqlite3",
    "uritemplate",
]
_OURS = ("flows", "notifications", "orchestrator", "runs", "teams")
_ENOUGH = 1 << 20  # bytes of a request


class Template:
    """The process to fork from. Calls of `run` come one after another."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it. What it imports sees this environment, which no variable of Orchestrator is in."""
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # as the command's are: what is no terminal is written in blocks
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )

    def run(
        self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str], seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command to its end, without input. Raises subprocess.TimeoutExpired after these seconds."""
        request = json.dumps([list(arguments), str(directory), dict(environment)]).encode() + b"\n"
        with open(os.devnull) as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            socket.send_fds(self._ours, [request], [nothing.fileno(), out.fileno(), err.fileno()])
            pid = self._number()
            if not select.select([self._ours], [], [], seconds)[0]:
                os.kill(pid, signal.SIGKILL)
                self._number()
                raise subprocess.TimeoutExpired([*COMMAND, *arguments], seconds)
            code = self._number()
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
        return subprocess.CompletedProcess([*COMMAND, *arguments], code, *texts)

    def _number(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            byte = self._ours.recv(1)
            assert byte, "the template has ended"
            line += byte
        return int(line)

    def close(self) -> None:
        """End it."""
        self._ours.close()
        _, complaints = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, complaints.decode()


def _serve(requests: socket.socket) -> list[str] | None:
    """Fork for each request; return its arguments in the forked process, None in the template when nobody asks more."""
    while True:
        request, streams, *_ = socket.recv_fds(requests, _ENOUGH, 3)
        if not request:
            return None
        while not request.endswith(b"\n"):
            request += requests.recv(_ENOUGH)
        pid = os.fork()
        if not pid:
            requests.close()
            arguments, directory, environment = json.loads(request)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(environment)
            time.tzset()
            return list(arguments)
        for stream in streams:
            os.close(stream)
        requests.sendall(b"%d\n" % pid)
        requests.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = str(Path(COMMAND[0]).parent)  # as the command has it
    for name in _IMPORTS:
        import_module(name)
    bound = [name for name in sys.modules if name.partition(".")[0] in _OURS]
    assert not bound, f"imported before the environment is known: {bound}"
    assert not settings.configured
    gc.collect()
    gc.freeze()  # the forked ones need not look through it either
    arguments = _serve(requests)
    if arguments is not None:
        sys.argv = [*COMMAND, *arguments]
        from orchestrator.cli import main

        sys.exit(main())


if __name__ == "__main__":
    _main()
