"""A worker: claims runs for its free places, has its run host run them, and holds their leases.

Three threads beside Celery's. *Claims* waits for bells, for exits and for its own sweep, and fills the free places.
*Leases* extends the leases of what runs and obeys cancellations. The run host's *reader* frees places. None of them is
ever blocked for the length of a run, and none needs the broker: without one, the sweep finds what is due.
"""

import contextlib
import heapq
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from django.utils import timezone

from flows.models import WorkQueue
from orchestrator.sdk.host_protocol import FromHost, Ready, RunExited, Started, Stop
from runs import bells, claims
from runs.announcements import announce_on_commit
from runs.claims import Claim
from runs.host_client import RunHost
from runs.ingester_child import IngesterChild
from runs.launch import run_environment, start_message
from runs.listening import Listening
from runs.models import FlowRun, Worker
from runs.places import Occupant, Places
from runs.presentation import duration

SWEEP_SECONDS: Final = 0.8  # how often a worker looks for due runs and new queues without being rung: within a second
TELL_AFTER_SECONDS: Final = 0.4
HOST_RETRY_SECONDS: Final = 1.0
STOP_SECONDS: Final = 0.5  # between SIGTERM and SIGKILL of runs that a stopping worker cannot wait for
HOST_END_SECONDS: Final = 3.0
HELD_SECONDS: Final = 60.0  # bells for later than this are left to the tick, which sends each again in time
KEPT: Final = timedelta(days=30)  # rows of workers that are gone
READY_FD: Final = "ORCHESTRATOR_READY_FD"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Ending:
    """A run whose process ended, at a time of the monotonic clock."""

    occupant: Occupant
    at: float


