"""Runs for past times of schedules: which have none yet, and making those.

A time has its run when a run of the same schedule, or of one of this deployment that is no more, stands for it and was
not left out. A run that was Skipped (missed during an outage, or its schedule was paused) is brought back instead of
made: the unique constraint on (deployment, schedule, time) has one row for each time, so that a backfill that is asked
for twice, or by two people at once, makes nothing twice.

The runs begin oldest first, behind what people and schedules ask for meanwhile (`PRIORITY`). They have a tag of their
own, by which they are found together; undoing a backfill leaves those out that have not begun, so that the same window
can be asked for again.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import F, Q

from flows.models import Deployment, Schedule
from flows.parameters import check_parameters, merge
from flows.schedules import Spec
from flows.tags import tagged
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import bells, scheduled_runs
from runs.announcements import announce_on_commit
from runs.clock import database_now
from runs.models import FlowRun, FlowRunQuerySet, Trigger
from teams.models import User

MAX_RUNS: Final = 1000  # a call
MAX_LOOKED_AT: Final = 50_000  # times a call
PRIORITY: Final = -1
TAG: Final = "backfill-"  # and eight digits
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK: Final = 1000
_MOMENT: Final = timedelta(microseconds=1)
_YEARS: Final = timedelta(days=9 * 366)


@dataclass(frozen=True, slots=True)
class Slot:
    """A time that has no run yet; `skipped` is the run that was left out."""

    time: datetime
    schedule: Schedule
    skipped: UUID | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a backfill makes, or would make.

    Attributes:
        slots: At most `MAX_RUNS`, oldest first.
        there: How many of the times have their run already.
        more_from: The first time that was not looked at, where there was too much for one call.
        tag: What the runs that were made have in common, `backfill-1a2b3c4d`; empty for a plan.
    """

    slots: Sequence[Slot]
    there: int
    more_from: datetime | None = None
    tag: str = ""


def plan(deployment: Deployment, schedules: Sequence[Schedule], start: datetime, end: datetime) -> Backfill:
    """Return what there is to make in [start, end]; changes nothing (one query for each thousand times)."""
    times = _times(schedules, start, end)
    slots: list[Slot] = []
    there = looked_at = 0
    while chunk := list(islice(times, _CHUNK)):
        rows = _rows(deployment, schedules, chunk[0][0], chunk[-1][0])
        for time, index in chunk:
            if len(slots) == MAX_RUNS or looked_at == MAX_LOOKED_AT:
                return Backfill(slots, there, time)
            looked_at += 1
            own = [*rows.get((time, schedules[index].pk), ()), *rows.get((time, None), ())]
            if any(not skipped for _, skipped in own):
                there += 1
            else:
                mine = rows.get((time, schedules[index].pk))
                slots.append(Slot(time, schedules[index], mine[0][0] if mine else None))
    return Backfill(slots, there)


def make(
    deployment: Deployment, schedules: Sequence[Schedule], start: datetime, end: datetime, user: User | None
) -> tuple[Backfill, list[FlowRun]]:
    """Make the runs of a plan; return it with the runs, oldest first. To be called in a transaction.

    The deployment's schedules are locked (`scheduling.lock`) and read after that, so that no tick decides on the same
    times meanwhile.
    """
    for schedule in schedules:
        schedule.deployment = deployment
        check_parameters(deployment.parameter_schema, merge(deployment.parameters, schedule.parameters))
    now = database_now()
    planned = plan(deployment, schedules, start, end)
    planned = replace(planned, tag=f"{TAG}{uuid7().hex[-8:]}") if planned.slots else planned
    runs = [_run(slot, now + number * _MOMENT, now, user) for number, slot in enumerate(planned.slots)]
    for run in runs:
        run.tags = [*run.tags, planned.tag]
    pairs = list(zip(runs, planned.slots, strict=True))
    made = scheduled_runs.insert(run for run, slot in pairs if slot.skipped is None)
    made += _bring_back([run for run, slot in pairs if slot.skipped is not None])
    if made:
        bells.ring(deployment.queue)
        announce_on_commit([run.pk for run in made])
    return planned, sorted(made, key=lambda run: run.expected_start)


def made_by(deployment: Deployment, tag: str) -> FlowRunQuerySet:
    """The runs that a backfill of a deployment made."""
    runs: FlowRunQuerySet = FlowRun.objects.filter(deployment=deployment, trigger=Trigger.BACKFILL).filter(tagged(tag))
    return runs


def undo(deployment: Deployment, tag: str, user: User | None) -> list[UUID]:
    """Leave out the runs of a backfill that have not begun; return their ids. To be called in a transaction.

    They become Skipped, as a time is that never had a run. One that is being claimed is passed over.
    """
    message = f"Its backfill was undone{f' by {user}' if user else ''} before it began."
    return scheduled_runs.end_waiting(made_by(deployment, tag), "Skipped", message, database_now())


