"""A process that a Celery worker keeps for a flow run: takes calls from a socket, one after the other."""

from __future__ import annotations

import signal
import socket
import sys
import time
from typing import NoReturn

from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.exceptions import TransferError
from orchestrator.sdk.host_child import leave
from orchestrator.sdk.runners.call_wire import MAX_PAYLOAD, TOOK
from orchestrator.sdk.runners.calls import Message
from orchestrator.sdk.runners.frames import Frames
from orchestrator.sdk.runners.process_worker import Worker
from orchestrator.sdk.runners.transfer import pack_outcome


def main(descriptor: int) -> NoReturn:
    """Execute calls until the worker closes its end of the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which ends this process
    CallProcess(Frames(socket.socket(fileno=descriptor)), "").work()
    leave(0)


class CallProcess(Worker):
    """This process. What is printed goes to the flow's terminal, and an outcome says how long it took."""

    has_terminal = False

    def work(self) -> None:
        """Take one call after the other."""
        self.start_listening()
        while (taken := self.next()) is not None:
            attempt, payload = taken
            begun = time.monotonic()
            outcome = self.execute(attempt, payload)
            took = min(int((time.monotonic() - begun) * 1e6), 2**32 - 1)
            self.send(Message.OUTCOME, TOOK.pack(took) + _bounded(outcome), attempt)

    def sequence(self) -> int:
        """Return 0: the flow's journal is too far away to be asked."""
        return 0


def _bounded(outcome: bytes) -> bytes:
    """Return an outcome, or that it is too big."""
    if len(outcome) <= MAX_PAYLOAD:
        return outcome
    refused = TransferError(
        f"The result of the task takes {len(outcome) / 2**20:.0f} MB, and at most {MAX_PAYLOAD // 2**20} MB can be "
        "sent back. Store what is big, and return where."
    )
    return pack_outcome(Outcome(error=refused), [], "")


if __name__ == "__main__":
    main(int(sys.argv[1]))
