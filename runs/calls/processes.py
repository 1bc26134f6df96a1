"""A worker's end of the processes in which calls execute: started by exec, without credentials, kept for a flow run."""

import logging
import queue
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.sdk.runners.call_wire import RETURNED
from orchestrator.sdk.runners.calls import Message
from orchestrator.sdk.runners.child_process import ChildProcess
from orchestrator.sdk.runners.frames import CANCEL, EXECUTE, Frames
from orchestrator.sdk.runners.processes import UNWIND_SECONDS
from orchestrator.sdk.timers import call_later
from runs.calls.claims import Begun

if TYPE_CHECKING:
    from runs.calls.taking import RunOfCalls

IDLE_SECONDS: Final = 20.0  #: how long a process may have nothing to do
_PROGRAM: Final = "orchestrator.sdk.runners.call_process"
#: What a run host passes on and a task's process does not need: it asks no server, and submits to no runner.
_NOT_PASSED: Final = frozenset({"ORCHESTRATOR_API_URL", "ORCHESTRATOR_TASK_RUNNER"})

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Bundle:
    """The calls of one message, as far as they have not ended."""

    ids: list[str]
    left: int
    is_quick: bool  #: whether there were several: their task takes no time
    is_begun: bool = False  #: as their claims say: should this worker die, they are not executed again by themselves
    begun: Begun = field(default_factory=Begun)  #: of its calls, those that must not begin
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True, eq=False)
class TakenCall:
    """A call that this worker has claimed."""

    id: str
    payload: bytes
    parts: int
    digest: bytes
    run: "RunOfCalls"
    bundle: Bundle
    since: float
    has_begun: bool = False
    is_stopped: bool = False  #: by whoever wants it no more: then it does not begin
    process: "TaskProcess | None" = field(default=None)


class TaskProcess:
    """A process of a flow run, and the thread of this one that serves it."""

    def __init__(self, run: "RunOfCalls", environment: Mapping[str, str], directory: str) -> None:
        self.run = run
        self.inbox: queue.SimpleQueue[TakenCall | None] = queue.SimpleQueue()
        self.call: TakenCall | None = None  #: that executes in it
        self.held: TakenCall | None = None  #: the same, from when it was handed to it until its end was said
        self._environment = {name: value for name, value in environment.items() if name not in _NOT_PASSED}
        self._directory = directory
        self._lock = threading.Lock()  #: held while a call begins or ends, so that no other one is killed for it
        self._process = ChildProcess(socket.gethostname())
        threading.Thread(target=self._work, name="calls-process", daemon=True).start()

    # --- any thread

    def interrupt(self, call: TakenCall) -> None:
        """Ask the process to end a call, and kill it where it does not."""
        with self._lock:
            call.is_stopped = True
            if self.call is not call or self._process.frames is None:
                return
            frames = self._process.frames
        try:
            frames.send(CANCEL, call.id, b"")
        except OSError:  # it is gone
            return
        call_later(UNWIND_SECONDS, lambda: self.kill(call))

    def kill(self, call: TakenCall | None = None) -> None:
        """Kill the process with all that it started; with a call: if it executes that one."""
        with self._lock:
            if call is not None:
                call.is_stopped = True
            if call is None or self.call is call:
                self._process.kill()

    # --- its own thread

    def _work(self) -> None:
        desk, call, problem = self.run.desk, None, ""
        try:
            while (call := desk.next_call(self)) is not None:
                problem = self._execute(call)
                if problem:
                    break
                desk.ended(call)
        except Exception as error:  # a fault here must not leave a call that nobody executes
            _log.exception("A task's process cannot be served")
            problem = f"The worker could not execute the task: {error}"
        finally:
            self._process.leave()
            desk.forget(self, call, problem)

    def _execute(self, call: TakenCall) -> str:
        """Have a call executed. Returns what became of the process, empty where it can take another call."""
        payload = self.run.desk.payload_of(call)
        if payload is None or not self.run.desk.begins(call):
            return ""
        try:
            frames = self._process.frames or self._start()
            with self._lock:  # whoever stops it finds it from here on, and was heeded until here
                if call.is_stopped:
                    self.run.way_back.say(RETURNED, call.id)
                    return ""
                self.call = call
            frames.send(EXECUTE, call.id, payload)
        except OSError as error:
            return self._process.what_became(error)
        del payload
        say = self.run.way_back.say
        while (message := frames.receive()) is not None:
            kind, _, body = message
            if kind == Message.BEGUN:
                call.has_begun = True
            elif kind == Message.OUTCOME:
                with self._lock:
                    self.call = None
                say(kind, call.id, body, wait=True)
                return ""
            say(kind, call.id, body, wait=True)
        return self._process.what_became()

    def _start(self) -> Frames:
        return self._process.start(["-m", _PROGRAM], environment=self._environment, directory=self._directory)