def waiting(deployment: Deployment) -> dict[str, int]:
    """The backfills of a deployment with runs that have not begun: tag → how many (one query of at most 5,000)."""
    runs = FlowRun.objects.unclaimed().filter(deployment=deployment, trigger=Trigger.BACKFILL, attempt=0)
    tags = [tag for own in runs.values_list("tags", flat=True)[:5000] for tag in own if tag.startswith(TAG)]
    return dict(Counter(tags))


def chosen(deployment: Deployment, schedule_id: UUID | None) -> list[Schedule]:
    """Return the schedules that a backfill is about: the one that is named, else those that are on, else all (a query).

    A paused deployment and a schedule that is switched off can be backfilled.

    Raises:
        ValidationError: There is none.
    """
    schedules = list(deployment.schedules.select_related("calendar").order_by("created_at", "id"))
    if schedule_id is not None:
        schedules = [schedule for schedule in schedules if schedule.pk == schedule_id]
        if not schedules:
            raise ValidationError({"schedule": "This deployment has no such schedule."})
    if not schedules:
        raise ValidationError("This deployment has no schedule, so that no time of its past is known. Set one first.")
    return [schedule for schedule in schedules if schedule.active] or schedules


def checked_window(start: datetime, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """Return a window that lies in the past; one without an end reaches until now. Raises ValidationError."""
    end = end or now
    if start < EARLIEST:
        raise ValidationError({"start": f"Write a time from {EARLIEST:%Y} on."})
    if end > now:
        raise ValidationError({"end": "A backfill is for the past: it cannot end later than now."})
    if start > end:
        raise ValidationError({"start": "It begins after its end. Write an earlier start."})
    return start, end


def _times(schedules: Sequence[Schedule], start: datetime, end: datetime) -> Iterator[tuple[datetime, int]]:
    """The times of all schedules in the window, oldest first, each with its schedule's index."""

    def each(index: int, schedule: Schedule) -> Iterator[tuple[datetime, int]]:
        try:
            spec, last = Spec.of(schedule), start - _MOMENT
            for begin in _beginnings(start, end):  # a rule gives the times of ten years
                for time in spec.times(max(begin - _MOMENT, last)):
                    if time > end:
                        return
                    yield time, index
                    last = time
        except (ValueError, KeyError, OSError) as error:
            raise ValidationError({"schedule": f"A schedule cannot be read: {error}"}) from None

    return heapq.merge(*(each(index, schedule) for index, schedule in enumerate(schedules)))


def _beginnings(start: datetime, end: datetime) -> Iterator[datetime]:
    while start <= end:
        yield start
        start += _YEARS


def _rows(
    deployment: Deployment, schedules: Sequence[Schedule], first: datetime, last: datetime
) -> dict[tuple[datetime, UUID | None], list[tuple[UUID, bool]]]:
    """The runs that times have: their ids, and whether they were left out (served by `flow_run_scheduled_once`)."""
    ours = Q(schedule__in=schedules) | Q(schedule=None)
    runs = FlowRun.objects.filter(ours, deployment=deployment, scheduled_for__gte=first, scheduled_for__lte=last)
    found: dict[tuple[datetime, UUID | None], list[tuple[UUID, bool]]] = {}
    for run in runs.only("id", "schedule_id", "scheduled_for", "state_type", "state_name", "attempt"):
        skipped = run.state_type == StateType.CANCELLED and run.state_name == "Skipped" and run.attempt == 0
        found.setdefault((run.scheduled_for, run.schedule_id), []).append((run.pk, skipped))
    return found


def _run(slot: Slot, start: datetime, now: datetime, user: User | None) -> FlowRun:
    run = scheduled_runs.run_of(slot.schedule, slot.time, now)
    run.trigger, run.priority, run.created_by, run.expected_start = Trigger.BACKFILL, PRIORITY, user, start
    run.state_message = f"Backfilled{f' by {user}' if user else ''}."
    if slot.skipped is not None:
        run.pk, run.end_time = slot.skipped, None
    return run


_BROUGHT_BACK = (
    "queue", "version", "entrypoint", "parameters", "tags", "trigger", "created_by", "priority", "state_type",
    "state_name", "state_message", "state_time", "end_time",
)  # fmt: skip


def _bring_back(runs: Sequence[FlowRun]) -> list[FlowRun]:
    """Have runs that were Skipped wait again, as these say; those that somebody else brought back are passed over."""
    skipped = FlowRun.objects.filter(state_type=StateType.CANCELLED, state_name="Skipped", attempt=0)
    wanted = skipped.filter(pk__in=[run.pk for run in runs])
    locked = set(wanted.select_for_update(skip_locked=True).values_list("pk", flat=True))
    back = [run for run in runs if run.pk in locked]
    for schedule in {run.schedule_id for run in back}:  # runs of one schedule differ by their times alone
        own = [run for run in back if run.schedule_id == schedule]
        values = {name: getattr(own[0], name) for name in _BROUGHT_BACK}
        skipped.filter(pk__in=[run.pk for run in own]).update(**values, revision=F("revision") + 1)
    FlowRun.objects.bulk_update(back, ["expected_start"], batch_size=200)
    return list(FlowRun.objects.filter(pk__in=[run.pk for run in back]).select_related("queue"))
