"""Process: each run in a process of its own, on its worker's machine.

Without settings it is forked from the worker's warm run host. Limits, environment and folder are set in that fork. With
another Python, the fork executes it. As another user it is a supervised process that is given nothing of the worker's:
it reads its run and ships its facts over the API by the run's own token, as in a container.
"""

from __future__ import annotations

import glob
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from orchestrator.sdk.home import ECHO_VARIABLE
from orchestrator.sdk.host_exits import Exit, describe, reap, signal_group
from orchestrator.sdk.infrastructure.base import Ended, Infrastructure, InfrastructureError, Launch
from orchestrator.sdk.infrastructure.limits import MEGABYTE, Limits
from orchestrator.sdk.infrastructure.printed import PIECE_BYTES, Printed, lines
from orchestrator.sdk.infrastructure.settings import about
from orchestrator.sdk.kernel import kernel
from orchestrator.sdk.shipper import MARKER_SUFFIX

if sys.platform != "win32":
    import pwd


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run's process is given, and held to."""

    memory_mb: (
        Annotated[
            int,
            about(
                "Memory",
                "The most data that each process of a run may hold. What goes beyond fails with MemoryError.",
                ge=128,
                le=16 * 1024 * 1024,
                unit="MB",
                opened=True,
            ),
        ]
        | None
    ) = None
    cpu_seconds: (
        Annotated[
            int,
            about(
                "Processor time",
                "Seconds of computing, waiting not counted, after which the run is ended.",
                ge=1,
                le=31_536_000,
                unit="seconds",
                opened=True,
            ),
        ]
        | None
    ) = None
    open_files: (
        Annotated[
            int, about("Open files", "How many files and connections it may have open at once.", ge=32, le=1_048_576)
        ]
        | None
    ) = None
    environment: Annotated[
        dict[str, str], about("Environment", "Variables that its code finds, one NAME=value a line.", example="TZ=UTC")
    ] = {}
    working_directory: Annotated[
        str,
        about("Working directory", "Where its code works, instead of the deployment's folder.", example="/srv/data"),
    ] = ""
    user: Annotated[
        str,
        about(
            "User",
            "A user of the worker's machine to run as, instead of as the worker does. Takes a worker that is root.",
            pattern=r"^([a-z_][a-z0-9_.-]{0,31})?$", example="nobody",
        ),
    ] = ""  # fmt: skip
    python: Annotated[
        str,
        about(
            "Python", "The interpreter of another environment, which has orchestrator installed.",
            pattern=r"^(/.*)?$", example="/opt/reports/bin/python",
        ),
    ] = ""  # fmt: skip


