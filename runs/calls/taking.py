"""A worker's side: takes calls that Celery brings, claims them (`claims`), and has processes execute them."""

import logging
import os
import threading
import time
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from queue import Empty
from typing import Final
from uuid import UUID

import redis

from orchestrator.sdk.runners.call_wire import LOST, RETURNED, TAKEN, SentCall
from runs.calls import keys
from runs.calls.bounds import forget_parts
from runs.calls.claims import Claims, Heard, Held
from runs.calls.keys import RunKeys
from runs.calls.processes import IDLE_SECONDS, Bundle, TakenCall, TaskProcess
from runs.calls.signing import CallMessage, Forged, WorkerKey, opened
from runs.calls.way_back import WayBack

BEAT_SECONDS: Final = 1.0
UNWANTED_SECONDS: Final = 10.0  #: how long nothing may say that a flow run wants its calls, until they are dropped
RETURN_SECONDS: Final = 2.0  #: how long a call may wait here before another worker may have it
STARVED_SECONDS: Final = 0.5  #: how long a flow run may wait without any process here
_BEHIND: Final = "The clocks of the server and of worker {name} differ by {seconds:.0f} s, or more than they may"
_PROCESSORS: Final = os.cpu_count() or 1

_log = logging.getLogger(__name__)


class RunOfCalls:
    """A flow run of whose calls this worker has some."""

    def __init__(self, desk: "Desk", names: RunKeys) -> None:
        self.desk = desk
        self.names = names
        self.way_back = WayBack(names, desk.worker, desk.key)
        self.waiting: deque[TakenCall] = deque()
        self.bundles: set[Bundle] = set()
        self.processes: set[TaskProcess] = set()
        self.idle: list[TaskProcess] = []
        self.said: list[str] = []  #: calls that have ended, while their last words may be on their way
        self.is_wanted = False  #: as the broker said last; until it has said so, nothing is executed
        self.wanted_at = self.busy_at = time.monotonic()


