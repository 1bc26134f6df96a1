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
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from orchestrator.sdk.boot import boot_seconds
from orchestrator.sdk.causes import CANCELLED, LEASE_LOST, SERVER_STOPPED
from orchestrator.sdk.host_protocol import Extend, FromHost, Ready, RunExited, Started, Stop
from orchestrator.sdk.processes import kill_marked, mark_of
from runs import bells
from runs.calls.signing import WorkerKey
from runs.calls.taking import Desk
from runs.canary import Canary
from runs.host_client import RunHost
from runs.launch import run_environment
from runs.listening import Listening
from runs.places import Occupant, Places
from runs.presentation import duration
from runs.supervision.base import Assignment, Supervision, Unreachable

TELL_AFTER_SECONDS: Final = 0.4
LISTEN_SECONDS: Final = 0.5
GATHER_FACTOR: Final = 4  # claims of a worker whose runs are short take a fifth of the time: each is for more places …
MAX_GATHER_SECONDS: Final = 0.1  # … and none waits for longer
HOST_RETRY_SECONDS: Final = 1.0
STOP_SECONDS: Final = 0.5  # between SIGTERM and SIGKILL of runs that a stopping worker cannot wait for
HOST_SLACK_SECONDS: Final = 2.0  # for a host to do as it is told
RENEW_RETRY_SECONDS: Final = 1.0  # until leases are tried to be extended again that could not be
HOST_END_SECONDS: Final = 3.0
HELD_SECONDS: Final = 60.0  # bells for later than this are left to the tick, which sends each again in time
READY_FD: Final = "ORCHESTRATOR_READY_FD"

_log = logging.getLogger(__name__)
_outages: set[str] = set()  # what this process cannot do now, since nobody answers


@dataclass(frozen=True, slots=True)
class _Ending:
    """A run whose process ended, at a time of the monotonic clock."""

    occupant: Occupant
    at: float


