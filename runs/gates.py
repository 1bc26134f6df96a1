"""The gates that a run passes before a worker runs it, in the order in which it meets them.

Whether a gate is open is asked of the code that decides: a row's conditions are those that `FlowRunQuerySet.due` is
made of, the limits those of `runs.limits`, whose turn it is `claims.next_in_turn`. What stands here beside them is
words. A worker alone knows its own free places; the gate of places tells what the database knows of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final
from uuid import UUID

from django.db.models import Count, Exists, F, OuterRef

from flows.models import Collision, WorkQueue
from runs import broker_probe, claims, limits
from runs.models import FlowRun, FlowRunQuerySet, Pulse, Worker
from runs.presentation import count, duration, several

MAX_HOLDERS: Final = 5
MAX_IN_LINE: Final = 1000  # runs before this one are counted up to here
# Conditions on the run's own row, each as `FlowRunQuerySet.due` has it.
ROW_CONDITIONS: Final[dict[str, Callable[[FlowRunQuerySet, datetime], FlowRunQuerySet]]] = {
    "process": lambda runs, now: runs.unclaimed(),
    "time": lambda runs, now: runs.timely(now),
    "catchup": lambda runs, now: runs.not_missed(now),
}


@dataclass(frozen=True, slots=True)
class Holder:
    """A run that holds what is waited for."""

    id: UUID
    name: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of a run's start, and how it stands."""

    name: str
    title: str
    is_open: bool
    sentence: str
    holders: tuple[Holder, ...] = ()
    at: datetime | None = None  #: when it opens by itself, where that is known
    blocks: bool = True  #: whether the run cannot start while this is closed


def row_verdicts(run_id: UUID, now: datetime) -> dict[str, bool]:
    """Return, by name of `ROW_CONDITIONS`, whether a run meets it (one query; none is met by a run that is gone)."""
    one = FlowRun.objects.filter(pk=run_id)
    itself = FlowRun.objects.filter(pk=OuterRef("pk"))
    asked = {f"is_{name}": Exists(condition(itself, now)) for name, condition in ROW_CONDITIONS.items()}
    found = one.annotate(**asked).values(*asked).first() or {}
    return {name: bool(found.get(f"is_{name}")) for name in ROW_CONDITIONS}


