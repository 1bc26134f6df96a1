"""Attempts that go on where their worker is gone (a container, a pod): another worker takes them over.

It finds by its name what executes the attempt, follows it, and answers for its end. Until then the attempt's own facts
say that it lives (`runs.api.ingest`), so nothing has crashed meanwhile.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from runs import claims
from runs.claims import Claim
from runs.clock import database_now
from runs.compiled import IsAny
from runs.models import FINAL_TYPES, HEARD_WITHIN, Attempt, FlowRun, Outliving, Worker


def take_over_some(worker: Worker, most: int, now: datetime | None = None) -> list[Claim]:
    """Take over attempts whose worker signed off, or was not heard of for half a minute.

    Args:
        worker: Who follows them from now on; it serves their queues, and is on their machine where that matters.
        most: How many at most.
        now: By the database's clock, which it is by default.

    Returns:
        The attempts, each the one by which its process began: a retry within the process is a later one.

    Queries and locks: one look at the index `attempt_outlives` where there is nothing; else the runs' rows, passing
        over those that somebody else has locked.
    """
    now = now or database_now()
    if not some_left(now):
        return []
    with transaction.atomic():
        runs = FlowRun.objects.filter(pk__in=_reachable(worker, now).values("flow_run")).exclude(
            state_type__in=FINAL_TYPES
        )
        locked = runs.select_related("flow", "deployment__flow").order_by("pk")
        found = locked.select_for_update(skip_locked=True, of=("self",))[:most]
        return [claim for run in found if (claim := _take(run, worker, now)) is not None]


def _left(now: datetime) -> QuerySet[Attempt]:
    """Attempts under way that outlive their worker, and whose worker is gone."""
    gone = Q(worker__isnull=True) | Q(worker__stopped_at__isnull=False) | Q(worker__heartbeat_at__lt=now - HEARD_WITHIN)
    current = Attempt.objects.filter(gone, end_time__isnull=True, number=F("flow_run__attempt"))
    return current.filter(outlives_worker__isnull=False)


some_left: Final = IsAny(_left)


def _reachable(worker: Worker, now: datetime) -> QuerySet[Attempt]:
    """Those of them that a worker can follow."""
    here = Q(outlives_worker=Outliving.ANY) | Q(outlives_worker=Outliving.HOST, host=worker.host[:200])
    queues: Collection[UUID] | None = claims.queue_ids_of(worker)
    served = Q() if queues is None else Q(flow_run__queue__in=queues)
    return _left(now).filter(here, served)


def _take(run: FlowRun, worker: Worker, now: datetime) -> Claim | None:
    """Make a locked run's attempts of its process this worker's; None where somebody else was quicker."""
    current = _left(now).filter(flow_run=run).first()
    if current is None:
        return None
    process = Attempt.objects.filter(flow_run=run, journal=current.journal)
    process.update(worker=worker)
    first = process.order_by("number")[0]
    run.lease_expires_at = now + timedelta(seconds=settings.LEASE_SECONDS)
    run.save(update_fields=["lease_expires_at"])
    return Claim(run, first)
