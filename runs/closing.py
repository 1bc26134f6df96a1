"""What a flow run's end does to what belongs to it: task runs and subflow runs that had not ended are closed."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import F, Q

from runs.models import Attempt, FlowRun, TaskRun
from runs.transitions import CLOSED, FINAL_VALUES, SUSPENDED, Source, child_ending

_MESSAGE: Final = "Its flow run ended before it did."
_LEVELS: Final = 100  # of subflows; a cycle of parents cannot be made by ingest, but a loop must end


def close_children(runs: Iterable[FlowRun]) -> list[FlowRun]:
    """Close what had not ended below runs that ended, or that began their next attempt.

    Call it in the transaction that ends the runs, with their rows locked. Task runs of earlier attempts are closed in
    any case; of an ended run all are, and so are its subflow runs of the same process.

    Args:
        runs: As they now are in the database.

    Returns:
        The subflow runs that were closed, as they now are.
    """
    closed: list[FlowRun] = []
    level = list(runs)
    for _ in range(_LEVELS):
        for run in level:
            _close_task_runs(run)
        ended = [run for run in level if run.state_type in FINAL_VALUES]
        if not ended:
            break
        known = {child.id for child in closed}
        level = [child for run in ended for child in _close_subflow_runs(run, exclude=known)]
        closed += level
    return closed


def _close_task_runs(run: FlowRun) -> None:
    ended = run.state_type in FINAL_VALUES
    type_, name = child_ending(run.state_type)
    waiting = TaskRun.objects.filter(flow_run=run).exclude(state_type__in=FINAL_VALUES)
    if not ended:
        waiting = waiting.filter(flow_attempt__lt=run.attempt)
    waiting.update(
        state_type=type_,
        state_name=name,
        state_message=_MESSAGE,
        end_time=run.end_time or run.state_time,
        next_attempt_at=None,
        ended_by=CLOSED,
    )


def _close_subflow_runs(run: FlowRun, exclude: Collection[UUID]) -> list[FlowRun]:
    """Close the subflow runs that ran in the same process; a deployment's run that it started lives on."""
    if not FlowRun.objects.filter(parent=run).exclude(state_type__in=FINAL_VALUES).exists():
        return []  # as a rule, and this look costs a third of the one below
    journals = Attempt.objects.filter(flow_run=run).exclude(journal=None).values("journal")
    current = Attempt.objects.filter(flow_run__parent=run, number=F("flow_run__attempt"), journal__in=journals)
    attempts = list(
        current.exclude(Q(state_type__in=FINAL_VALUES) | Q(state_name=SUSPENDED)).exclude(flow_run__in=exclude)
    )
    children = list(
        FlowRun.objects.select_for_update().filter(id__in=[attempt.flow_run_id for attempt in attempts]).order_by("id")
    )
    type_, name = child_ending(run.state_type)
    time = run.end_time or run.state_time
    for child in children:
        _end(child, type_, name, time)
        child.state_time = time
        child.lease_expires_at = None
        child.revision += 1
        child.save(
            update_fields=[
                "state_type", "state_name", "state_message", "ended_by", "end_time",
                "state_time", "lease_expires_at", "revision",
            ]
        )  # fmt: skip
    for attempt in attempts:
        _end(attempt, type_, name, time)
        attempt.save(update_fields=["state_type", "state_name", "state_message", "ended_by", "end_time"])
    return children


def _end(row: FlowRun | Attempt, type_: str, name: str, time: datetime) -> None:
    row.state_type, row.state_name, row.state_message = type_, name, _MESSAGE
    row.ended_by, row.end_time = Source.EXIT.value, time