class RunWorker:
    """One worker process's places, run host and threads."""

    def __init__(self, name: str, places: int) -> None:
        """Make it; nothing starts yet."""
        self.name = name
        self.places = Places(places)
        self.listening = Listening()
        self._row = Worker(name=name, host=socket.gethostname(), pid=os.getpid(), places=places)
        self._host: RunHost | None = None
        self._host_ready = threading.Event()
        self._wake = threading.Event()
        self._look = threading.Event()  # wakes the lease thread: somebody asked to cancel, or the worker stops
        self._claiming = threading.Lock()  # held from a claim until its run has its place
        self._draining = threading.Event()
        self._stopped = threading.Event()
        self._later: list[tuple[float, str]] = []  # heap of (Unix time, Celery queue): bells held until their time
        self._later_lock = threading.Lock()
        self._ended: list[_Ending] = []  # in order; told a moment later
        self._ingester = IngesterChild()
        self._ingester_at = 0.0
        self._threads: list[threading.Thread] = []

    # Called by Celery's boot steps

    def start(self) -> None:
        """Enter the worker's row, start the run host and the threads."""
        now = timezone.now()
        self._row.started_at = self._row.heartbeat_at = now
        self._row.save(force_insert=True)
        Worker.objects.filter(heartbeat_at__lt=now - KEPT).delete()
        self._start_host()
        for name, loop in (("claims", self._claim_loop), ("leases", self._lease_loop)):
            thread = threading.Thread(target=loop, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, grace_seconds: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Claim no more, wait for what runs, stop what is left ("server stopped"), and end the host and the threads.

        Args:
            grace_seconds: How long runs may go on.
            hurry: Asked meanwhile; when it says True the wait is over.
        """
        deadline = time.monotonic() + grace_seconds
        self._draining.set()
        if self._claiming.acquire(timeout=min(grace_seconds, STOP_SECONDS)):  # a claim under way gets its place first
            self._claiming.release()
        self._wake.set()
        self._look.set()
        while not hurry() and (left := deadline - time.monotonic()) > 0 and not self.places.wait_empty(min(left, 0.2)):
            pass
        for occupant in self.places.occupants():
            self._stop_run(occupant, "server stopped", STOP_SECONDS, again=True)
        self.places.wait_empty(STOP_SECONDS + 1.0)
        self._stopped.set()
        self._wake.set()
        self._look.set()
        if self._host is not None:
            self._host.close(HOST_END_SECONDS)
        for thread in self._threads:
            thread.join(2.0)
        self._ingester.stop()
        with _surviving("sign off"):
            Worker.objects.filter(pk=self._row.pk).update(stopped_at=timezone.now())

    def ring(self, queue: str, at: datetime | None = None) -> None:
        """A bell came: claim now, or hold it until its time. A full worker passes a bell on."""
        now = timezone.now()
        if at is not None and at > now:
            if at > now + timedelta(seconds=HELD_SECONDS):
                return
            with self._later_lock:
                heapq.heappush(self._later, (at.timestamp(), queue))
        elif self.places.free == 0 or self._draining.is_set():
            bells.send(queue)
            return
        self._wake.set()

    def heard(self) -> None:
        """The consumer is connected: bells can be heard. Tells whoever waits for this worker, once."""
        self._wake.set()
        descriptor = os.environ.pop(READY_FD, "")
        if descriptor:
            os.write(int(descriptor), b"ready\n")
            os.close(int(descriptor))

    def asked_to_cancel(self, run_id: str) -> None:
        """Look at the rows of what runs here now, if this run is among it."""
        if UUID(run_id) in self.places:
            self._look.set()

    # Claims

    def _claim_loop(self) -> None:
        try:
            while not self._stopped.is_set():
                self._wake.wait(self._until_next_bell())
                self._wake.clear()
                close_old_connections()
                with _surviving("look after the ingester"):
                    self._look_at_ingester()
                with _surviving("claim runs"):
                    self._listen()
                    self._fill()
                    self._pass_on()
                    self._tell_endings()
        finally:
            connection.close()

    def _look_at_ingester(self) -> None:
        now = time.monotonic()
        if now >= self._ingester_at and not self._draining.is_set():
            self._ingester_at = now + SWEEP_SECONDS
            self._ingester.ensure()

    def _until_next_bell(self) -> float:
        with self._later_lock:
            due = self._later[0][0] - time.time() if self._later else SWEEP_SECONDS
        return min(max(due, 0.0), SWEEP_SECONDS)

    def _listen(self) -> None:
        queues = WorkQueue.objects.filter(paused=False).values_list("pk", flat=True)
        self.listening.want([WorkQueue(pk=pk).celery_queue for pk in queues])

    def _fill(self) -> None:
        """Claim until every place is taken or nothing is due; then listen only if a place is free."""
        while self.places.free and self._host_ready.is_set():
            with self._claiming:
                claimed = None if self._draining.is_set() else claims.claim(self._row)
                if claimed is None:
                    break
                self._run(claimed)
        self.listening.set_open(self.places.free > 0 and not self._draining.is_set())

    def _pass_on(self) -> None:
        """Let go of bells whose time has come; with no place left, other workers get them."""
        now = time.time()
        with self._later_lock:
            due = []
            while self._later and self._later[0][0] <= now:
                due.append(heapq.heappop(self._later)[1])
        if due and self.places.free == 0:
            for queue in set(due):
                bells.send(queue)

    def _run(self, claimed: Claim) -> None:
        run = claimed.run
        label = f"'{run.name}' of {run.deployment.full_name if run.deployment else run.flow.name}"
        is_here = run.pk in self.places
        self.places.take(Occupant(run.pk, claimed.attempt.number, label))
        try:
            assert self._host is not None
            if is_here:  # an attempt that was given up during an outage must not run beside its successor
                self._host.send(Stop(run=str(run.pk), grace_seconds=0.0, reason="its worker lost its lease"))
            self._host.send(start_message(claimed))
        except OSError:  # the host died: its reader starts another
            self.places.leave(run.pk)
            claims.release(claimed)
            return
        except BaseException:  # this run cannot be told to the host: its lease lapses, and others are not kept waiting
            self.places.leave(run.pk)
            raise
        announce_on_commit([run.pk])
        _log.info("Flow run %s started", label)

    # The run host

    def _start_host(self) -> None:
        self._host = RunHost(run_environment(), str(settings.HOME.root), self._on_message, self._on_host_gone)

    def _on_message(self, message: FromHost) -> None:
        if isinstance(message, Ready):
            self._host_ready.set()
            self._wake.set()
        elif isinstance(message, RunExited):
            occupant = self.places.leave(UUID(message.run), message.attempt)
            if occupant is not None:
                self._ended.append(_Ending(occupant, time.monotonic()))
            self._wake.set()
        else:
            assert isinstance(message, Started)
            self.places.began(UUID(message.run), message.pid)

    def _on_host_gone(self) -> None:
        """The host died: its runs died with it (the kernel kills them), and their journals say so to ingest.

        What those runs had started themselves outlives them, as no signal told it: it is in their groups.
        """
        self._host_ready.clear()
        for occupant in self.places.clear():
            if occupant.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(occupant.pid, signal.SIGKILL)
            _log.error("Flow run %s lost its run host", occupant.label)
        if self._stopped.is_set():
            return
        _log.error("The run host ended by itself; another one is started.")
        while not self._stopped.wait(HOST_RETRY_SECONDS):  # in the dead host's reader thread, which is idle
            try:
                self._start_host()
            except OSError as error:  # no memory, no process left
                _log.error("The run host cannot be started: %s", error)
            else:
                break

    def _stop_run(self, occupant: Occupant, reason: str, grace_seconds: float, again: bool = False) -> None:
        if self._host is None or (occupant.stopping and not again):
            return
        occupant.stopping = True
        try:
            self._host.send(Stop(run=str(occupant.run_id), grace_seconds=grace_seconds, reason=reason))
        except OSError:  # the host is gone, and the run with it
            pass

    # Leases

    def _lease_loop(self) -> None:
        try:
            while not self._stopped.is_set():
                self._look.wait(settings.LEASE_RENEW_SECONDS)
                self._look.clear()
                close_old_connections()
                with _surviving("extend leases"):
                    self._renew()
                    Worker.objects.filter(pk=self._row.pk).update(heartbeat_at=timezone.now())
        finally:
            connection.close()

    def _renew(self) -> None:
        occupants = {occupant.run_id: occupant for occupant in self.places.occupants()}
        renewal = claims.renew({run_id: occupant.attempt for run_id, occupant in occupants.items()})
        for run_id in renewal.cancel:
            self._stop_run(occupants[run_id], "cancelled", settings.CANCEL_GRACE_SECONDS)
        for run_id in renewal.lost:
            self._stop_run(occupants[run_id], "its worker lost its lease", settings.CANCEL_GRACE_SECONDS)

    def _tell_endings(self) -> None:
        """Say how runs ended, once their last facts had a moment to be brought in."""
        now = time.monotonic()
        told = [ending for ending in self._ended if now - ending.at > TELL_AFTER_SECONDS]
        if not told:
            return
        del self._ended[: len(told)]
        found = FlowRun.objects.filter(pk__in=[ending.occupant.run_id for ending in told])
        names = dict(found.values_list("pk", "state_name"))
        for ending in told:
            occupant = ending.occupant
            name = names.get(occupant.run_id, "deleted")
            _log.info("Flow run %s: %s after %s", occupant.label, name, duration(ending.at - occupant.since))


@contextlib.contextmanager
def _surviving(doing: str) -> Iterator[None]:
    """Go on when the database does not answer, or after a fault: what was to be done is done at the next turn.

    A thread that died of one fault would leave a worker that looks alive and does nothing.
    """
    try:
        yield
    except DatabaseError as error:
        _log.error("Could not %s: the database says: %s", doing, error)
        connection.close()
    except Exception:
        _log.exception("Could not %s", doing)
