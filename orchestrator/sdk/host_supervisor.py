"""The supervisor of an attempt that executes elsewhere: the process that a run host forks for it.

It has no user code. The attempt ships its own facts; this process adds the engine's words to the run's log, and behind
the last fact that the server has of the attempt's journal it says how what executed it ended. Where the attempt
recorded its own ending, that one counts.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Final, NoReturn

from orchestrator.sdk import journal
from orchestrator.sdk.boot import this_boot
from orchestrator.sdk.causes import CANCELLED, LEASE_LOST, SERVER_STOPPED, WORKER_GONE, Cause
from orchestrator.sdk.events import Ended as JournalEnded
from orchestrator.sdk.events import Exited, Header, Log, encode
from orchestrator.sdk.home import SHIP_VARIABLE
from orchestrator.sdk.host_child import become_ordinary, leave
from orchestrator.sdk.host_exits import cause_of, describe
from orchestrator.sdk.host_note import HostNote
from orchestrator.sdk.host_protocol import Start
from orchestrator.sdk.infrastructure.base import Ended, Infrastructure, InfrastructureError, Launch, Unreachable
from orchestrator.sdk.kernel import kernel
from orchestrator.sdk.processes import mark_of, set_mark
from orchestrator.sdk.shipper import IngestServer, NotTaken

CLEAN_UP_SECONDS: Final = 8.0  #: for an engine to do as it is told, beyond the grace of the attempt
_REPORT_SECONDS: Final = 60.0  # for the server to come back; from then on the lease speaks
_PAUSE_SECONDS: Final = 1.0
_ASK_SECONDS: Final = 2.0
_INFO: Final = 20


def supervise(start: Start, note: HostNote, host_pid: int, infrastructure: Infrastructure[Any]) -> NoReturn:
    """Have an attempt executed elsewhere, in this newly forked process, and end the process.

    Args:
        start: What to run.
        note: What this process and its host tell each other.
        host_pid: The process that forked this one. Should it die, the attempt is stopped and cleared
            away, or left to the next supervisor, as its infrastructure has it.
        infrastructure: Where it executes.
    """
    exit_code = 1
    try:
        become_ordinary()
        kernel.hide()  # it has credentials for its engine, and runs of this worker are its user's too
        supervisor = _Supervisor(start, note, infrastructure)
        signal.signal(signal.SIGTERM, supervisor.on_sigterm)
        kernel.die_with_parent(host_pid, signal.SIGTERM)
        set_mark(mark_of(start.run, start.attempt))
        note.set_hookless()  # they are the attempt's own to run
        exit_code = supervisor.supervise()
    except BaseException as error:  # a fault of ours; the process must not return to the host
        sys.excepthook(type(error), error, error.__traceback__)
    leave(exit_code)


class _Supervisor:
    """One attempt, from its launch to the report of its end."""

    def __init__(self, start: Start, note: HostNote, infrastructure: Infrastructure[Any]) -> None:
        self._start = start
        self._note = note
        self._infrastructure = infrastructure
        self._is_stopping = False

    def on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Have the attempt stopped, or left to go on, in a thread: this one is in `run`."""
        if not self._is_stopping:
            self._is_stopping = True
            threading.Thread(target=self._stop, name="stop", daemon=True).start()

    def supervise(self) -> int:
        """Run the attempt, and report its end; return the exit code for this process."""
        start = self._start
        os.environ["ORCHESTRATOR_RUN_ID"] = start.run  # what is recorded here goes through the worker's home
        journal.open_journal(None, start.run, start.attempt)
        try:
            ended = self._run()
        except Unreachable as problem:  # its own facts tell how it goes on, or their lack
            self._tell(f"{problem}. The run is left to itself: it is lost when nothing is heard of it any more.")
            self._note.set_left()
            return 0
        finally:
            journal.close()
        self._report(ended)
        return ended.exit_code if ended.exit_code is not None else 128 + ended.signal

    def _run(self) -> Ended:
        try:
            return self._infrastructure.run(self._launch())
        except InfrastructureError as error:
            self._tell(str(error))
            return Ended(message=str(error), cause=error.cause)

    def _launch(self) -> Launch:
        start = self._start
        return Launch(
            run=start.run,
            attempt=start.attempt,
            name=start.name,
            flow=start.flow,
            deployment=start.deployment or "",
            goes_on=start.goes_on,
            environment={
                **start.env,
                "ORCHESTRATOR_API_URL": start.api_url,
                "ORCHESTRATOR_API_TOKEN": start.token,
                "ORCHESTRATOR_RUN_ID": start.run,
                "ORCHESTRATOR_ATTEMPT": str(start.attempt),
                SHIP_VARIABLE: "1",
            },
            stop_reason=lambda: self._note.reason,
            tell=self._tell,
        )

    def _stop(self) -> None:
        if self._infrastructure.outlives_worker and self._goes_on():
            self._note.set_left()
            os._exit(0)  # not by `run`, which waits for the attempt
        try:
            self._infrastructure.stop(self._note.grace_seconds)
        except Exception as error:  # an engine that does not answer: the host's SIGKILL comes next
            self._tell(f"Could not be stopped: {error}")

    def _goes_on(self) -> bool:
        """Whether the attempt is to go on without this worker. A signal without a reason is the kernel's: no host.

        A lease is lost by a run that was ended or is run again, and then its token is no longer good; or to a worker
        that took the attempt over, since this one was cut off.
        """
        reason = self._note.reason or WORKER_GONE
        if reason == LEASE_LOST:
            return is_current(self._start)
        return reason in (WORKER_GONE, SERVER_STOPPED)

    def _tell(self, line: str) -> None:
        start = self._start
        journal.record(
            Log(run=start.run, attempt=start.attempt, level=_INFO, message=line, logger="orchestrator.infrastructure")
        )

    def _report(self, ended: Ended) -> None:
        """Say how it ended behind the last fact that the server has of the attempt's journal; tried for a minute."""
        exited = self._exited(ended)
        server = IngestServer(self._start.api_url, self._start.token)
        until = time.monotonic() + _REPORT_SECONDS
        while True:
            try:
                _append(server, self._start, exited)
            except NotTaken as problem:
                if problem.refused or time.monotonic() >= until:
                    print(f"run host: the end of {exited.run} is not taken: {problem}", file=sys.stderr, flush=True)
                    return
                time.sleep(_PAUSE_SECONDS)
            else:
                self._note.set_ended()
                return

    def _exited(self, ended: Ended) -> Exited:
        reason = self._note.reason
        message = ended.message or describe(ended.exit_code, ended.signal)
        cause = ended.cause or (Cause.SIGNAL if ended.signal else Cause.EXIT)
        if reason:
            is_killed = ended.signal == signal.SIGKILL
            on_request = "it did not stop when it was asked to and was killed" if is_killed else "on request"
            message = on_request if reason == CANCELLED else reason
            cause = Cause.STOPPED if reason == CANCELLED else cause_of(reason)
        return Exited(
            run=self._start.run,
            attempt=self._start.attempt,
            exit_code=ended.exit_code,
            signal=ended.signal,
            message=message,
            cause=cause,
            peak=ended.peak,
            cpu_seconds=ended.cpu_seconds,
        )


def _append(server: IngestServer, start: Start, exited: Exited) -> None:
    """Ask how far the server has the attempt's journal, and bring in its end. Raises NotTaken."""
    boot = this_boot()
    header = Header(
        journal=start.journal, t=time.time_ns() // 1000, pid=os.getpid(), host=boot.host, machine=boot.machine,
        boot=boot.boot, run=start.run, attempt=start.attempt,
    )  # fmt: skip
    known = server.post(encode(header) + b"\n")
    exited.n, exited.t = known + 1, time.time_ns() // 1000
    end = JournalEnded(n=known + 2, t=exited.t)
    server.post(b"\n".join((encode(header), encode(exited), encode(end), b"")))


def is_current(start: Start) -> bool:
    """Return whether the server takes this attempt for the one that its run has now; False where nobody answers."""
    import urllib.request  # 30 ms, where a lease was lost

    url = start.api_url.rstrip("/").removesuffix("/api")
    request = urllib.request.Request(
        f"{url}/api/flow-runs/{start.run}/", headers={"Authorization": f"Bearer {start.token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_ASK_SECONDS) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
