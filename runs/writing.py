"""Writing what folds made of batches: flows, runs, attempts, task runs, log lines, and what a run's end brings."""

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import chain
from uuid import UUID

from django.conf import settings

from flows.models import Flow
from runs import bulk, live
from runs.clock import database_now
from runs.closing import close_children
from runs.endings import settle
from runs.folding import Fold
from runs.models import Attempt, FlowRun, ResourceSample
from runs.task_rows import TaskRow
from runs.tracking import NewFlow, Tracked
from runs.transitions import FINAL_VALUES

_STATE_FIELDS = ("state_type", "state_name", "state_message", "error", "ended_by", "start_time", "end_time")
_RUN_FIELDS = (*_STATE_FIELDS, "name", "state_time", "attempt", "lease_expires_at", "revision")
_ATTEMPT_FIELDS = (
    *_STATE_FIELDS, "journal", "source", "host", "pid", "exit_code", "signal", "cause", "peak_memory_bytes",
    "cpu_seconds",
)  # fmt: skip


def write(folds: Sequence[Fold], team_id: UUID, *, tell: bool = True) -> set[UUID]:
    """Write what folds changed, and hand the runs that ended to the outbox; to be called in the batches' transaction.

    Args:
        folds: What each batch made of the rows, which are locked; no row is in two of them.
        team_id: Whose new runs are.
        tell: Whether a server runs that can be woken for what is to be told.

    Returns:
        The ids of the flow runs that changed.
    """
    touched = [tracked for fold in folds for tracked in fold.runs.values() if tracked.touched]
    new = [tracked for tracked in touched if tracked.is_new]
    _attach_flows(new, ChainMap(*(fold.flows for fold in folds)), team_id)
    for tracked in touched:
        tracked.run.revision += 1
        if tracked.revived and tracked.run.state_type not in FINAL_VALUES:
            _renew_lease(tracked)
    FlowRun.objects.bulk_create([tracked.run for tracked in new], batch_size=500)
    known = [tracked for tracked in touched if not tracked.is_new]
    bulk.save([tracked.run for tracked in known if not tracked.snapshot], _RUN_FIELDS)
    bulk.save([tracked.run for tracked in known if tracked.snapshot], (*_RUN_FIELDS, "parameters"))
    for tracked in known:
        live.remember(tracked.run.id, tracked.run.team_id)
    changed = [attempt for tracked in touched for attempt in tracked.changed]
    made = {attempt.pk for attempt in changed if attempt._state.adding}
    Attempt.objects.bulk_create([attempt for attempt in changed if attempt.pk in made], batch_size=500)
    bulk.save([attempt for attempt in changed if attempt.pk not in made], _ATTEMPT_FIELDS)
    new_tasks = [row for fold in folds for row in fold.new_tasks.values()]
    changed_tasks = [row for fold in folds for row in fold.changed_tasks.values()]
    bulk.insert_task_runs(new_tasks)
    bulk.update_task_runs(changed_tasks)
    bulk.insert_earlier_attempts([row for fold in folds for row in fold.earlier.values()])
    bulk.insert_logs([row for fold in folds for row in fold.logs])
    ResourceSample.objects.bulk_create([row for fold in folds for row in fold.samples], batch_size=500)
    unsettled = _unsettled(touched, new_tasks)
    closed = close_children(
        tracked.run for tracked in touched if tracked.closes and (not tracked.is_new or tracked.run.id in unsettled)
    )
    settle(
        [*(tracked.run for tracked in touched if tracked.has_ended), *closed],
        tell=tell,
        begun=[tracked.run for tracked in touched if tracked.closes and not tracked.run.is_final],
        task_rows=chain(new_tasks, changed_tasks),
    )
    return {tracked.run.id for tracked in touched} | {run.id for run in closed}


def _unsettled(touched: Iterable[Tracked], new_tasks: Iterable[TaskRow]) -> set[UUID]:
    """Runs to which something belongs in this batch that their end may have to close.

    A new run that is none of them, as a script's is as a rule, needs no look into the database: that would cost a tenth
    of a small run's batch.
    """
    tasks = {task.flow_run_id for task in new_tasks if task.state_type not in FINAL_VALUES}
    parents = {tracked.run.parent_id for tracked in touched if tracked.run.parent_id is not None}
    return {UUID(run_id) for run_id in tasks} | parents


def _attach_flows(new: list[Tracked], named: Mapping[str, NewFlow], team_id: UUID) -> None:
    """Give new runs their team and flow, making the flows that are missing."""
    slugs = {tracked.flow_slug for tracked in new}
    if not slugs:
        return
    flows = Flow.objects.filter(team_id=team_id, slug__in=slugs)
    known = {flow.slug: flow for flow in flows}
    missing = [
        Flow(team_id=team_id, name=named[slug].name, slug=slug, description=named[slug].description)
        for slug in sorted(slugs - known.keys())
    ]
    if missing:
        Flow.objects.bulk_create(missing, ignore_conflicts=True)
        known = {flow.slug: flow for flow in flows.all()}
    for tracked in new:
        flow = known[tracked.flow_slug]
        tracked.run.team_id, tracked.run.flow = team_id, flow
        description = named[tracked.flow_slug].description
        if description and not flow.description:
            flow.description = description
            flow.save(update_fields=["description"])


def _renew_lease(tracked: Tracked) -> None:
    """A run that had been given up and goes on is watched again, if a worker has it."""
    if tracked.attempts[tracked.run.attempt].worker_id is not None:
        tracked.run.lease_expires_at = database_now() + timedelta(seconds=settings.LEASE_SECONDS)