class Desk:
    """What one worker has of calls. Any thread may call any method."""

    def __init__(
        self,
        worker: UUID,
        name: str,
        key: WorkerKey,
        places: int,
        environment: Mapping[str, str],
        directory: str,
        set_open: Callable[[bool], None],
    ) -> None:
        """Make it; nothing starts before the first call comes.

        Args:
            worker: The id of its row.
            name: For people.
            key: By which it signs what it says.
            places: How many processes it may have.
            environment: The whole of what they see.
            directory: Where they work.
            set_open: Told whether there is room for more calls.
        """
        self.worker, self.name, self.key = worker, name, key
        self.server_keys: Sequence[str] = ()
        self.queues: Collection[str] = ()
        self._claims = Claims(worker)
        self._places = places
        self._environment, self._directory = environment, directory
        self._set_open = set_open
        self._lock = threading.RLock()
        self._runs: dict[str, RunOfCalls] = {}
        self._beats: threading.Thread | None = None
        self._look = threading.Event()
        self._draining = False  # gives back what has not begun, and takes no more
        self._stopped = False
        self._is_told = False

    # --- Celery's threads

    def take(self, data: str, signature: str, queue: str) -> None:
        """Take a message that came on a Celery queue; one that the server did not sign for it is refused."""
        try:
            message = opened(b64decode(data, validate=True), bytes.fromhex(signature), self.server_keys)
            if message.queue != queue or queue not in self.queues:
                raise Forged(f"it was sent on {message.queue} and came on {queue}")
        except ValueError as error:  # Forged, or no base64
            _log.error("A message with task runs is refused: %s.", error)
            return
        try:
            self._claim(message)
        except redis.RedisError as error:
            _log.error("Task runs cannot be taken, and are sent anew: %s", error)

    def _claim(self, message: CallMessage) -> None:
        names = RunKeys(message.run, message.attempt, message.line)
        age = time.time() - message.sent_at
        is_stale = not -keys.SKEW_SECONDS < age < keys.MESSAGE_SECONDS + keys.SKEW_SECONDS
        refuse = is_stale or self._draining
        taken = self._claims.take(names, message.calls, message.queue, refuse=refuse)
        if taken.is_over or not taken.mine:
            return
        run = self._run_of(names)
        if not refuse:
            self._have(run, taken.mine, taken.is_wanted)
            return
        why = _BEHIND.format(name=self.name, seconds=-age) if age < -keys.SKEW_SECONDS else ""
        for call in taken.mine:
            run.way_back.say(RETURNED, call.id, why.encode())

    def _run_of(self, names: RunKeys) -> RunOfCalls:
        with self._lock:
            run = self._runs.get(names.id)
            if run is None:
                run = self._runs[names.id] = RunOfCalls(self, names)
            if self._beats is None:
                self._beats = threading.Thread(target=self._beat_all, name="calls", daemon=True)
                self._beats.start()
            return run

    def _have(self, run: RunOfCalls, calls: Sequence[SentCall], is_wanted: bool) -> None:
        now = time.monotonic()
        bundle = Bundle([call.id for call in calls], len(calls), len(calls) > 1)
        name = self.name.encode()
        for call in calls:
            run.way_back.say(TAKEN, call.id, name)
        with self._lock:
            run.busy_at = now
            if is_wanted:
                run.is_wanted, run.wanted_at = True, now
            run.bundles.add(bundle)
            run.waiting.extend(
                TakenCall(call.id, call.payload, call.parts, call.digest, run, bundle, now) for call in calls
            )
            self._fill()

    def stop_calls(self, run_id: str, calls: Sequence[str], *, kill: bool) -> None:
        """End calls of a flow run; none named: all, with its processes."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                return
            if not calls:
                self._end(run)
                return
            wanted = set(calls)
            dropped = [call for call in run.waiting if call.id in wanted]
            executing = [call for process in run.processes if (call := process.held) and call.id in wanted]
            for call in dropped:
                run.waiting.remove(call)
                self._leave_bundle(call)
        self._give_back(dropped)
        for call in executing:
            if call.process is not None:
                call.process.kill(call) if kill else call.process.interrupt(call)

    # --- the processes' threads

    def next_call(self, process: TaskProcess) -> TakenCall | None:
        """Wait for a call of the process's flow run; None where it is to end."""
        run = process.run
        with self._lock:
            if self._stopped or run.names.id not in self._runs or self._is_needed_elsewhere(run):
                return None
            if run.waiting and run.is_wanted:
                return self._handed(run, process)
            run.idle.append(process)
            self._fill()
        try:
            return process.inbox.get(timeout=IDLE_SECONDS)
        except Empty:
            with self._lock:
                if process in run.idle:
                    run.idle.remove(process)
                    return None
            return process.inbox.get()

    def payload_of(self, call: TakenCall) -> bytes | None:
        """Return a payload, its parts fetched; None where they are gone: then the call was given back."""
        if not call.parts:
            return call.payload
        try:
            payload = self._claims.payload(call.run.names, call.id, call.parts, call.digest)
        except redis.RedisError:
            payload = None
        if payload is None:
            call.run.way_back.say(RETURNED, call.id, b"The parts of what it was to get are no longer in the broker")
        return payload

    def begins(self, call: TakenCall) -> bool:
        """Note that the calls of a message begin, in one word for all of them: they are quick ones.

        Returns:
            Whether this one may: not where it was given up or has become another's, nor where its claim is gone or
            the broker is away; then it was given back.
        """
        bundle = call.bundle
        with bundle.lock:
            if not bundle.is_begun:
                try:
                    bundle.begun = self._claims.begin(call.run.names, bundle.ids)
                except redis.RedisError:
                    call.run.way_back.say(RETURNED, call.id)
                    return False
                bundle.is_begun = True
        if call.id in bundle.begun.gone:
            call.run.way_back.say(RETURNED, call.id)
        return call.id not in bundle.begun.off

    def ended(self, call: TakenCall) -> None:
        """Note that a call has ended."""
        with self._lock:
            call.run.busy_at = time.monotonic()
            call.run.said.append(call.id)
            if call.process is not None:
                call.process.held = None
            self._leave_bundle(call)

    def forget(self, process: TaskProcess, call: TakenCall | None, problem: str) -> None:
        """Note that a process is gone, and say what became of its call."""
        run = process.run
        with self._lock:
            run.processes.discard(process)
            if call is not None:
                self._leave_bundle(call)
            is_known = run.names.id in self._runs
        if call is not None and problem and is_known:
            run.way_back.say(LOST, call.id, problem.encode())
        with self._lock:
            self._fill()

    # --- who gets what; all hold the lock

    def _fill(self) -> None:
        """Give waiting calls to idle processes, and start processes where there are places."""
        for run in list(self._runs.values()):
            while run.waiting and run.idle and run.is_wanted:
                process = run.idle.pop()
                process.inbox.put(self._handed(run, process))
        # Turn by turn, so that a run with many calls leaves places to others. Calls of a message are quick ones: they
        # share a process.
        while starving := [run for run in self._runs.values() if self._wants_more(run)]:
            run = min(starving, key=lambda run: len(run.processes))
            if self._count() >= self._places and not self._end_an_idle_one(run):
                break
            run.processes.add(TaskProcess(run, self._environment, self._directory))
        executing = sum(len(run.bundles) for run in self._runs.values())
        self._set_open(executing <= self._places and not self._draining)

    def _wants_more(self, run: RunOfCalls) -> bool:
        """Whether a process more would be of use: of quick calls, which share messages, no more than processors."""
        if not (run.is_wanted and run.waiting):
            return False
        quick = sum(bundle.is_quick for bundle in run.bundles)
        return len(run.processes) < len(run.bundles) - quick + min(quick, _PROCESSORS)

    def _count(self) -> int:
        return sum(len(run.processes) for run in self._runs.values())

    def _end_an_idle_one(self, wanting: RunOfCalls) -> bool:
        """End an idle process of another run. Returns whether there is a place now."""
        for run in self._runs.values():
            if run is not wanting and run.idle:
                process = run.idle.pop()
                run.processes.discard(process)
                process.inbox.put(None)
                return True
        return False

    def _is_needed_elsewhere(self, mine: RunOfCalls) -> bool:
        """Whether a process should end so that another run, which has none here, gets its place."""
        if self._count() < self._places:
            return False
        patience = STARVED_SECONDS if len(mine.processes) > 1 or not mine.waiting else STARVED_SECONDS * 4
        now = time.monotonic()
        return any(
            run is not mine and self._wants_more(run) and not run.processes and now - run.waiting[0].since > patience
            for run in self._runs.values()
        )

    def _handed(self, run: RunOfCalls, process: TaskProcess) -> TakenCall:
        call = run.waiting.popleft()
        call.process = process
        process.held = call
        return call

    def _leave_bundle(self, call: TakenCall) -> None:
        call.bundle.left -= 1
        if call.bundle.left <= 0:
            call.run.bundles.discard(call.bundle)
            self._fill()

    def _end(self, run: RunOfCalls) -> None:
        """Drop all of a flow run, and end its processes."""
        self._runs.pop(run.names.id, None)
        run.waiting.clear()
        run.bundles.clear()
        run.way_back.close()
        for process in list(run.processes):
            process.kill()
        for process in run.idle:
            process.inbox.put(None)
        run.idle.clear()
        self._fill()

    # --- the heartbeat

    def drain(self) -> None:
        """Take no more, and give back what has not begun."""
        with self._lock:
            self._draining = True
            returned = [call for run in self._runs.values() for call in run.waiting]
            for call in returned:
                call.run.waiting.remove(call)
                self._leave_bundle(call)
            self._fill()
        self._give_back(returned)

    @property
    def is_busy(self) -> bool:
        """Whether calls execute."""
        with self._lock:
            return any(run.bundles for run in self._runs.values())

    def stop(self) -> None:
        """Take no more, and end what there is: its calls are lost, and tried again as their tasks say."""
        with self._lock:
            self._draining = self._stopped = True
            runs = list(self._runs.values())
            for run in runs:
                for process in run.processes:
                    if process.call is not None:
                        run.way_back.say(LOST, process.call.id, f"Worker {self.name} was stopped".encode())
                for call in run.waiting:
                    run.way_back.say(RETURNED, call.id)
        if runs:
            time.sleep(0.1)  # for the last words; whoever does not hear them sees that this worker is gone
        with self._lock:
            for run in runs:
                self._end(run)
        self._look.set()

    def _beat_all(self) -> None:
        while not self._stopped:
            with self._lock:
                if not self._runs:
                    self._beats = None
                    return
                runs = list(self._runs.values())
                held = [self._held(run) for run in runs]
            try:
                for run, heard in zip(runs, self._claims.beat(held), strict=True):
                    self._heed(run, heard)
                self._is_told = False
            except redis.RedisError as error:
                if not self._is_told:
                    _log.error("The broker cannot be told that this worker lives: %s", error)
                    self._is_told = True
            except Exception:  # a thread that died of one fault would leave a worker that is taken for dead
                _log.exception("Calls cannot be tended")
            self._look.wait(BEAT_SECONDS)
            self._look.clear()

    def _held(self, run: RunOfCalls) -> Held:
        """Return what there is of a run. Holds the lock."""
        if run.way_back.is_empty:
            run.said.clear()
        calls = [*(call for process in run.processes if (call := process.held)), *run.waiting]
        return Held(run.names, {call.id: call.bundle.is_begun for call in calls}, list(run.said))

    def _heed(self, run: RunOfCalls, heard: Heard) -> None:
        """Do what follows from what the broker says of a run."""
        if heard.given_up:
            self.stop_calls(run.names.id, heard.given_up, kill=True)
        now = time.monotonic()
        with self._lock:
            if heard.is_wanted:
                run.is_wanted, run.wanted_at = True, now
            is_idle = not run.bundles and not run.processes and now - run.busy_at > IDLE_SECONDS
            if heard.is_over or (is_idle and run.way_back.is_empty) or now - run.wanted_at > UNWANTED_SECONDS:
                self._end(run)
                return
            returned = self._too_late(run, now)
            self._fill()
        self._give_back(returned)

    def _give_back(self, calls: Sequence[TakenCall]) -> None:
        """Say that calls did not begin, and drop the parts of their payloads: they are sent with new ones."""
        for call in calls:
            if call.parts:
                with suppress(redis.RedisError):
                    forget_parts(call.run.names, [call.id])
            call.run.way_back.say(RETURNED, call.id)

    def _too_late(self, run: RunOfCalls, now: float) -> list[TakenCall]:
        """Take out calls that have waited here for so long that another worker may rather have them."""
        late = [call for call in run.waiting if now - call.since > RETURN_SECONDS]
        for call in late:
            run.waiting.remove(call)
            self._leave_bundle(call)
        return late