class Gates:
    """The gates of one run that waits, as they stand at one time."""

    def __init__(self, run: FlowRun, now: datetime) -> None:
        """Keep the run (flow, deployment, schedule and queue should be loaded) and the database's time."""
        self.run, self.now = run, now

    def all(self) -> list[Gate]:
        """Return every gate in order; those behind a missing queue are left out. About a dozen short queries."""
        verdicts = row_verdicts(self.run.pk, self.now)
        gates = [self._process(verdicts["process"]), self._time(verdicts["time"]), self._pause()]
        if self.run.schedule_id is not None:
            gates.append(self._catchup(verdicts["catchup"]))
        gates.append(self._queue())
        if self.run.queue is None:
            return gates
        gates += [self._queue_limit(), self._deployment_limit(), self._workers(), self._places()]
        is_clear = all(gate.is_open for gate in gates if gate.blocks)
        return [*gates, self._turn(is_clear), self._broker()]

    # Conditions of the run itself

    def _process(self, is_open: bool) -> Gate:
        if is_open:
            sentence = "No process has it: it may be claimed by a worker."
        else:
            sentence = "Its own process is still there and goes on with it by itself; no worker may take it meanwhile."
        return Gate("process", "Process", is_open, sentence, at=None if is_open else self.run.lease_expires_at)

    def _time(self, is_open: bool) -> Gate:
        due = self.run.expected_start
        if is_open:
            return Gate("time", "Time", True, f"Its time came {_ago(self.now - due)}.")
        return Gate("time", "Time", False, f"It is due in {_span(due - self.now)}.", at=due)

    def _pause(self) -> Gate:
        deployment, schedule = self.run.deployment, self.run.schedule
        if deployment is None:
            sentence = "It has no deployment that could be paused."
        elif deployment.paused:
            sentence = (
                "Its deployment is paused: its schedules start nothing. This run was asked for and starts anyway."
            )
        elif schedule is not None and not schedule.active:
            sentence = "Its schedule is paused and starts nothing more. This run was there already and starts anyway."
        else:
            sentence = "Its deployment is not paused" + (", nor is its schedule." if schedule is not None else ".")
        return Gate("pause", "Pause", True, sentence)

    def _catchup(self, is_open: bool) -> Gate:
        if is_open:
            return Gate("catchup", "Catching up", True, "Its time was not missed, or it was chosen to be caught up.")
        sentence = (
            "Its time was missed while no scheduler ran. The next tick decides, by its schedule's policy, whether it"
            f" runs or is skipped; {self._last_tick()}."
        )
        return Gate("catchup", "Catching up", False, sentence)

    def _last_tick(self) -> str:
        last = Pulse.objects.filter(name="reaper").values_list("at", flat=True).first()
        return f"the last tick was {_ago(self.now - last)}" if last else "there was no tick so far"

    # The queue and the limits

    def _queue(self) -> Gate:
        queue = self.run.queue
        if queue is None:
            return Gate("queue", "Work queue", False, "It is on no work queue, so no worker looks for it.")
        is_open = WorkQueue.objects.served().filter(pk=queue.pk).exists()
        words = "is served" if is_open else f"is paused. Resume it: orchestrator work-queue resume {queue.name}"
        return Gate("queue", "Work queue", is_open, f"Its work queue “{queue.name}” {words}.")

    def _queue_limit(self) -> Gate:
        queue = self.run.queue
        has_room = limits.queue_has_room(queue)
        what = f"“{queue.name}” runs {queue.limit} at once at most" if queue.limit is not None else ""
        return self._limit("queue-limit", "Limit of the queue", has_room, what, FlowRun.objects.filter(queue=queue.pk))

    def _deployment_limit(self) -> Gate:
        deployment = self.run.deployment
        name, title = "deployment-limit", "Limit of the deployment"
        if deployment is None or deployment.limit is None:
            return self._limit(name, title, True, "", FlowRun.objects.none())
        what = f"its deployment runs {deployment.limit} at once at most"
        is_turned_away = deployment.collision == Collision.CANCEL and self.run.attempt == 0
        end = " It is cancelled when a worker comes to it, as its deployment wants." if is_turned_away else ""
        has_room = limits.deployment_has_room(deployment)
        return self._limit(name, title, has_room, what, FlowRun.objects.filter(deployment=deployment.pk), end)

    def _limit(
        self, name: str, title: str, is_open: bool, what: str, runs: FlowRunQuerySet, when_closed: str = ""
    ) -> Gate:
        if not what:
            return Gate(name, title, True, "There is none.")
        what = what[0].upper() + what[1:]
        holders = _holders(limits.holders(runs, MAX_HOLDERS))
        if is_open:
            return Gate(name, title, True, f"{what}, and there is room.", holders)
        return Gate(name, title, False, f"{what}, and as many are in progress.{when_closed}", holders)

    # Workers

    @cached_property
    def _serving(self) -> list[Worker]:
        return [worker for worker in Worker.objects.alive(self.now) if worker.serves(self.run.queue)]

    @cached_property
    def _free(self) -> list[Worker]:
        """Those of them that have a free place, by what the database knows."""
        held = _held_places(self._serving)
        return [worker for worker in self._serving if held.get(worker.pk, 0) < worker.places]

    def _workers(self) -> Gate:
        queue = self.run.queue
        if self._serving:
            sentence = f"{several(len(self._serving), 'worker')} served “{queue.name}” a moment ago."
            return Gate("workers", "Workers", True, sentence)
        start = f"orchestrator worker start --queue {queue.name}"
        known = list(Worker.objects.order_by("-heartbeat_at")[:MAX_IN_LINE])
        if not known:
            sentence = (
                "No worker was ever started. For one with a server on this machine: orchestrator server start. For one"
                f" on a machine beside the server: {start}"
            )
            return Gate("workers", "Workers", False, sentence)
        heard = next((worker.heartbeat_at for worker in known if worker.serves(queue)), None)
        since = f"since {heard:%Y-%m-%d %H:%M:%S} UTC, {_ago(self.now - heard)}" if heard else "and none ever did"
        return Gate("workers", "Workers", False, f"No worker has served “{queue.name}” {since}. Start one: {start}")

    def _places(self) -> Gate:
        places = sum(worker.places for worker in self._serving)
        if not self._serving:
            return Gate("places", "Free places", False, "Without a worker there is no place.", blocks=False)
        if self._free:
            sentence = f"{len(self._free)} of {several(len(self._serving), 'worker')} can take another run."
            return Gate("places", "Free places", True, sentence)
        sentence = f"All {several(places, 'place')} of {several(len(self._serving), 'worker')} are taken"
        before = self._before()
        return Gate("places", "Free places", False, f"{sentence}; {before}." if before else f"{sentence}.")

    def _turn(self, is_clear: bool) -> Gate:
        """Whose turn it is matters where nothing else stands in the way."""
        before = self._before()
        before = before[:1].upper() + before[1:]
        if not is_clear:
            return Gate("turn", "Turn", True, f"{before or 'It is the first'} on its queue.")
        if self.run.pk in self._next:
            return Gate("turn", "Turn", True, "It is next: a worker takes it within a second.")
        sentence = f"{before} on its queue." if before else "Runs of other queues come first."
        return Gate("turn", "Turn", False, sentence)

    @cached_property
    def _next(self) -> set[UUID | None]:
        served = {claims.queue_ids_of(worker) for worker in self._free}
        return {claims.next_in_turn(queue_ids, self.now) for queue_ids in served}

    def _before(self) -> str:
        """How many due runs of its queue are claimed before it, in words; empty for none (one bounded query)."""
        number = claims.due_before(self.run, self.now)[: MAX_IN_LINE + 1].count()
        if not number:
            return ""
        runs = f"more than {count(MAX_IN_LINE)} runs" if number > MAX_IN_LINE else several(number, "run")
        return f"{runs} {'comes' if number == 1 else 'come'} before it"

    def _broker(self) -> Gate:
        if broker_probe.is_reachable():
            return Gate("broker", "Broker", True, "The broker can be reached: workers are told at once.", blocks=False)
        sentence = (
            "The broker cannot be reached. Workers look by themselves every second, so this costs a second at most."
        )
        return Gate("broker", "Broker", False, sentence, blocks=False)


def _holders(runs: Iterable[FlowRun]) -> tuple[Holder, ...]:
    return tuple(Holder(run.pk, run.name, run.start_time) for run in runs)


def _held_places(workers: list[Worker]) -> dict[UUID, int]:
    """How many runs each of these workers has in hand (one query, index `flow_run_lease`; none for none)."""
    if not workers:
        return {}
    held = limits.in_progress(FlowRun.objects.filter(lease_expires_at__isnull=False))
    of_workers = held.filter(attempts__number=F("attempt"), attempts__worker__in=workers)
    return dict(of_workers.order_by().values_list("attempts__worker").annotate(Count("id")))


def _span(span: timedelta) -> str:
    return duration(max(span.total_seconds(), 0.0))


def _ago(span: timedelta) -> str:
    return f"{_span(span)} ago"
