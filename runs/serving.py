"""Reads about workers and what they serve, for pages and the API."""

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Count, F, QuerySet

from flows.models import WorkQueue
from runs import limits, reads
from runs.models import FlowRun, FlowRunQuerySet, Worker
from teams.models import User

MAX_RUNS: Final = 100


def running_on(workers: Collection[Worker]) -> dict[UUID, int]:
    """Return how many runs each of these workers has now (one query, index `flow_run_lease`; none for none)."""
    if not workers:
        return {}
    counted = _held().filter(attempts__worker__in=workers).order_by().values_list("attempts__worker")
    return dict(counted.annotate(Count("id")))


def runs_of(worker: Worker, user: User) -> list[FlowRun]:
    """Return the runs of this user's teams that a worker has now, the oldest first, at most 100 (one query)."""
    held = _held().visible_to(user).filter(attempts__worker=worker)
    return list(reads.rows(held).order_by("state_time", "id")[:MAX_RUNS])


def _held() -> FlowRunQuerySet:
    """Runs under a lease, each joined with its current attempt."""
    return FlowRun.objects.filter(lease_expires_at__isnull=False, attempts__number=F("attempt"))


def in_progress_on(queues: Collection[WorkQueue]) -> dict[UUID, int]:
    """Return how many runs of each of these queues are in progress (one query, index `flow_run_on_queue`)."""
    return _counted(limits.in_progress(FlowRun.objects.filter(queue__in=queues)))


def waiting_on(queues: Collection[WorkQueue], now: datetime) -> dict[UUID, int]:
    """Return how many runs of each of these queues are due and wait for a worker (one query)."""
    return _counted(FlowRun.objects.due(now).filter(queue__in=queues))


def _counted(runs: QuerySet[FlowRun]) -> dict[UUID, int]:
    return dict(runs.order_by().values_list("queue").annotate(Count("id")))


def queue_names(workers: Collection[Worker]) -> dict[str, str]:
    """Return the names of the queues that these workers name, by id (one query; none where they name none)."""
    ids = {queue_id for worker in workers for queue_id in worker.queues}
    if not ids:
        return {}
    return {str(pk): name for pk, name in WorkQueue.objects.filter(pk__in=ids).values_list("pk", "name")}


def serving(queue: WorkQueue, now: datetime) -> list[Worker]:
    """Return the living workers that serve a queue, by name (one query)."""
    return [worker for worker in Worker.objects.alive(now).order_by("name", "id") if worker.serves(queue)]
