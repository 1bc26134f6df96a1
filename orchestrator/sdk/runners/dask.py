"""The runner that executes tasks on a Dask cluster: one of its own, one at an address, or of any class."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from orchestrator.sdk import capture
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.exceptions import CrashedRun, RunnerError
from orchestrator.sdk.runners.calls import Message, RemoteCall
from orchestrator.sdk.runners.remote import GENERAL_RESOURCES, RemoteTaskRunner, needs, root_cause
from orchestrator.sdk.runners.transfer import pack
from orchestrator.sdk.runs import TaskRun
from orchestrator.sdk.tracebacks import summary

if TYPE_CHECKING:
    from collections.abc import Callable

_BIG: Final = 1_000_000  #: bytes of a payload that go to a worker directly, not through the scheduler
_LOCAL: Final = {"dashboard_address": "127.0.0.1:0"}  #: what a local cluster listens on: this machine alone
_PROCESSES: Final = {"host": "127.0.0.1"}


class DaskTaskRunner(RemoteTaskRunner):
    """Executes tasks on the workers of a Dask cluster.

    With neither an address nor a class it uses the scheduler that Dask's own configuration names
    (`DASK_SCHEDULER_ADDRESS`), else it starts a local cluster for each flow run. What a worker dies of crashes the task
    runs that it had. Dask futures among the arguments arrive as their values, without going through the flow's process.

    Args:
        address: Of a scheduler that runs already, such as `tcp://10.0.0.7:8786`.
        cluster_class: The class of a cluster to start, or its dotted name, such as `dask_kubernetes.KubeCluster`.
        cluster_kwargs: Its arguments, such as `{"n_workers": 4}`.
        adapt_kwargs: Arguments of the cluster's `adapt`, such as `{"minimum": 1, "maximum": 10}`.
        client_kwargs: Arguments of `distributed.Client`.
    """

    def __init__(
        self,
        address: str | None = None,
        cluster_class: str | Callable[..., Any] | None = None,
        cluster_kwargs: dict[str, Any] | None = None,
        adapt_kwargs: dict[str, Any] | None = None,
        client_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if address is not None and (cluster_class is not None or cluster_kwargs or adapt_kwargs):
            raise ValueError("DaskTaskRunner takes an address or a cluster to start, not both.")
        super().__init__()
        self.address = address
        self.cluster_class = cluster_class
        self.cluster_kwargs = cluster_kwargs or {}
        self.adapt_kwargs = adapt_kwargs
        self.client_kwargs = client_kwargs or {}
        self._lock = threading.Lock()
        self._topic = f"orchestrator-{uuid4()}"  #: as `dask_side.TOPIC` begins
        self._calls: dict[str, DaskCall] = {}
        self._client: Any = None
        self._cluster: Any = None
        self._closed = False
        self._threads: dict[str, int] = {}  #: how many attempts a worker executes at a time, by its address
        self._lost: Counter[str] = Counter()  #: how many attempts had begun on a worker that was lost
        self._is_local = False  #: whether the workers have this machine's modules

    def duplicate(self) -> DaskTaskRunner:
        """Return a fresh runner with the same settings. Raises RunnerError where Dask is not installed."""
        needs("dask", type(self).__name__, lambda: __import__("distributed"))
        return type(self)(self.address, self.cluster_class, self.cluster_kwargs, self.adapt_kwargs, self.client_kwargs)

    def make_call(self, run: TaskRun) -> DaskCall:
        """Return a call that becomes a Dask future."""
        return DaskCall(run, self)

    def pack(self, run: TaskRun, tags: frozenset[str], call: RemoteCall) -> bytes:
        """Return what is sent of an attempt; Dask futures among its arguments travel beside it."""
        from orchestrator.sdk.runners.dask_side import taken_out  # Dask costs 0.4 s at import

        assert isinstance(call, DaskCall)
        self._connect(run)
        arguments, keywords, call.futures = taken_out(run.arguments, run.keywords)
        return pack(run, tags, by_value=not self._is_local, arguments=(arguments, keywords))

    def begin(self, call: RemoteCall) -> None:
        """Submit a call to the cluster."""
        import dask  # loaded already

        from orchestrator.sdk.runners.dask_side import execute_in_worker  # imports distributed

        assert isinstance(call, DaskCall)
        with self._lock:
            if self._closed or call.is_over:
                return
            self._calls[call.id] = call
        client, payload = self._client, call.payload
        if len(payload) > _BIG:
            payload = client.scatter(payload, hash=False)
        with dask.annotate(orchestrator=True):  # for `dask_side.LoseOnce`
            future = call.future = client.submit(
                execute_in_worker,
                self._topic,
                call.id,
                payload,
                [self._bound(future) for future in call.futures],
                key=f"{call.run.task.name}-{call.id}-{call.losses}",
                pure=False,
                resources=_resources(call.run.task.resources),
            )
        future.add_done_callback(lambda done: self._done(call, done))

    def close(self) -> None:
        """Leave the cluster, and end it where it is this runner's own."""
        with self._lock:
            self._closed = True
            client, cluster = self._client, self._cluster
            self._client = self._cluster = None
            self._calls.clear()
        for part in (client, cluster):
            if part is not None:
                try:
                    part.close()
                except Exception:  # it went before: nothing is left to be closed
                    pass
        super().close()

    # --- the cluster

    def _connect(self, run: TaskRun) -> None:
        """Start or reach the cluster, once. Raises RunnerError."""
        with self._lock:
            if self._client is not None or self._closed:
                return
            try:
                self._client = self._new_client()
            except Exception as error:  # whatever a cluster's class raises
                if self._cluster is not None:
                    self._cluster.close()
                    self._cluster = None
                where = f"at {self.address}" if self.address else "of its own"
                reason = summary(root_cause(error)).rstrip(".")
                raise RunnerError(f"The flow's Dask cluster {where} cannot be used: {reason}.") from error
        self._say_dashboard(run)

    def _new_client(self) -> Any:
        import dask.config  # an extra, and 0.4 s with distributed
        from distributed import Client, LocalCluster

        from orchestrator.sdk.runners.dask_side import LoseOnce

        address = self.address
        if address is None and self.cluster_class is None and not self.cluster_kwargs:
            address = dask.config.get("scheduler-address", None)
        if address is None:
            cluster_class = _named(self.cluster_class or LocalCluster)
            self._is_local = cluster_class is LocalCluster
            _quieten()
            self._cluster = cluster_class(**(self._defaults() | self.cluster_kwargs))
            if self.adapt_kwargs is not None:
                self._cluster.adapt(**self.adapt_kwargs)
        client = Client(self._cluster or address, set_as_default=False, **self.client_kwargs)
        client.subscribe_topic(self._topic, self._take)
        client.register_plugin(LoseOnce())
        return client

    def _defaults(self) -> dict[str, Any]:
        if not self._is_local:
            return {}
        return _LOCAL | (_PROCESSES if self.cluster_kwargs.get("processes", True) else {})

    def _say_dashboard(self, run: TaskRun) -> None:
        """Record the address of the cluster's dashboard with the flow run."""
        link = (self._cluster or self._client).dashboard_link
        if link and run.flow_run is not None:
            capture.record_log(run.flow_run, 20, "orchestrator.engine", f"Dask dashboard: {link}")

    def _bound(self, future: Any) -> Any:
        """Return a Dask future as this runner's client knows it, whoever made it."""
        from distributed import Future  # loaded already

        return Future(future.key, client=self._client)

    # --- what comes back

    def _take(self, event: tuple[float, Any]) -> None:
        """Take a message of a worker's; called in the client's event loop, in the order in which they were sent."""
        call_id, kind, body, worker, threads = event[1]
        call = self._calls.get(call_id)
        if call is None:
            return
        if kind == Message.BEGUN:
            call.worker = worker
            self._threads[worker] = threads
        call.receive(kind, body)

    def _done(self, call: DaskCall, future: Any) -> None:
        """Take how a Dask future ended; called in a thread of Dask's, after all messages of its attempt."""
        call.future = None
        try:
            if self._closed or call.is_over:  # its outcome came as a message, or nobody wants it any more
                return
            if future.status == "finished":  # too big for a message
                call.receive(Message.OUTCOME, future.result())
            else:
                self._fail(call, future)
        except Exception as error:
            call.end(*_crashed(f"The result could not be fetched from its Dask worker: {summary(error)}"))
        finally:
            future.release()
            if call.is_over:
                self._calls.pop(call.id, None)

    def _fail(self, call: DaskCall, future: Any) -> None:
        from distributed import KilledWorker  # loaded already

        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            worker = error.last_worker.address
            call.has_begun = call.has_begun or not self._was_busy(worker)
            self._lost[worker] += call.has_begun
            self.lose(call, f"The Dask worker that executed the task ({worker}) was lost")
        elif error is None:
            self.lose(call, f"The Dask cluster gave the task up ({future.status})")
        else:
            call.end(*_crashed(f"The Dask worker could not execute the task: {summary(error)}"))

    def _was_busy(self, worker: str) -> bool:
        """Whether a worker that was lost executed as many attempts as it can: then others of its had not begun.

        The word that one has begun takes some milliseconds, and may be lost with the worker. So where a thread of it
        was free as far as is known, whatever it had may have begun, and is not executed again by itself.
        """
        begun = sum(call.worker == worker and not call.is_over for call in list(self._calls.values()))
        return self._lost[worker] + begun >= self._threads.get(worker, 1)

    def ask_to_end(self, call: DaskCall) -> bool:
        """Cancel what has begun on a worker, as far as its code can be reached. Returns whether that was possible."""
        from orchestrator.sdk.runners.dask_side import cancel  # imports distributed

        client = self._client
        if client is None:
            return True
        try:
            answers = client.run(cancel, call.id, workers=[call.worker], on_error="ignore")
        except Exception:  # the worker or the scheduler is gone
            return True
        return all(answers.values())


