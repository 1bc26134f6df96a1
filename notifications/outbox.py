"""Writes down what is to be told, in the transaction in which it happens.

A delivery for each policy that watches the event and each of its destinations. That they are unique makes the rest
simple: what is recorded twice, or by two processes at once, is told once.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from notifications import bells
from notifications.events import BROKEN, OF_ENDING, Event
from notifications.matching import Subject, Watch, subjects, watches
from notifications.models import Delivery
from notifications.predecessors import broke_before, has_recovered
from orchestrator.sdk.states import StateType
from runs.clock import database_now
from runs.models import FlowRun, Trigger

logger = logging.getLogger(__name__)

MAX_REASON: Final = 2_000
_BATCH: Final = 200  # rows of one INSERT


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of a run's attempt, as it is told under whichever policy watches it."""

    run: FlowRun
    attempt: int
    event: Event
    occurred_at: datetime
    state_name: str
    reason: str = ""
    repeats: bool = False
    muted_until: datetime | None = None


def record(runs: Collection[FlowRun], *, tell: bool = True) -> None:
    """Write the deliveries of runs that ended, and wake their senders once the transaction has committed.

    Args:
        runs: That entered a final state in this transaction, as they are stored.
        tell: Whether to wake senders; where no server runs there are none.

    Raises:
        OperationalError, InterfaceError: The database cannot be used now.

    One query where no policy of the runs' teams watches what happened. Else one about what the runs are (none where no
    policy asks and they have no deployments), one for a failure of a scheduled run, up to three for a completed run
    where somebody watches recoveries, and `write`'s.
    """
    known = watches({run.team_id for run in runs})
    concerned = [(run, watching) for run in runs if (watching := _watching(run, known))]
    described = subjects(run.id for run, watching in concerned if _has_to_be_described(run, watching))
    told: list[tuple[Happening, Watch]] = []
    for run, watching in concerned:
        subject = described.get(run.id) or Subject(is_subflow=run.trigger == Trigger.SUBFLOW)
        told += _ending(run, subject, [watch for watch in watching if watch.rule.matches(subject)])
    waiting = write(told)
    if tell:
        bells.ring(waiting)


def write(told: Iterable[tuple[Happening, Watch]]) -> set[UUID]:
    """Insert the deliveries of events under their policies; those that are there stay as they are.

    Returns:
        The destinations that have something to send: those that are paused have not, and what is muted is not sent.

    A savepoint and one query for the time, one INSERT for each 200 rows. A fault of the rows is logged and undone.
    """
    told = list(told)
    if not told:
        return set()
    now = database_now()
    deliveries = [delivery for happening, watch in told for delivery in _deliveries(happening, watch, now)]
    try:
        with transaction.atomic():
            Delivery.objects.bulk_create(deliveries, ignore_conflicts=True, batch_size=_BATCH)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        logger.exception("%d deliveries were not written", len(deliveries))
        return set()
    paused = {destination_id for _, watch in told for destination_id, paused in watch.destinations.items() if paused}
    return {delivery.destination_id for delivery in deliveries if delivery.due_at is not None} - paused


def _watching(run: FlowRun, known: Iterable[Watch]) -> list[Watch]:
    """The policies that watch how this run ended, as far as its team and its state tell."""
    event = OF_ENDING[StateType(run.state_type)]
    events = {event, Event.RECOVERED} if event == Event.COMPLETED else {event}
    return [watch for watch in known if watch.team_id == run.team_id and not events.isdisjoint(watch.rule.events)]


def _has_to_be_described(run: FlowRun, watching: Iterable[Watch]) -> bool:
    """Whether more of a run has to be read, for patterns and tags or since its deployment may be muted."""
    return run.deployment_id is not None or any(watch.rule.is_narrow for watch in watching)


def _ending(run: FlowRun, subject: Subject, watching: Collection[Watch]) -> Iterator[tuple[Happening, Watch]]:
    """What is told of a run's end under the policies that match it: a completion is told as a recovery if it is one."""
    if not watching:
        return
    event = OF_ENDING[StateType(run.state_type)]
    recovers = (
        event == Event.COMPLETED
        and any(Event.RECOVERED in watch.rule.events for watch in watching)
        and has_recovered(run)
    )
    happening = Happening(
        run,
        run.attempt,
        event,
        occurred_at=run.end_time or run.state_time,
        state_name=run.state_name,
        reason=run.state_message,
        repeats=event in BROKEN and run.schedule_id is not None and broke_before(run),
        muted_until=subject.muted_until,
    )
    recovery = replace(happening, event=Event.RECOVERED)
    for watch in watching:
        if recovers and Event.RECOVERED in watch.rule.events:
            yield recovery, watch
        elif event in watch.rule.events:
            yield happening, watch


def _deliveries(happening: Happening, watch: Watch, now: datetime) -> Iterator[Delivery]:
    run = happening.run
    muted = happening.muted_until is not None and happening.muted_until > now
    for destination_id in watch.destinations:
        yield Delivery(
            team_id=run.team_id,
            policy_id=watch.policy_id,
            destination_id=destination_id,
            flow_run_id=run.id,
            attempt=happening.attempt,
            event=happening.event,
            occurred_at=happening.occurred_at,
            state_name=happening.state_name,
            reason=happening.reason[:MAX_REASON],
            subject=run.deployment_id or run.flow_id,
            repeats=happening.repeats,
            muted=muted,
            due_at=None if muted else now,
        )
