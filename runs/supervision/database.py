"""Supervision by a worker that has the database: that of `server start`, and of whoever has its URL."""

import contextlib
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from flows.models import WorkQueue
from runs import claims, limits_file, taking_over, workers
from runs.announcements import announce_on_commit
from runs.calls.signing import public_keys
from runs.claims import Claim, Renewal
from runs.compiled import Column
from runs.ingester_child import IngesterChild
from runs.launch import start_message
from runs.models import FlowRun, Worker
from runs.supervision.base import Assignment, Leases, Supervision, Unreachable

LOOK_SECONDS: Final = 0.8  # between looks at who brings journals in

_log = logging.getLogger(__name__)


class DatabaseSupervision(Supervision):
    """Claims and leases in the database's own transactions (`runs.claims`)."""

    sweep_seconds = 0.8  # a new queue is served within a second

    def __init__(self, row: Worker) -> None:
        """Keep the worker's row, which `sign_on` saves."""
        self._row = row
        self._ingester = IngesterChild()
        self._look_at = 0.0

    @property
    def worker_id(self) -> UUID:
        """Of its row."""
        return self._row.pk

    def call_keys(self) -> list[str]:
        """Derived from the server's secret key, which this process has."""
        return public_keys()

    @property
    def leases(self) -> Leases:
        """Those of the settings."""
        return Leases(settings.LEASE_SECONDS, settings.LEASE_RENEW_SECONDS, settings.CANCEL_GRACE_SECONDS)

    def sign_on(self) -> None:
        """Enter the worker's row, and clear away those of workers that are long gone."""
        with _reaching():
            workers.sign_on(self._row)

    def sign_off(self) -> None:
        """Note in the row that it stopped."""
        with _reaching():
            workers.sign_off(self._row)

    def celery_queues(self) -> list[str]:
        """One query."""
        with _reaching():
            ids = claims.queue_ids_of(self._row)
            served = _all_served() if ids is None else claims.queues_of(ids).values_list("pk", flat=True)
            return [WorkQueue(pk=UUID(str(id))).celery_queue for id in served]

    def claim_some(self, most: int) -> list[Assignment]:
        """Claim in one transaction what stands next in line; one that cannot be told to a host is left to its lease."""
        with _reaching():
            taken = taking_over.take_over_some(self._row, most)
            return assignments_of(
                [*taken, *(claims.claim_some(self._row, most - len(taken)) if len(taken) < most else [])]
            )

    def release(self, assignment: Assignment) -> None:
        """Undo the claim."""
        with _reaching():
            claims.release(assignment.run_id, assignment.attempt)

    def began(self, assignment: Assignment) -> None:
        """Tell live pages."""
        announce_on_commit([assignment.run_id])

    def renew(self, held: Mapping[UUID, int], heard_at: datetime | None = None) -> Renewal:
        """Extend the leases; the heartbeat is the worker's row."""
        with _reaching():
            renewal = claims.renew(held)
            workers.beat(self._row, load=workers.load_here(), heard_at=heard_at)
        return renewal

    def state_names(self, run_ids: Collection[UUID]) -> dict[UUID, str]:
        """One query."""
        with _reaching():
            return dict(FlowRun.objects.filter(pk__in=run_ids).values_list("pk", "state_name"))

    def tend_facts(self) -> None:
        """Bring this home's journals in where nobody else does, and keep its file of limited tags right."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._ingester.ensure()
            with _reaching():
                limits_file.refresh()

    def end_facts(self) -> None:
        """Let this worker's own ingester end, if it had to have one."""
        self._ingester.stop()

    def end_thread(self) -> None:
        """Close this thread's connection."""
        connection.close()


def assignments_of(claimed: Sequence[Claim]) -> list[Assignment]:
    """Return what a worker has to know of claims, without those that cannot be told."""
    assignments = []
    for each in claimed:
        try:
            assignments.append(assignment_of(each))
        except Exception:  # what its row holds; the others were claimed with it and must not suffer
            _log.exception("Flow run %s cannot be started", each.run.pk)
    return assignments


def assignment_of(claimed: Claim) -> Assignment:
    """Return what a worker has to know of a claim. Reads what the claim loaded, nothing more."""
    run, deployment = claimed.run, claimed.run.deployment
    label = f"'{run.name}' of {deployment.full_name if deployment else run.flow.name}"
    reruns = deployment is not None and deployment.crash_retries > 0
    return Assignment(run.pk, claimed.attempt.number, label, start_message(claimed), reruns)


_all_served: Final = Column(lambda: claims.queues_of(None).order_by().values_list("pk", flat=True))


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Ask over a connection that was not left broken, and say in one word that the database did not answer."""
    if not connection.in_atomic_block:
        close_old_connections()
    try:
        yield
    except DatabaseError as error:
        if not connection.in_atomic_block:
            connection.close()
        raise Unreachable(f"the database says: {str(error).strip().partition(chr(10))[0]}") from error
