"""The runner that executes tasks on Ray: on this machine, or on a cluster."""

from __future__ import annotations

import os
import threading
from typing import Any, Final

from orchestrator.sdk import journal
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.exceptions import CrashedRun, RunnerError
from orchestrator.sdk.runners.calls import Message, RemoteCall
from orchestrator.sdk.runners.frames import CANCEL, SEQUENCE, Frames
from orchestrator.sdk.runners.listening import Listener
from orchestrator.sdk.runners.processes import UNWIND_SECONDS
from orchestrator.sdk.runners.remote import GENERAL_RESOURCES, RemoteTaskRunner, needs, root_cause
from orchestrator.sdk.runners.transfer import pack
from orchestrator.sdk.runs import TaskRun
from orchestrator.sdk.timers import call_later
from orchestrator.sdk.tracebacks import summary

FETCH: Final = 104  #: the outcome is too big for a message: it is what Ray's task returns
# Of a Ray that is started here: it listens on this machine alone, and leaves the terminal to the flow.
_LOCAL: Final = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
_QUIET: Final = {"log_to_driver": False, "logging_level": "warning"}

_lock = threading.Lock()
_users = 0  # runners of this process that need the Ray which one of them started


class RayTaskRunner(RemoteTaskRunner):
    """Executes tasks as Ray tasks.

    It uses the Ray that this process is connected to; else the one at `address` (or in `RAY_ADDRESS`); else it starts
    one on this machine, which ends with the flow run. What a process of Ray's dies of crashes the task run that it had.

    Args:
        address: Of a cluster that runs already: `auto`, `10.0.0.7:6379` or `ray://10.0.0.7:10001`.
        init_kwargs: Other arguments of `ray.init`, such as `{"num_cpus": 4}`.
    """

    def __init__(self, address: str | None = None, init_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.address = address
        self.init_kwargs = init_kwargs or {}
        self._lock = threading.Lock()
        self._calls: dict[str, RayCall] = {}
        self._ray: Any = None
        self._function: Any = None
        self._listener: Listener | None = None
        self._closed = False
        self._is_local = False  #: whether the workers have this machine's modules

    def duplicate(self) -> RayTaskRunner:
        """Return a fresh runner with the same settings. Raises RunnerError where Ray is not installed."""
        needs("ray", type(self).__name__, lambda: __import__("ray"))
        return RayTaskRunner(self.address, self.init_kwargs)

    def make_call(self, run: TaskRun) -> RayCall:
        """Return a call that becomes a Ray task."""
        return RayCall(run, self)

    def pack(self, run: TaskRun, tags: frozenset[str], call: RemoteCall) -> bytes:
        """Return what is sent of an attempt."""
        self._connect()
        return pack(run, tags, by_value=not self._is_local)

    def begin(self, call: RemoteCall) -> None:
        """Submit a call to Ray."""
        assert isinstance(call, RayCall)
        with self._lock:
            if self._closed or call.is_over:
                return
            self._calls[call.id] = call
        listener = self._listener
        address, token = (listener.address, listener.token) if listener is not None else ("", "")
        options = {"name": call.run.task.name, "max_retries": 0, **_options(call.run.task.resources)}
        call.reference = self._function.options(**options).remote(address, token, call.id, call.payload)
        call.reference.future().add_done_callback(lambda done: self._done(call, done))

    def close(self) -> None:
        """Stop what still executes, and Ray where this runner started it."""
        super().close()
        with self._lock:
            self._closed = True
            calls, self._calls = self._calls, {}
            ray, self._ray = self._ray, None
        if ray is None:
            return
        for call in list(calls.values()):
            call.cancel(force=True)
        if self._listener is not None:
            self._listener.close()
        _leave(ray)

    # --- the cluster

    def _connect(self) -> None:
        """Start or reach Ray, once. Raises RunnerError."""
        with self._lock:
            if self._ray is not None or self._closed:
                return
            import ray  # 1 s at import

            address = self.address or os.environ.get("RAY_ADDRESS")
            try:
                self._is_local = _enter(ray, address, self.init_kwargs)
                if not (address or "").startswith("ray://"):  # from there nobody could connect to this process
                    self._listener = Listener(ray.util.get_node_ip_address(), self._take)
            except Exception as error:  # whatever Ray raises
                where = f"at {address}" if address else "of its own"
                reason = summary(root_cause(error)).rstrip(".")
                raise RunnerError(f"The flow's Ray {where} cannot be used: {reason}.") from error
            from orchestrator.sdk.runners.ray_side import execute_in_ray  # imports ray

            self._function = ray.remote(execute_in_ray)
            self._ray = ray

    # --- what comes back

    def _take(self, frames: Frames, kind: int, about: str, body: bytes) -> None:
        """Take a message of an attempt's; called in the thread of its connection, in their order."""
        call = self._calls.get(about)
        if kind == SEQUENCE:
            frames.send(SEQUENCE, about, str(journal.current().sequence).encode())
        elif call is None:
            return
        elif kind == FETCH:
            call.fetch()
        else:
            if kind == Message.BEGUN:
                call.frames = frames
            call.receive(kind, body)
            if kind == Message.OUTCOME:
                self._calls.pop(about, None)

    def _done(self, call: RayCall, done: Any) -> None:
        """Take how a Ray task ended; called in a thread of Ray's."""
        call.reference = None
        error = done.exception()
        if error is None:
            returned = done.result()
            if isinstance(returned, bytes):
                call.keep(returned)
            elif returned is not None:  # there was no connection: all messages came along
                for kind, body in returned:
                    call.receive(kind, body)
        elif not call.is_over and not self._closed:
            message = f"The Ray process that executed the task was lost: {summary(error).splitlines()[0]}"
            call.end(Outcome(error=CrashedRun(message), crashed=True))
        if call.is_over:  # else its outcome is still on the way through the socket
            self._calls.pop(call.id, None)


class RayCall(RemoteCall):
    """An attempt that is a Ray task."""

    __slots__ = ("_is_announced", "_kept", "_runner", "frames", "reference")

    def __init__(self, run: TaskRun, runner: RayTaskRunner) -> None:
        super().__init__(run)
        self._runner = runner
        self._kept = b""
        self._is_announced = False
        self.reference: Any = None
        self.frames: Frames | None = None  #: to the process that has begun it

    def stop(self) -> bool:
        """Interrupt the code, and kill its process where that does not end it."""
        frames = self.frames
        if frames is None:
            self.cancel(force=False)
            return True
        try:
            frames.send(CANCEL, self.id, b"")
        except OSError:  # it is gone
            return True
        call_later(UNWIND_SECONDS, self.kill)
        return True

    def begun_in_vain(self) -> None:
        """End its process: Ray could not take the task back any more."""
        self.cancel(force=True)

    def kill(self) -> None:
        """End the process that executes it."""
        threading.Thread(target=self.cancel, args=(True,), daemon=True).start()

    def cancel(self, force: bool) -> None:
        """Have Ray cancel its task."""
        reference, ray = self.reference, self._runner._ray
        if reference is not None and ray is not None:
            try:
                ray.cancel(reference, force=force)
            except Exception:  # it has just ended
                pass

    def keep(self, outcome: bytes) -> None:
        """Take an outcome that came from Ray; it counts once all messages before it have come."""
        self._kept = outcome
        if self._is_announced:
            self.receive(Message.OUTCOME, outcome)

    def fetch(self) -> None:
        """Note that all messages have come and the outcome comes from Ray."""
        self._is_announced = True
        if self._kept:
            self.receive(Message.OUTCOME, self._kept)


def _options(resources: dict[str, float] | None) -> dict[str, Any]:
    """Return the options of a Ray task for what its run needs; names that Ray does not know are the cluster's own."""
    wanted = resources or {}
    own = {name: amount for name, amount in wanted.items() if name not in GENERAL_RESOURCES}
    options: dict[str, Any] = {name: amount for name, amount in wanted.items() if name in GENERAL_RESOURCES}
    return options | ({"resources": own} if own else {})


def _enter(ray: Any, address: str | None, init_kwargs: dict[str, Any]) -> bool:
    """Connect this process to Ray, if it is not. Returns whether the workers are this machine's alone."""
    global _users
    with _lock:
        if ray.is_initialized() and not _users:  # the user's own connection
            return len(ray.nodes()) == 1
        if not _users:
            ray.init(**({"address": address} if address else _LOCAL), **(_QUIET | init_kwargs))
        _users += 1
        return address is None


def _leave(ray: Any) -> None:
    """Disconnect this process, where the last runner that needs it does so and one of them connected it."""
    global _users
    with _lock:
        if _users:
            _users -= 1
            if not _users:
                ray.shutdown()
