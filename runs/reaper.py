"""Runs whose supervisor went silent: when a lease lapses, by the database's clock, the attempt is Crashed.

The reaper judges others by their silence, so it first asks about its own: where it did not run for longer than a lease
(the server was stopped, the database gone), nobody could extend anything either, and it waits one lease before judging.
"""

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from orchestrator.sdk.causes import Cause
from runs import bounds, cancelling
from runs.clock import database_now
from runs.closing import close_children
from runs.compiled import IsAny
from runs.endings import settle
from runs.ingest import announce
from runs.models import HEARD_WITHIN, Attempt, FlowRun, FlowRunQuerySet, Pulse
from runs.transitions import FINAL_VALUES, Report, Source, accepts, as_cancelled, crash, is_cancelling

logger = logging.getLogger(__name__)

PULSE: Final = "reaper"
TAKE_OVER: Final = HEARD_WITHIN  # until a worker is known to be gone, and its attempts are another's to take
BATCH: Final = 100  # runs ended in one transaction


def reap(now: datetime | None = None) -> int:
    """Crash the runs whose leases lapsed; those being cancelled are Cancelled.

    Args:
        now: By the database's clock, which it is by default.

    Returns:
        How many runs were ended, those included whose cancellation nobody answered (`runs.cancelling`).

    Queries and locks: one row of `Pulse`, and two looks where nothing is lost; else runs by index `flow_run_lease`,
        passing over those that somebody else has locked (a lease being extended, facts being brought in), 100 in a
        transaction.
    """
    now = now or database_now()
    if not _may_judge(now):
        return 0
    reaped = cancelling.give_up(now)
    while ended := _reap_some(now):
        reaped += len(ended)
        if len(ended) < BATCH:
            break
    return reaped


def _may_judge(now: datetime) -> bool:
    """Note that the reaper runs, and return whether it has run for long enough to judge others."""
    lease, renewal = timedelta(seconds=settings.LEASE_SECONDS), timedelta(seconds=settings.LEASE_RENEW_SECONDS)
    if _went_on(now, renewal):
        return True
    with transaction.atomic():
        pulse, is_new = Pulse.objects.select_for_update().get_or_create(name=PULSE, defaults={"at": now})
        if is_new:
            return True
        if now - pulse.at > lease:
            pulse.resumes_at = now + lease
            logger.warning("Leases are judged again from %s on, after an outage since %s", pulse.resumes_at, pulse.at)
        elif now - pulse.at > renewal and pulse.resumes_at is None:
            pulse.resumes_at = now + 2 * renewal  # a database that restarted: workers come back as this tick did
        elif pulse.resumes_at is not None and now >= pulse.resumes_at:
            pulse.resumes_at = None
        pulse.at = max(now, pulse.at)
        pulse.save()
        return pulse.resumes_at is None


def _went_on(now: datetime, renewal: timedelta) -> bool:
    """Note that the reaper runs, where it did so a moment ago and judges: the usual case, in one statement."""
    name, at, resumes_at = map(connection.ops.quote_name, ("name", "at", "resumes_at"))
    adapt = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {Pulse._meta.db_table} SET {at} = %s WHERE {name} = %s AND {resumes_at} IS NULL"
            f" AND {at} BETWEEN %s AND %s",
            [adapt(now), PULSE, adapt(now - renewal), adapt(now)],
        )
        went_on: bool = cursor.rowcount == 1
    return went_on


def _lapsed(now: datetime) -> FlowRunQuerySet:
    """Runs whose lease is over; what goes on without its worker is left a while for another one to take over."""
    current = Attempt.objects.filter(flow_run=OuterRef("pk"), number=OuterRef("attempt"))
    outlives = current.filter(outlives_worker__isnull=False)
    waits = Q(Exists(outlives), lease_expires_at__gt=now - TAKE_OVER)
    return FlowRun.objects.filter(lease_expires_at__lt=now).exclude(waits)


some_lapsed: Final = IsAny(_lapsed)


def _reap_some(now: datetime) -> set[UUID]:
    if not some_lapsed(now):
        return set()
    lapsed = _lapsed(now).defer("parameters", "tags")
    with transaction.atomic():
        runs = list(lapsed.select_for_update(skip_locked=True).order_by("id")[:BATCH])
        ended = [run for run in runs if _lapse(run, now)]
        closed = close_children(ended)
        settle([*ended, *closed])
        changed = {run.id for run in [*ended, *closed]}
        if changed:
            transaction.on_commit(lambda: announce(changed))
    return {run.id for run in runs}


def _lapse(run: FlowRun, now: datetime) -> bool:
    """End a locked run whose lease lapsed. False where it had ended or waits to run again: then only the lease goes."""
    attempt = Attempt.objects.select_related("worker").filter(flow_run=run, number=run.attempt).first()
    ends = run.state_type not in FINAL_VALUES and run.state_type != "SCHEDULED"
    if ends:
        report = crash(bounds.unix_microseconds(now), _silence(run, attempt), Source.LAPSE, Cause.LOST)
        if is_cancelling(run.state_type, run.ended_by):
            report = as_cancelled(report)
        _enter(run, report, now)
        if attempt is not None and accepts(attempt.state_type, attempt.ended_by, report):
            _enter(attempt, report, now)
            attempt.save()
        logger.warning("Run %s: %s", run.id, report.message)
    run.lease_expires_at = None
    run.revision += 1
    fields = ["state_type", "state_name", "state_message", "state_time", "error", "ended_by", "end_time"]
    run.save(update_fields=[*(fields if ends else []), "lease_expires_at", "revision"])
    return ends


def _enter(row: FlowRun | Attempt, report: Report, now: datetime) -> None:
    row.state_type, row.state_name, row.state_message = report.type, report.name, report.message
    row.error, row.ended_by, row.end_time = None, report.source.value, now
    if isinstance(row, FlowRun):
        row.state_time = now
    else:
        row.cause = report.cause


def _silence(run: FlowRun, attempt: Attempt | None) -> str:
    """Who went silent, and since when."""
    since = f"{run.lease_expires_at:%Y-%m-%d %H:%M:%S} UTC" if run.lease_expires_at else "its start"
    if attempt is None:
        return f"nothing was heard of it since {since}"
    if attempt.worker is not None:
        return f"worker {attempt.worker.name} on {attempt.worker.host} was last due to be heard of at {since}"
    process = f"its process (pid {attempt.pid} on {attempt.host})" if attempt.pid else "its process"
    return f"{process} was last due to be heard of at {since}"
