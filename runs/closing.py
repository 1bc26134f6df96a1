"""What a flow run's end does to what belongs to it: task runs and subflow runs that had not ended are closed."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import F, Q

from runs.models import Attempt, FlowRun, TaskRun
from runs.transitions import CLOSED, FINAL_VALUES, SUSPENDED, Source, child_ending

_MESSAGE: Final = "Its flow run ended before it did."
_FINAL: Final = "(" + ", ".join(f"'{type_}'" for type_ in sorted(FINAL_VALUES)) + ")"
_CHUNK: Final = 5_000  # ids in one SELECT
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
        with_task_runs = _with_open(TaskRun, "flow_run_id", level)
        for run in level:
            if run.id in with_task_runs:
                _close_task_runs(run)
        ended = [run for run in level if run.state_type in FINAL_VALUES]
        with_subflow_runs = _with_open(FlowRun, "parent_id", ended)
        if not with_subflow_runs:
            break  # as a rule
        known = {child.id for child in closed}
        parents = [run for run in ended if run.id in with_subflow_runs]
        level = [child for run in parents for child in _close_subflow_runs(run, exclude=known)]
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


def _with_open(model: type[TaskRun] | type[FlowRun], column: str, runs: Sequence[FlowRun]) -> set[UUID]:
    """Return which of these runs have task runs or subflow runs that have not ended.

    As a rule none has, and this look, which is not compiled each time, is a tenth of what closing them costs.
    """
    found: set[UUID] = set()
    with connection.cursor() as cursor:
        for start in range(0, len(runs), _CHUNK):
            keys = [model._meta.pk.get_db_prep_value(run.id, connection) for run in runs[start : start + _CHUNK]]
            cursor.execute(
                f"SELECT DISTINCT {column} FROM {model._meta.db_table}"
                f" WHERE {column} IN ({', '.join(['%s'] * len(keys))}) AND state_type NOT IN {_FINAL}",
                keys,
            )
            found.update(key if isinstance(key, UUID) else UUID(key) for (key,) in cursor.fetchall())
    return found


def _end(row: FlowRun | Attempt, type_: str, name: str, time: datetime) -> None:
    row.state_type, row.state_name, row.state_message = type_, name, _MESSAGE
    row.ended_by, row.end_time = Source.EXIT.value, time
