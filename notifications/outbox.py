"""Writes down what is to be told, in the transaction in which it happens.

A delivery for each policy that watches the event and each of its destinations. That they are unique makes the rest
simple: what is recorded twice, or by two processes at once, is told once.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from notifications import bells
from notifications.events import BROKEN, OF_ENDING, Event
from notifications.matching import Subject, Watch, matching, of_team, subject_in_memory, subjects, watches
from notifications.models import Delivery
from notifications.predecessors import broke_before, has_recovered
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import bounds, bulk
from runs.bulk import Table
from runs.clock import database_now
from runs.models import FlowRun

logger = logging.getLogger(__name__)

MAX_REASON: Final = 2_000
# Tuples, since model instances took three times as long, and this is done while a run's rows are locked.
DELIVERIES: Final = Table(
    Delivery._meta.db_table,
    (
        ("id", "uuid"),
        ("team_id", "uuid"),
        ("policy_id", "uuid"),
        ("destination_id", "uuid"),
        ("flow_run_id", "uuid"),
        ("attempt", "integer"),
        ("event", "varchar"),
        ("occurred_at", "timestamptz"),
        ("state_name", "varchar"),
        ("reason", "text"),
        ("subject", "uuid"),
        ("repeats", "boolean"),
        ("muted", "boolean"),
        ("due_at", "timestamptz"),
        ("held_for", "varchar"),
        ("created_at", "timestamptz"),
    ),
)


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

    def is_muted(self, now: datetime) -> bool:
        """Whether it is not told, since its deployment is muted."""
        return self.muted_until is not None and self.muted_until > now


def record(runs: Collection[FlowRun], *, tell: bool = True) -> None:
    """Write the deliveries of runs that ended, and wake their senders once the transaction has committed.

    Args:
        runs: That entered a final state in this transaction, as they are stored.
        tell: Whether to wake senders; where no server runs there are none.

    Raises:
        OperationalError, InterfaceError: The database cannot be used now.

    One query where no policy of the runs' teams watches what happened. Else one about what the runs are (none for
    scripts' that were made just now), one for a failure of a scheduled run, up to three for a completed run where
    somebody watches recoveries, and `write`'s.
    """
    known = watches({run.team_id for run in runs})
    concerned = {run: watching for run in runs if (watching := of_team(known, run.team_id, *_events(run)))}
    described = _described(concerned)
    told: list[tuple[Happening, Watch]] = []
    for run, watching in concerned.items():
        told += _ending(run, described[run.id], watching)
    waiting = write(told)
    if tell:
        bells.ring(waiting)


def record_mark(event: str, said: Collection[tuple[FlowRun, str]]) -> None:
    """Write the deliveries of runs that were marked, and wake their senders once the transaction has committed.

    Args:
        event: LATE, OVERRAN or MISSED_DEADLINE.
        said: The runs, locked and as they are stored, each with the reason in words.

    One query where no policy watches this, else one about what the runs are, and `write`'s.
    """
    known = watches({run.team_id for run, _ in said}, event)
    concerned = [(run, reason, among) for run, reason in said if (among := of_team(known, run.team_id, event))]
    described = _described([run for run, _, _ in concerned])
    told = [
        (
            Happening(
                run,
                run.attempt,
                Event(event),
                occurred_at=database_now(),
                state_name=run.state_name,
                reason=reason,
                muted_until=described[run.id].muted_until,
            ),
            watch,
        )
        for run, reason, among in concerned
        for watch in matching(among, described[run.id])
    ]
    bells.ring(write(told))


def write(told: Iterable[tuple[Happening, Watch]]) -> set[UUID]:
    """Insert the deliveries of events under their policies; those that are there stay as they are.

    Returns:
        The destinations that have something to send: those that are paused have not, and what is muted is not sent.

    A look at the database's clock, and the rows in one go. A fault of the rows is logged and undone.
    """
    told = list(told)
    if not told:
        return set()
    now = database_now()
    rows = [row for happening, watch in told for row in _rows(happening, watch, now)]
    try:
        # SQLite undoes a statement that fails and only that; elsewhere the transaction would be lost with it.
        with transaction.atomic() if connection.vendor != "sqlite" else nullcontext():
            bulk.insert_missing(DELIVERIES, rows)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        logger.exception("%d deliveries were not written", len(rows))
        return set()
    return {
        destination_id
        for happening, watch in told
        if not happening.is_muted(now)
        for destination_id, is_paused in watch.destinations.items()
        if not is_paused
    }


def _events(run: FlowRun) -> tuple[Event, ...]:
    """What the end of this run may be told as."""
    event = OF_ENDING[StateType(run.state_type)]
    return (event, Event.RECOVERED) if event == Event.COMPLETED else (event,)


def _described(runs: Iterable[FlowRun]) -> dict[UUID, Subject]:
    """What policies look at in these runs; one query, if not everything is at hand."""
    at_hand = {run.id: subject_in_memory(run) for run in runs}
    found = {run_id: subject for run_id, subject in at_hand.items() if subject is not None}
    return found | subjects(at_hand.keys() - found.keys())


def _ending(run: FlowRun, subject: Subject, among: tuple[Watch, ...]) -> Iterator[tuple[Happening, Watch]]:
    """What is told of a run's end under the policies that match it: a completion is told as a recovery if it is one."""
    watching = matching(among, subject)
    if not watching:
        return
    event = OF_ENDING[StateType(run.state_type)]
    recovers = bool(of_team(watching, None, Event.RECOVERED)) and has_recovered(run)
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


def _rows(happening: Happening, watch: Watch, now: datetime) -> Iterator[tuple[Any, ...]]:
    """The deliveries of an event under a policy, as `DELIVERIES` has them."""
    run = happening.run
    at, muted = bounds.unix_microseconds(now), happening.is_muted(now)
    for destination_id in watch.destinations:
        yield (
            uuid7().hex,
            run.team_id.hex,
            watch.policy_id.hex,
            destination_id.hex,
            run.id.hex,
            happening.attempt,
            happening.event.value,
            bounds.unix_microseconds(happening.occurred_at),
            happening.state_name,
            happening.reason[:MAX_REASON],
            (run.deployment_id or run.flow_id).hex,
            happening.repeats,
            muted,
            None if muted else at,
            "",
            at,
        )
