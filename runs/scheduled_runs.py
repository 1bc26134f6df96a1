"""The runs of schedules and backfills: made from a deployment, inserted once a time, ended while they wait."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F

from flows.models import Deployment, Schedule
from flows.parameters import merge
from orchestrator.sdk.names import generate_name
from orchestrator.sdk.states import StateType
from runs import bulk
from runs.announcements import announce_on_commit
from runs.models import FlowRun, Trigger


def inherited(deployment: Deployment) -> dict[str, Any]:
    """The fields that each run of a deployment takes over from it."""
    return {
        "team_id": deployment.team_id,
        "flow_id": deployment.flow_id,
        "deployment": deployment,
        "queue": deployment.queue,
        "version": deployment.version,
        "entrypoint": deployment.entrypoint,
    }


def run_of(schedule: Schedule, time: datetime, now: datetime, message: str = "") -> FlowRun:
    """The run of one time of a schedule, not yet saved; `Late` when it has something to say about that."""
    deployment = schedule.deployment
    return FlowRun(
        **inherited(deployment),
        schedule=schedule,
        name=generate_name(),
        parameters=merge(deployment.parameters, schedule.parameters),
        tags=list(deployment.tags),
        trigger=Trigger.SCHEDULE,
        state_name="Late" if message else "Scheduled",
        state_message=message,
        state_time=now,
        scheduled_for=time,
        expected_start=time,
    )


def insert(runs: Iterable[FlowRun]) -> list[FlowRun]:
    """Insert runs, passing over times that have one already; return those that were inserted."""
    runs = list(runs)
    if not runs:
        return []
    if bulk.add_missing(runs) == len(runs):
        return runs
    there = set(FlowRun.objects.filter(pk__in=[run.pk for run in runs]).values_list("pk", flat=True))
    return [run for run in runs if run.pk in there]


def end_waiting(runs: Any, name: str, message: str, now: datetime) -> list[UUID]:
    """End runs that still wait unclaimed (a compare-and-set), and announce them; return their ids."""
    waiting = runs.unclaimed().filter(attempt=0)
    ids = list(waiting.select_for_update(skip_locked=True).values_list("pk", flat=True))
    if not ids:
        return []
    FlowRun.objects.filter(pk__in=ids, state_type=StateType.SCHEDULED).update(
        state_type=StateType.CANCELLED,
        state_name=name,
        state_message=message,
        state_time=now,
        end_time=now,
        revision=F("revision") + 1,
    )
    announce_on_commit(ids)
    return ids
