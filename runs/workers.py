"""Verbs on the rows of workers: they sign on, say that they live, and sign off."""

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from flows.models import WorkQueue
from runs import bells, claims
from runs.claims import Renewal
from runs.models import Attempt, Worker
from teams.models import Team

KEPT: Final = timedelta(days=30)  # rows of workers that are gone


def sign_on(worker: Worker) -> None:
    """Enter a worker, and clear away those that are long gone. Doing it again says that it is (still) there."""
    now = timezone.now()
    worker.started_at = worker.started_at or now
    worker.heartbeat_at, worker.stopped_at = now, None
    worker.save()
    Worker.objects.filter(heartbeat_at__lt=now - KEPT).delete()


def sign_on_remote(team: Team, worker_id: UUID, *, queues: Collection[str], **about: Any) -> Worker:
    """Enter a worker of a team that has no database of its own.

    Args:
        team: Whose runs it claims.
        worker_id: Made by the worker, so that a request sent twice makes one.
        queues: The names of the queues that it serves; none: every one of the team's.
        about: `name`, `host`, `pid`, `places` and `calls_key`.

    Raises:
        ValidationError: By field: there is no queue of a name, or another team's worker has this id.
    """
    chosen = [str(queue.pk) for queue in queues_named(queues, team)]
    with transaction.atomic():
        worker = Worker.objects.select_for_update().filter(pk=worker_id).first() or Worker(pk=worker_id, team=team)
        if worker.team_id != team.pk:
            raise ValidationError({"id": "A worker of another team has this id."})
        for field, value in {**about, "queues": chosen}.items():
            setattr(worker, field, value)
        sign_on(worker)
    return worker


def queues_named(names: Collection[str], team: Team | None = None) -> list[WorkQueue]:
    """Return the queues of these names, of a team or (None) of every team.

    Raises:
        ValidationError: There is none of a name.
    """
    queues = WorkQueue.objects.filter(name__in=names).order_by("name", "pk")
    found = list(queues if team is None else queues.filter(team=team))
    missing = [name for name in dict.fromkeys(names) if name not in {queue.name for queue in found}]
    if missing:
        words = f"There is no work queue “{missing[0]}”. Make it: orchestrator work-queue create {missing[0]}"
        raise ValidationError({"queues": words})
    return found


def beat(worker: Worker, *, load: float | None, heard_at: datetime | None) -> None:
    """Note that a worker lives, and how its machine is. Enters it again where its row was cleared away."""
    now = timezone.now()
    changed = Worker.objects.filter(pk=worker.pk).update(heartbeat_at=now, load=load, heard_at=heard_at)
    if not changed:
        sign_on(worker)


def renew(worker: Worker, held: Mapping[UUID, int]) -> Renewal:
    """Extend the leases of what a worker says it runs, as far as it was claimed for it; the rest is lost to it.

    Queries and locks: its attempts of these runs, and those of `claims.renew`.
    """
    ours = Attempt.objects.filter(worker=worker, flow_run__in=held).values_list("flow_run", "number")
    claimed = {run_id: number for run_id, number in ours if held[run_id] == number}
    renewal = claims.renew(claimed)
    return Renewal(renewal.cancel, renewal.lost | (held.keys() - claimed.keys()))


def release(worker: Worker, run_id: UUID, number: int) -> bool:
    """Give back a claim of this worker's that never reached a run host; others hear of the run at once."""
    attempt = Attempt.objects.filter(worker=worker, flow_run=run_id, number=number)
    attempt = attempt.select_related("flow_run__queue").first()
    if attempt is None:
        return False
    with transaction.atomic():
        released = claims.release(run_id, number)
        if released and attempt.flow_run.queue is not None:
            bells.ring(attempt.flow_run.queue)
    return released


def sign_off(worker: Worker, requests: Sequence[UUID] = ()) -> None:
    """Note that a worker stopped, and give back claims whose answer it never got: from now on it claims no more."""
    Worker.objects.filter(pk=worker.pk).update(stopped_at=timezone.now())
    for attempt in Attempt.objects.filter(worker=worker, journal__in=requests):
        release(worker, attempt.flow_run_id, attempt.number)


def load_here() -> float | None:
    """Return how many processes wanted a processor of this machine over the last minute; None where it cannot say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):  # Windows has none
        return None
