"""What becomes of a schedule's times that came while no tick ran: the schedule's policy decides (`runs.scheduling`)."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import F

from flows.models import Catchup, Schedule
from flows.schedules import Spec
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import bounds, bulk
from runs.models import FlowRun, Trigger
from runs.presentation import duration
from runs.scheduled_runs import end_waiting, insert, run_of

MAX_COUNTED: Final = 1000  # missed times are counted up to here
_MOMENT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Missed:
    """The times of a schedule that came while no tick ran."""

    since: datetime  #: the first of them, or before it
    until: datetime
    latest: datetime
    count: int  #: at most `MAX_COUNTED`
    policy: str  #: latest or none
    limit: int | None = None  #: the seconds that it was too old by, where that is why none runs


def look_back(spec: Spec, since: datetime, now: datetime) -> Missed | None:
    """What was missed since then and is not simply run: under `all` only what is too old for that."""
    oldest = now - timedelta(seconds=spec.catchup_seconds) if spec.catchup_seconds else since
    until = max(since, oldest - _MOMENT) if spec.catchup == Catchup.ALL else now
    latest = spec.last_time(since, until) if since < until else None
    if latest is None:
        return None
    count = sum(1 for _ in islice(takewhile(lambda time: time <= latest, spec.times(since)), MAX_COUNTED))
    if latest < oldest:
        return Missed(since, until, latest, count, Catchup.NONE.value, spec.catchup_seconds)
    return Missed(since, until, latest, count, spec.catchup)


def settle(missed: Sequence[tuple[Schedule, Missed]], now: datetime) -> list[FlowRun]:
    """Apply `latest` and `none` to locked schedules that missed times; return the runs that were made for it.

    Queries: one read of the runs that the missed times have, an UPDATE for what is skipped, one for each number of
    times missed, and the inserts. None for no schedule.
    """
    if not missed:
        return []
    outcome = _Outcome()
    rows = _rows_of(missed)
    for schedule, times in missed:
        own = [run for run in rows[schedule.pk] if times.since < run.scheduled_for <= times.until]
        _decide(schedule, times, own, now, outcome)
    if outcome.skipped:
        end_waiting(FlowRun.objects.filter(pk__in=outcome.skipped), "Skipped", "Missed while no scheduler ran.", now)
    made = insert(outcome.made)
    _say([*outcome.late, *((run.pk, run.state_message) for run in made if not run.is_final)], now)
    return made


class _Row(NamedTuple):
    """What a run that is there says about a missed time."""

    id: UUID
    schedule: UUID
    scheduled_for: datetime
    state_type: str
    attempt: int
    trigger: str

    @property
    def waits(self) -> bool:
        """Whether it is the schedule's own and no worker has had it."""
        return self.state_type == StateType.SCHEDULED and self.attempt == 0 and self.trigger == Trigger.SCHEDULE


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What becomes of missed times."""

    made: list[FlowRun] = field(default_factory=list)
    skipped: list[UUID] = field(default_factory=list)
    late: list[tuple[UUID, str]] = field(default_factory=list)  #: runs that wait already, with what they say


def _decide(schedule: Schedule, missed: Missed, own: list[_Row], now: datetime, outcome: _Outcome) -> None:
    """Add what becomes of one schedule's missed times; `own` are the runs that they have already."""
    waiting = [run for run in own if run.waits]
    latest = next((run for run in own if run.scheduled_for == missed.latest), None)
    message = _message(missed, started=len(own) - len(waiting))
    if missed.policy == Catchup.NONE:
        outcome.skipped.extend(run.id for run in waiting)
        if latest is None:
            outcome.made.append(_skipped_run(schedule, missed.latest, now, message))
        return
    outcome.skipped.extend(run.id for run in waiting if run is not latest)
    if latest is None:
        outcome.made.append(run_of(schedule, missed.latest, now, message))
    elif latest.waits:
        outcome.late.append((latest.id, message))


def _rows_of(missed: Sequence[tuple[Schedule, Missed]]) -> dict[UUID, list[_Row]]:
    """The runs that missed times have already, by schedule (served by `flow_run_scheduled_once`)."""
    by_schedule: dict[UUID, list[_Row]] = {schedule.pk: [] for schedule, _ in missed}
    runs = FlowRun.objects.filter(
        deployment__in={schedule.deployment_id for schedule, _ in missed},
        schedule__in=list(by_schedule),
        scheduled_for__gt=min(times.since for _, times in missed),
        scheduled_for__lte=max(times.until for _, times in missed),
    )
    for row in runs.values_list("pk", "schedule", "scheduled_for", "state_type", "attempt", "trigger"):
        by_schedule[row[1]].append(_Row(*row))
    return by_schedule


def _message(missed: Missed, started: int) -> str:
    """What a run says about the times that were missed with its own."""
    number = max(missed.count - started - 1, 0)
    count = f"more than {MAX_COUNTED - 1:,}" if missed.count >= MAX_COUNTED else f"{number:,}"
    if missed.policy == Catchup.NONE:
        ago = f", more than {duration(missed.limit)} ago" if missed.limit else ""
        if number == 0:
            why = "that is too old to be run" if ago else "missed times of this schedule are not run"
            return f"Missed while no scheduler ran{ago}; {why}."
        were = f"This and {count} earlier time{'' if number == 1 else 's'} were"
        return f"{were} missed while no scheduler ran{ago}; none runs."
    if number == 0:
        return "No scheduler ran at its time; it runs late."
    were = "time was" if number == 1 else "times were"
    return f"{count[:1].upper()}{count[1:]} earlier {were} missed while no scheduler ran; only the latest runs."


def _skipped_run(schedule: Schedule, time: datetime, now: datetime, message: str) -> FlowRun:
    run = run_of(schedule, time, now, message)
    run.state_type, run.state_name, run.end_time = StateType.CANCELLED, "Skipped", now
    return run


def _say(messages: Sequence[tuple[UUID, str]], now: datetime) -> None:
    """Put a message into the state and the log of runs that wait. The log keeps it when the run is claimed."""
    by_message: defaultdict[str, list[UUID]] = defaultdict(list)
    for run, message in messages:
        by_message[message].append(run)
    for message, ids in by_message.items():
        FlowRun.objects.unclaimed().filter(pk__in=ids, attempt=0).update(
            state_name="Late", state_message=message, state_time=now, revision=F("revision") + 1
        )
    time = bounds.unix_microseconds(now)
    bulk.insert_logs(
        (uuid7().hex, run.hex, None, 1, 0, time, logging.WARNING, "orchestrator.schedule", text)
        for run, text in messages
    )