class Process(Infrastructure[ProcessSettings]):
    """A process of its own; the default."""

    kind = "process"
    label = "Process"
    summary = "Each run in a process of its own on the worker's machine, with limits where they are set."
    icon = "cpu"
    Settings = ProcessSettings

    def __init__(self, settings: ProcessSettings, block: str = "", credentials: Any = None) -> None:
        super().__init__(settings, block, credentials)
        self._lock = threading.Lock()
        self._pid = 0
        self._is_stopped = False

    @property
    def is_supervised(self) -> bool:
        """As another user: it has nothing in common with the worker."""
        return bool(self.settings.user)

    @property
    def python(self) -> str:
        """The interpreter to execute; empty: the process is forked."""
        return self.settings.python

    @property
    def limits(self) -> Limits:
        """What its processes are held to."""
        wanted = self.settings
        return Limits(
            memory_bytes=(wanted.memory_mb or 0) * MEGABYTE,
            cpu_seconds=wanted.cpu_seconds or 0,
            open_files=wanted.open_files or 0,
            set_by=f"block {self.block!r}" if self.block else "its infrastructure",
        )

    def explain(self, ended: Exit, has_begun: bool) -> str:
        """Return why a process of this infrastructure ended without a word, where that is known; else an empty text."""
        if self.python and not has_begun and not ended.signal:
            return (
                f"exit code {ended.exit_code} before it began: {self.python}, which block {self.block!r} names, could"
                " not run orchestrator.sdk.attempt. Is orchestrator installed there?"
            )
        return self.limits.explain(ended.signal)

    @classmethod
    def check(cls, settings: ProcessSettings) -> dict[str, str]:
        """Names of variables must be ones, and none that a run's connection to its server hangs on."""
        for name in settings.environment:
            if "=" in name or not name or name.startswith("ORCHESTRATOR_"):
                return {"environment": f"{name!r} cannot be set here: name a variable of your own code's."}
        return {}

    # As another user

    def run(self, launch: Launch) -> Ended:
        """Execute the attempt as the user, wait for it, and leave nothing of it behind."""
        account = _account(self.settings.user, self.block)
        folder = tempfile.mkdtemp(prefix="orchestrator-")  # its home: what it has not shipped is there when it dies
        try:
            os.chown(folder, account.pw_uid, account.pw_gid)
            environment = _environment(launch, account, self.settings.environment, folder)
            ended = self._run(launch, account, environment)
            if ended is None:
                return Ended(message=launch.stop_reason())
            if glob.glob(f"{folder}/journals/*{MARKER_SUFFIX}"):
                self._ship_leftovers(launch, account, environment)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        message = self.limits.explain(ended.signal) or describe(ended.exit_code, ended.signal)
        return Ended(ended.exit_code, ended.signal, message, peak=ended.peak, cpu_seconds=ended.cpu_seconds)

    def _run(self, launch: Launch, account: pwd.struct_passwd, environment: dict[str, str]) -> Exit | None:
        """Return how the process ended; None where it was stopped before it began."""
        with self._lock:
            if self._is_stopped:
                return None
            process = self._start(launch.arguments, account, environment)
            pid = self._pid = process.pid
        assert isinstance(process.stdout, io.BufferedReader)
        telling = threading.Thread(target=_tell, args=(process.stdout, launch), daemon=True)
        telling.start()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with self._lock:  # from here on the number may be another process's
            self._pid = 0
            ended = reap(pid)
        process.returncode = 0  # it was waited for by its number
        telling.join(_LAST_LINES_SECONDS)
        return ended

    def _ship_leftovers(self, launch: Launch, account: pwd.struct_passwd, environment: dict[str, str]) -> None:
        """Have the user's own rights, not the worker's, read what an attempt that died left, and ship it."""
        process = self._start((*launch.arguments, "--leftovers"), account, environment)
        try:
            process.wait(_LEFTOVERS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM to its group, SIGKILL after the grace."""
        with self._lock:
            self._is_stopped = True
        self._signal(signal.SIGTERM)
        time.sleep(grace_seconds)  # in a thread of its own, which ends with the supervisor
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._pid:
                signal_group(self._pid, number)

    def _start(
        self, arguments: Sequence[str], account: pwd.struct_passwd, environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        limits, supervisor = self.limits, os.getpid()

        def prepare() -> None:
            limits.apply()
            kernel.die_with_parent(supervisor)  # behind the change of user, which forgets it

        python = self.settings.python or sys.executable
        try:
            return subprocess.Popen(
                [python, *arguments],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=os.getgrouplist(account.pw_name, account.pw_gid),
                start_new_session=True,
                preexec_fn=prepare,
            )
        except (OSError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InfrastructureError(
                f"Block {self.block!r}: {python} cannot be started as user {account.pw_name!r}: {reason}."
            ) from None


def _tell(output: io.BufferedReader, launch: Launch) -> None:
    """Add to the run's log what is printed past the engine, which records the rest itself."""
    printed = Printed(launch.tell)
    for line in lines(iter(lambda: output.read1(PIECE_BYTES), b"")):
        printed.add(line.rstrip())


def _account(user: str, block: str) -> pwd.struct_passwd:
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise InfrastructureError(f"Block {block!r}: this worker's machine has no user {user!r}.") from None
    if os.geteuid() not in (0, account.pw_uid):
        raise InfrastructureError(
            f"Block {block!r} runs as user {user!r}, and only a worker that runs as root may switch to it: this one is"
            f" {pwd.getpwuid(os.geteuid()).pw_name!r}."
        )
    return account


def _environment(launch: Launch, account: pwd.struct_passwd, more: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return what the user's process sees: of the worker's environment only what says how the machine is set up."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    own = {
        "HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name, "ORCHESTRATOR_HOME": folder,
    }  # fmt: skip
    return {**kept, **own, **more, ECHO_VARIABLE: "0", **launch.environment}


_LEFTOVERS_SECONDS: Final = 20.0
_LAST_LINES_SECONDS: Final = 2.0  # for what it printed last; a process that it left behind may hold the pipe open
_KEPT: Final = frozenset({"PATH", "LANG", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "ORCHESTRATOR_TASK_RUNNER"})
