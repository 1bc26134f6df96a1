"""The runner that executes tasks on Celery's workers: those of this project's server, on any machine.

The flow's process knows no broker. It hands attempts to the server, over HTTP with the flow run's own token; the server
signs them and sends them through Celery; what a worker says of them comes back on one stream (`celery_line`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from orchestrator.sdk import control_address
from orchestrator.sdk.control_address import Address
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.exceptions import CrashedRun, RunnerError, TransferError
from orchestrator.sdk.home import home
from orchestrator.sdk.runners.call_wire import MAX_PAYLOAD
from orchestrator.sdk.runners.calls import RemoteCall
from orchestrator.sdk.runners.remote import RemoteTaskRunner
from orchestrator.sdk.runners.transfer import pack
from orchestrator.sdk.runs import TaskRun

if TYPE_CHECKING:
    from orchestrator.sdk.runners.celery_line import Line

MAX_RETURNS: Final = 20  #: how often workers may give a call back for a reason before it is Crashed
MAX_VANISHED: Final = 10  #: how often in a row its message may be gone from the broker, and no worker have it


class CeleryTaskRunner(RemoteTaskRunner):
    """Executes tasks on Celery workers, in processes that these keep for the flow run.

    A process that is killed takes one attempt along, a worker all that it had: they are Crashed, and tried again as
    their tasks' `retries` say, without holding a worker meanwhile. A timeout ends the work, and so does cancelling.

    Args:
        queue: The work queue whose workers execute the tasks; by default the one that the flow run waited on.
    """

    def __init__(self, queue: str | None = None) -> None:
        super().__init__()
        self.queue = queue or ""
        self._lock = threading.Lock()
        self._line: Line | None = None

    def duplicate(self) -> CeleryTaskRunner:
        """Return a fresh runner for the same queue."""
        return type(self)(self.queue)

    def make_call(self, run: TaskRun) -> CeleryCall:
        """Return a call that a worker will take."""
        return CeleryCall(run, self)

    def pack(self, run: TaskRun, tags: frozenset[str], call: RemoteCall) -> bytes:
        """Return what is sent of an attempt; the user's own modules travel along."""
        payload = pack(run, tags, by_value=True)
        if len(payload) > MAX_PAYLOAD:
            raise TransferError(
                f"The function and the arguments of {run.label} take {len(payload) / 2**20:.0f} MB, and at most "
                f"{MAX_PAYLOAD // 2**20} MB can be sent. Store what is big, and pass where."
            )
        return payload

    def begin(self, call: RemoteCall) -> None:
        """Hand a call to the server."""
        assert isinstance(call, CeleryCall)
        self.line().hand_out(call)

    def close(self) -> None:
        """Say that nothing of this flow run is wanted any more: its processes on the workers end."""
        line = self._line
        if line is not None:
            line.close()
        super().close()

    def line(self) -> Line:
        """Return the line to the server, made at the first call. Raises RunnerError where there is no server."""
        from orchestrator.sdk.runners.celery_line import Line  # http.client costs 20 ms at import

        with self._lock:
            line = self._line
            if line is None:
                line = self._line = Line(self.address(), self.queue, self)
            return line

    def address(self) -> Address:
        """Return where the server of this flow run is, with the flow run's token. Raises RunnerError."""
        found = control_address.find(home())
        if found.socket is not None:
            raise RunnerError(
                "CeleryTaskRunner needs a server: none runs for this script. Start one (orchestrator server start), "
                "deploy the flow and run the deployment: its run's own token lets it hand out tasks."
            )
        return found

    # --- what comes back, in the order in which a worker said it

    def take_back(self, call: CeleryCall, why: str) -> None:
        """Hand a call out anew that a worker gave back before it began."""
        call.returns += bool(why)
        if call.returns > MAX_RETURNS:
            message = f"Workers gave the task back {call.returns} times before it began: {why}"
            call.end(Outcome(error=CrashedRun(message), crashed=True))
        elif not call.is_over:
            self.begin(call)

    def hand_out_anew(self, call: CeleryCall) -> None:
        """Hand a call out anew whose message is gone, and that no worker has."""
        if call.is_over:
            return
        call.vanished += 1
        if call.vanished > MAX_VANISHED:
            message = f"The task was sent {call.vanished} times, and each time its message was gone without a word"
            message += " of a worker. See the workers' logs: they may refuse what this server signs."
            call.end(Outcome(error=CrashedRun(message), crashed=True))
        else:
            self.begin(call)


class CeleryCall(RemoteCall):
    """An attempt that a Celery worker executes."""

    __slots__ = ("_runner", "at", "hands", "is_taken", "pieces", "returns", "sent_id", "size", "vanished", "worker")

    def __init__(self, run: TaskRun, runner: CeleryTaskRunner) -> None:
        super().__init__(run)
        self._runner = runner
        self.hands = 0  #: how often it was handed out
        self.returns = 0  #: how often workers gave it back
        self.vanished = 0  #: how often in a row its message was gone before a worker took it
        self.sent_id = ""  #: of the last handing out; empty: it waits in this process
        self.size = 0  #: bytes of its payload, when it was handed out last
        self.is_taken = False  #: whether a worker has claimed it
        self.worker = ""
        self.at = 0.0  #: when something was last heard of it, by time.monotonic
        self.pieces: list[bytes] = []

    def stop(self) -> bool:
        """Take it back, or have its code interrupted and its process killed where that does not end it."""
        self._runner.line().stop(self)
        return True

    def begun_in_vain(self) -> None:
        """Stop code that began before the server knew that nobody wants it."""
        self._runner.line().stop(self)

    def kill(self) -> None:
        """Have the process killed that executes it."""
        self._runner.line().kill(self)

    def whole(self, kind: int, body: bytes) -> bytes:
        """Return a body with the pieces that came before it."""
        if self.pieces:
            body = b"".join((*self.pieces, body))
            self.pieces.clear()
        return body
