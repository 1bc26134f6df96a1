"""Limits of queues and deployments: how many of their runs may be in progress at once.

They are counted, not handed out: what occupies a queue or a deployment are its runs in `OCCUPYING_TYPES`, so that
whatever ends a run frees its place, and nothing can leak. Who claims under a limit locks the row that has it, so that
counting and claiming are one step. The order of locks: the queue, the run, then the deployment, passing over one that
is locked, since somebody else is claiming of it or changes it.
"""

from collections.abc import Collection, Iterable
from enum import Enum
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from flows.models import Deployment, WorkQueue
from runs import bells
from runs.clock import database_now
from runs.models import OCCUPYING_TYPES, FlowRun

# As a literal, since SQLite uses a partial index only where its condition stands in the query.
_OCCUPYING = [RawSQL(f"'{type_}'", ()) for type_ in OCCUPYING_TYPES]


class Room(Enum):
    """Whether one more run may begin."""

    FREE = "free"
    FULL = "full"
    UNKNOWN = "unknown"  #: somebody else has it locked, and claims or changes it


def in_progress(runs: QuerySet[FlowRun]) -> QuerySet[FlowRun]:
    """Those of these runs that count against limits (indexes `flow_run_on_queue`, `flow_run_of_deployment`)."""
    return runs.filter(state_type__in=_OCCUPYING)


def holders(runs: QuerySet[FlowRun], most: int) -> list[FlowRun]:
    """Return the runs in progress, those that began first before the others."""
    return list(in_progress(runs).only("id", "name", "start_time").order_by("state_time", "id")[:most])


def waiting(queue: WorkQueue) -> int:
    """Return how many runs of a queue are due and wait for a worker (index `flow_run_claim`)."""
    return FlowRun.objects.due(database_now()).filter(queue=queue).count()


def queue_has_room(queue: WorkQueue) -> bool:
    """Whether another run of this queue may begin now (a query, where it has a limit)."""
    return queue.limit is None or in_progress(FlowRun.objects.filter(queue=queue.pk)).count() < queue.limit


def deployment_has_room(deployment: Deployment) -> bool:
    """Whether another run of this deployment may begin now (a query, where it has a limit)."""
    if deployment.limit is None:
        return True
    return in_progress(FlowRun.objects.filter(deployment=deployment.pk)).count() < deployment.limit


def lock_room_on_queue(queue_id: UUID) -> bool:
    """Lock a queue, so that nobody else claims from it, and return whether it has room. In a transaction."""
    queue = WorkQueue.objects.served().select_for_update(no_key=True).filter(pk=queue_id).first()
    return queue is not None and queue_has_room(queue)


def lock_room_of_deployment(deployment: Deployment | None) -> Room:
    """Lock a run's deployment, where it has a limit, and say whether there is room. In a transaction."""
    if deployment is None or deployment.limit is None:
        return Room.FREE
    locked = Deployment.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=deployment.pk).first()
    if locked is None:
        return Room.UNKNOWN
    return Room.FREE if deployment_has_room(locked) else Room.FULL


def ring_freed(runs: Iterable[FlowRun]) -> None:
    """Wake workers, after the commit, for queues where the end of these runs makes room under a limit (one query)."""
    ended = [run for run in runs if run.queue_id is not None]
    if ended and _some_are_set():
        ring_limited({run.queue_id for run in ended}, {run.deployment_id for run in ended})


def _some_are_set() -> bool:
    """Whether any queue or deployment has a limit: asked at each run's end, and so not compiled each time."""
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT EXISTS (SELECT 1 FROM flows_workqueue WHERE "limit" IS NOT NULL)'
            ' OR EXISTS (SELECT 1 FROM flows_deployment WHERE "limit" IS NOT NULL)'
        )
        return bool(cursor.fetchone()[0])


def ring_limited(queue_ids: Collection[UUID | None], deployment_ids: Collection[UUID | None]) -> None:
    """Ring those of these queues that have a limit, or that one of these deployments with a limit uses."""
    limited = Q(pk__in=queue_ids, limit__isnull=False) | Q(
        deployments__in=[pk for pk in deployment_ids if pk], deployments__limit__isnull=False
    )
    for queue in WorkQueue.objects.filter(limited, paused=False).distinct():
        bells.ring(queue)
