"""Why a run is not running: the gates that it has to pass and the one that is closed, or what it does instead."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Q

from orchestrator.sdk.states import ACTIVE, StateType
from runs import slots
from runs.clock import database_now
from runs.gates import Gate, Gates
from runs.models import Attempt, FlowRun, Slot
from runs.presentation import duration, several
from runs.slots import Holder
from teams.rights import Level

MAX_SLOTS: Final = 20  # waiting task runs that are told of


@dataclass(frozen=True, slots=True)
class SlotWait:
    """A task run of this run that waits for a slot of a tag."""

    task_run: UUID
    name: str
    tag: str
    limit: int
    since: datetime
    position: int  #: in the line of that tag, from 1
    holders: tuple[Holder, ...]

    @property
    def sentence(self) -> str:
        """In words."""
        held = ", ".join(f"“{holder.name}” of {holder.flow_run_name}" for holder in self.holders)
        at_once = f"{several(self.limit, 'task run')} at once" if self.limit else "none to run"
        return f"“{self.name}” is number {self.position} in line for “{self.tag}”, which allows {at_once}" + (
            f"; held by {held}." if held else "."
        )


@dataclass(frozen=True, slots=True)
class Why:
    """The answer."""

    run: FlowRun
    waits: bool  #: for a worker; else `answer` says what it does
    answer: str
    gates: tuple[Gate, ...] = ()
    slots: tuple[SlotWait, ...] = ()

    @property
    def blocking(self) -> Gate | None:
        """The first closed gate that keeps the run from starting; None when a worker takes it next."""
        return next((gate for gate in self.gates if gate.blocks and not gate.is_open), None)


def told_to(user: Any, found: Why) -> Why:
    """Return an answer without who holds what the run waits for, where its reader has but a share or one deployment."""
    if user.level_in(found.run.team_id) >= Level.READ and user.confinement.deployment is None:
        return found
    return replace(
        found,
        gates=tuple(replace(gate, holders=()) for gate in found.gates),
        slots=tuple(replace(wait, holders=()) for wait in found.slots),
    )


def why(run: FlowRun, now: datetime | None = None, attempts: Sequence[Attempt] | None = None) -> Why:
    """Say why a run is not running, or what it does.

    Args:
        run: Flow, deployment, schedule and queue should be loaded.
        now: By the database's clock, which it is by default.
        attempts: Those of the run that the caller has loaded, with their workers, the current one among them if there
            is one; it is read where they are not given.

    Queries: for a run that waits those of `runs.gates`; for one that runs three about its worker and its slots.
    """
    now = now or database_now()
    if run.state_type == StateType.SCHEDULED:
        return _waiting(run, now)
    if run.is_final:
        return Why(run, False, _ended(run, now))
    if run.state_type == StateType.PAUSED:
        return Why(
            run, False, f"It is {run.state_name.lower()} and has waited to be resumed{_for(run.state_time, now)}."
        )
    attempt = _current(run, attempts)
    answer = _active(run, attempt, now) if run.state_type in ACTIVE else _claimed(run, attempt, now)
    waits = tuple(waits_for_slots(run))
    if waits:
        waiting = len({wait.task_run for wait in waits})
        more = " or more" if len(waits) == MAX_SLOTS else ""
        answer += f" {several(waiting, 'task run')}{more} {'waits' if waiting == 1 else 'wait'} for a slot."
    return Why(run, False, answer, slots=waits)


def waits_for_slots(run: FlowRun) -> list[SlotWait]:
    """Return the task runs of a run that wait for a slot, first come first, at most `MAX_SLOTS` rows.

    Of a task run that waits under several limits, those that are full; all of them where none is.
    Queries: the waiting rows, their places in line, how many hold each limit, and for each limit who they are.
    """
    waiting = list(
        Slot.objects.filter(flow_run=run.pk, granted_at=None).select_related("limit").order_by("id")[:MAX_SLOTS]
    )
    if not waiting:
        return []
    limits = {slot.limit_id for slot in waiting}
    before = {f"p{slot.pk}": Count("id", Q(limit=slot.limit_id, id__lte=slot.pk)) for slot in waiting}
    positions = Slot.objects.filter(limit__in=limits, granted_at=None).aggregate(**before)
    granted = Slot.objects.filter(limit__in=limits, granted_at__isnull=False).order_by().values_list("limit")
    held = dict(granted.annotate(Count("id")))
    full = {slot.pk for slot in waiting if held.get(slot.limit_id, 0) >= slot.limit.limit}
    kept_back = {slot.task_run for slot in waiting if slot.pk in full}
    holders = {limit_id: tuple(slots.holders(limit_id, slots.MAX_HOLDERS)) for limit_id in limits}
    return [
        SlotWait(
            slot.task_run,
            slot.task_name,
            slot.limit.tag,
            slot.limit.limit,
            slot.asked_at,
            positions[f"p{slot.pk}"],
            holders[slot.limit_id],
        )
        for slot in waiting
        if slot.pk in full or slot.task_run not in kept_back
    ]


def _waiting(run: FlowRun, now: datetime) -> Why:
    gates = tuple(Gates(run, now).all())
    found = Why(run, True, "", gates)
    answer = found.blocking.sentence if found.blocking else "Nothing blocks it: a worker takes it within a second."
    return Why(run, True, answer, gates)


def _ended(run: FlowRun, now: datetime) -> str:
    ago = f" {duration(max((now - run.end_time).total_seconds(), 0))} ago" if run.end_time else ""
    return f"It ended{ago} and is {run.state_name}." + (f" {run.state_message}" if run.state_message else "")


def _claimed(run: FlowRun, attempt: Attempt | None, now: datetime) -> str:
    worker = f"Worker {attempt.worker.name} on {attempt.worker.host}" if attempt and attempt.worker else "A worker"
    return f"{worker} has had it{_for(run.state_time, now)} and starts its process.{_silence(run, attempt, now)}"


def _active(run: FlowRun, attempt: Attempt | None, now: datetime) -> str:
    if run.state_type == StateType.CANCELLING:
        start = f"It was asked to stop and has been stopping{_for(run.cancel_requested_at or run.state_time, now)}."
    elif run.state_name == "AwaitingRetry":
        start = f"Its process has waited for its next attempt{_for(run.state_time, now)}."
    else:
        start = f"It has been running{_for(run.start_time or run.state_time, now)}."
    return start + _silence(run, attempt, now)


def _current(run: FlowRun, attempts: Sequence[Attempt] | None) -> Attempt | None:
    if attempts is not None:
        return next((attempt for attempt in attempts if attempt.number == run.attempt), None)
    return Attempt.objects.select_related("worker").filter(flow_run=run.pk, number=run.attempt).first()


def _silence(run: FlowRun, attempt: Attempt | None, now: datetime) -> str:
    """Whether its worker has gone silent, in words; empty while it has not."""
    worker = attempt.worker if attempt else None
    lease = run.lease_expires_at
    if (
        worker is None
        or lease is None
        or now - worker.heartbeat_at < timedelta(seconds=2 * settings.LEASE_RENEW_SECONDS)
    ):
        return ""
    left = f"in {duration((lease - now).total_seconds())}" if lease > now else "at the next look"
    silent = f" Worker {worker.name} has been silent{_for(worker.heartbeat_at, now)}"
    return f"{silent}; unless it comes back, the run is Crashed {left}."


def _for(moment: datetime | None, now: datetime) -> str:
    return f" for {duration(max((now - moment).total_seconds(), 0))}" if moment else ""