class RunWorker:
    """One worker process's places, run host and threads."""

    def __init__(self, name: str, supervision: Supervision, places: int, key: WorkerKey | None = None) -> None:
        """Make it; nothing starts yet.

        Args:
            name: The worker's.
            supervision: How it comes by its runs.
            places: How many it runs at once.
            key: By which it signs what task runs say; the server knows its public half.
        """
        self.places = Places(places)
        own_queue = bells.own_queue(name)
        self.listening = Listening(own_queue)
        self.canary = Canary(partial(bells.send_echo, own_queue))
        self.calls = Desk(
            supervision.worker_id,
            name,
            key or WorkerKey(),
            settings.WORKER_TASK_PLACES,
            run_environment(),
            str(settings.HOME.root),
            self.listening.set_calls_open,
        )
        self._supervision = supervision
        self._host: RunHost | None = None
        self._host_ready = threading.Event()
        self._wake = threading.Event()
        self._look = threading.Event()  # wakes the lease thread: somebody asked to cancel, or the worker stops
        self._claiming = threading.Lock()  # held from a claim until its run has its place
        self._draining = threading.Event()
        self._stopped = threading.Event()
        self._later: list[tuple[float, str]] = []  # heap of (Unix time, Celery queue): bells held until their time
        self._later_lock = threading.Lock()
        self._listen_at = 0.0
        self._gather_until = 0.0
        self._ended: list[_Ending] = []  # in order; told a moment later
        self._threads: list[threading.Thread] = []

    # Called by Celery's boot steps

    def start(self) -> None:
        """Sign on, start the run host and the threads."""
        self._supervision.sign_on()
        self._supervision.end_thread()  # the threads have connections of their own
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
        self.calls.drain()
        while not hurry() and (left := deadline - time.monotonic()) > 0:
            if self.places.wait_empty(min(left, 0.2)) and not self.calls.is_busy:
                break
        for occupant in self.places.occupants():
            self._stop_run(occupant, SERVER_STOPPED, STOP_SECONDS, again=True)
        self.places.wait_empty(STOP_SECONDS + 1.0)
        self.calls.stop()
        self._stopped.set()
        self._wake.set()
        self._look.set()
        if self._host is not None:
            self._host.close(HOST_END_SECONDS)
        for thread in self._threads:
            thread.join(2.0)
        self._supervision.end_facts()
        with _surviving("sign off"):
            self._supervision.sign_off()

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
                self._gather()
                with _surviving("look after what runs record"):
                    self._tend_facts()
                with _surviving("listen to itself"):
                    self._listen_to_itself()
                with _surviving("claim runs"):
                    self._listen()
                    self._fill()
                    self._pass_on()
                    self._tell_endings()
        finally:
            self._supervision.end_thread()

    def _gather(self) -> None:
        """Wait a moment after a claim for half of the places: a claim for four costs hardly more than for one."""
        enough = (self.places.count + 1) // 2
        while 0 < self.places.free < enough and (left := self._gather_until - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()

    def _listen(self) -> None:
        """Hear the bells of every queue that is there: looked at with the sweep, not at each of many bells."""
        now = time.monotonic()
        if now >= self._listen_at:
            self._listen_at = now + LISTEN_SECONDS
            self.listening.want(self._supervision.celery_queues())
            self.calls.queues = self.listening.call_queues
            self.calls.server_keys = self._supervision.call_keys()

    def _tend_facts(self) -> None:
        if not self._draining.is_set():
            self._supervision.tend_facts()

    def _listen_to_itself(self) -> None:
        if self.canary.look(self.listening.is_connected):
            _log.error("This worker is deaf: a bell to itself did not come back. Its connection is made anew.")
            self.listening.reconnect()

    def _until_next_bell(self) -> float:
        longest = self._supervision.sweep_seconds
        with self._later_lock:
            due = self._later[0][0] - time.time() if self._later else longest
        return min(max(due, 0.0), longest)

    def _fill(self) -> None:
        """Claim until every place is taken or nothing is due; then listen only if a place is free."""
        while self.places.free and self._host_ready.is_set():
            with self._claiming:
                begun, asked_at = time.monotonic(), boot_seconds()  # before the claim: its lease began no earlier
                assignments = [] if self._draining.is_set() else self._supervision.claim_some(self.places.free)
                if not assignments:
                    break
                claimed = time.monotonic()
                self._gather_until = claimed + min(GATHER_FACTOR * (claimed - begun), MAX_GATHER_SECONDS)
                self._run_all(assignments, asked_at)
        self.listening.set_open(self.places.free > 0 and not self._draining.is_set())

    def _run_all(self, assignments: list[Assignment], asked_at: float) -> None:
        """Have each of them run; where one cannot be told to the host, those after it wait for another claim."""
        while assignments:
            try:
                self._run(assignments.pop(0), asked_at)
            except BaseException:
                for assignment in assignments:
                    self._supervision.release(assignment)
                raise

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

    def _run(self, assignment: Assignment, asked_at: float) -> None:
        run_id, start = assignment.run_id, assignment.start
        if assignment.reruns:
            start.lease_until = (assignment.asked_at or asked_at) + self._supervision.leases.length
        is_here = run_id in self.places
        self.places.take(Occupant(run_id, assignment.attempt, assignment.label, assignment.reruns))
        try:
            assert self._host is not None
            if is_here:  # an attempt that was given up during an outage must not run beside its successor
                self._host.send(Stop(run=str(run_id), grace_seconds=0.0, reason=LEASE_LOST))
            self._host.send(start)
        except OSError:  # the host died: its reader starts another
            self.places.leave(run_id)
            self._supervision.release(assignment)
            return
        except BaseException:  # this run cannot be told to the host: its lease lapses, and others are not kept waiting
            self.places.leave(run_id)
            raise
        self._supervision.began(assignment)
        _log.info("Flow run %s started", assignment.label)

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

        What those runs had started themselves outlives them, as no signal told it.
        """
        self._host_ready.clear()
        for occupant in self.places.clear():
            _kill(occupant)
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
        occupant.kill_at = time.monotonic() + grace_seconds + HOST_SLACK_SECONDS
        try:
            self._host.send(Stop(run=str(occupant.run_id), grace_seconds=grace_seconds, reason=reason))
        except OSError:  # the host is gone, and the run with it
            pass

    # Leases

    def _lease_loop(self) -> None:
        extended = True
        try:
            while not self._stopped.is_set():
                self._look.wait(self._supervision.leases.renew if extended else RENEW_RETRY_SECONDS)
                self._look.clear()
                extended = False
                with _surviving("extend leases"):
                    self._renew()
                    extended = True
                self._kill_unheeded()
        finally:
            self._supervision.end_thread()

    def _renew(self) -> None:
        occupants = {occupant.run_id: occupant for occupant in self.places.occupants()}
        asked_at = boot_seconds()
        renewal = self._supervision.renew(
            {run_id: occupant.attempt for run_id, occupant in occupants.items()}, self.canary.heard_at
        )
        grace = self._supervision.leases.cancel_grace
        for run_id in renewal.cancel:
            self._stop_run(occupants[run_id], CANCELLED, grace)
        for run_id in renewal.lost:
            self._stop_run(occupants[run_id], LEASE_LOST, grace)
        for run_id, occupant in occupants.items():
            if occupant.reruns and run_id not in renewal.lost:
                self._extend(occupant, asked_at + self._supervision.leases.length)

    def _extend(self, occupant: Occupant, lease_until: float) -> None:
        """Tell the host how long a run that would be run again may go on: it ends the run by then, come what may."""
        if self._host is None:
            return
        try:
            self._host.send(Extend(run=str(occupant.run_id), attempt=occupant.attempt, lease_until=lease_until))
        except OSError:  # the host is gone, and the run with it
            pass

    def _kill_unheeded(self) -> None:
        """Kill what a host does not stop that was told to: it may be standing still."""
        now = time.monotonic()
        for occupant in self.places.occupants():
            if occupant.stopping and occupant.kill_at < now:
                _kill(occupant)

    def _tell_endings(self) -> None:
        """Say how runs ended, once their last facts had a moment to be brought in."""
        now = time.monotonic()
        told = [ending for ending in self._ended if now - ending.at > TELL_AFTER_SECONDS]
        if not told:
            return
        del self._ended[: len(told)]
        names = self._supervision.state_names([ending.occupant.run_id for ending in told])
        for ending in told:
            occupant = ending.occupant
            name = names.get(occupant.run_id, "ended")
            _log.info("Flow run %s: %s after %s", occupant.label, name, duration(ending.at - occupant.since))


def _kill(occupant: Occupant) -> None:
    """Kill a run's processes without its host, as far as they are known."""
    if occupant.pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(occupant.pid, signal.SIGKILL)
    kill_marked(mark_of(str(occupant.run_id), occupant.attempt))


@contextlib.contextmanager
def _surviving(doing: str) -> Iterator[None]:
    """Go on when nobody answers, or after a fault: what was to be done is done at the next turn.

    A thread that died of one fault would leave a worker that looks alive and does nothing. An outage is told when it
    begins and when it is over, not at each turn.
    """
    try:
        yield
    except Unreachable as error:
        if doing not in _outages:
            _log.error("Could not %s, and tries again: %s", doing, error)
        _outages.add(doing)
    except Exception:
        _log.exception("Could not %s", doing)
    else:
        if doing in _outages:
            _outages.discard(doing)
            _log.error("It can %s again.", doing)