class DaskCall(RemoteCall):
    """An attempt that is a Dask future."""

    __slots__ = ("_runner", "future", "futures", "worker")

    def __init__(self, run: TaskRun, runner: DaskTaskRunner) -> None:
        super().__init__(run)
        self._runner = runner
        self.future: Any = None
        self.futures: list[Any] = []  #: Dask futures among the arguments
        self.worker = ""  #: the address of the worker that has begun it

    def stop(self) -> bool:
        """Take it off the cluster; code that has begun is asked to end, but a thread of a worker cannot be stopped."""
        future, self.future = self.future, None
        if future is not None:
            future.cancel()
        return self._runner.ask_to_end(self) if self.has_begun else True

    def begun_in_vain(self) -> None:
        """Ask it to end; in a thread, since this is called in the client's event loop."""
        threading.Thread(target=self._runner.ask_to_end, args=(self,), daemon=True).start()


def _crashed(message: str) -> Any:
    return (Outcome(error=CrashedRun(message), crashed=True),)


def _resources(wanted: dict[str, float] | None) -> dict[str, float] | None:
    """Return what workers are asked for: Dask has no `num_cpus` and its like, and a task would wait for ever."""
    own = {name: amount for name, amount in (wanted or {}).items() if name not in GENERAL_RESOURCES}
    return own or None


def _quieten() -> None:
    """Leave what Dask says of each start of its parts out of the run's log lines; its own default on terminals, too."""
    logger = logging.getLogger("distributed")
    if logger.level in (logging.NOTSET, logging.INFO):
        logger.setLevel(logging.WARNING)


def _named(cluster_class: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return a class by its dotted name, or the class itself."""
    if not isinstance(cluster_class, str):
        return cluster_class
    module, _, name = cluster_class.rpartition(".")
    found: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    return found
