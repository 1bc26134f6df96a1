"""Claims: which worker runs which attempt, and the leases that say that it still does.

Nothing but a claim makes an attempt of a run that the server created. It is one short transaction, so that a wake-up
that is delivered twice, late or never changes nothing about who runs what.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from flows.infrastructure import outlives_worker, record_of
from flows.models import Collision, Deployment, WorkQueue
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import FINAL, StateType
from runs import limits, live
from runs.announcements import announce_on_commit
from runs.clock import database_now
from runs.models import Attempt, FlowRun, FlowRunQuerySet, Worker

# First come, first served within a priority; index `flow_run_claim` has this order.
CLAIM_ORDER = ("-priority", "expected_start", "id")


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that a worker has to run, with its run (flow and deployment are loaded)."""

    run: FlowRun
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a worker learns when it extends its leases: which of its runs have to stop, and why."""

    cancel: frozenset[UUID]  #: somebody asked to cancel these
    lost: frozenset[UUID]  #: these are no longer this worker's: superseded, reaped, ended by a decision, or deleted


def queues_of(queue_ids: Collection[UUID] | None) -> QuerySet[WorkQueue]:
    """Return those of these queues (None: of all) from which runs may be claimed now."""
    queues: QuerySet[WorkQueue] = WorkQueue.objects.served()
    return queues if queue_ids is None else queues.filter(pk__in=queue_ids)


def claim(worker: Worker, now: datetime | None = None) -> Claim | None:
    """Claim the first eligible run for a worker; None when nothing is due. See `claim_some`."""
    return next(iter(claim_some(worker, 1, now)), None)


def claim_some(worker: Worker, most: int, now: datetime | None = None, requests: Sequence[UUID] = ()) -> list[Claim]:
    """Claim the first eligible runs for a worker: by their queue's priority, their own, then by time.

    What a limit keeps waiting is passed over, and holds up nobody behind it (`runs.limits`).

    Args:
        worker: Who will run them; its team and queues say what it serves.
        most: How many at most. They are of one queue, and fewer where another queue's run comes first, or where a
            limit has to be looked at in between: ask again until nothing comes.
        now: The time by which runs are due; the database's by default.
        requests: Names for as many claims, by which they may be asked for again where the answer was lost: the same
            claims are the answer as long as their runs wait for their start, and none from then on. They become the
            attempts' journals. The worker's row is then locked before all others, so that of two requests with one
            name one claims.

    Returns:
        The claims, with the attempts they created; none when nothing is due.

    Queries and locks: a look at the index `flow_run_due`, and where something is due one read of the queues' first
    runs, both outside any transaction (an idle worker takes no lock); then in one transaction row locks that pass over
    locked rows (`BEGIN IMMEDIATE` on SQLite), an UPDATE and an INSERT. Where limits are set, the rows of the queue and
    of the deployment are locked too, and their runs are counted.
    """
    now = now or database_now()
    if requests and _is_answered(worker, requests):
        return _given(worker, requests)
    queues = _queues_with_work(queue_ids_of(worker), now) if _something_is_due(now) else []
    for queue, following in zip_longest(queues, queues[1:]):
        with transaction.atomic():
            if requests and not _lock_for(worker, requests):
                break
            claimed = _claim_from(queue, following, worker, now, most, requests)
        if claimed:
            return claimed
    return _given(worker, requests) if requests else []


def _lock_for(worker: Worker, requests: Sequence[UUID]) -> bool:
    """Lock a worker's row; False where it has signed off, or these requests were answered. In a transaction."""
    there = Worker.objects.select_for_update(no_key=True).filter(pk=worker.pk, stopped_at=None).first()
    return there is not None and not _is_answered(worker, requests)


def _is_answered(worker: Worker, requests: Sequence[UUID]) -> bool:
    return Attempt.objects.filter(journal__in=requests, worker=worker).exists()


def _given(worker: Worker, requests: Sequence[UUID]) -> list[Claim]:
    """Return what these requests were answered with, as far as the runs still wait; their leases begin anew."""
    attempts = Attempt.objects.select_related(
        "flow_run__flow", "flow_run__deployment__flow", "flow_run__deployment__infrastructure"
    )
    given: list[Claim] = []
    for attempt in attempts.filter(journal__in=requests, worker=worker).order_by("journal"):
        waits = FlowRun.objects.filter(pk=attempt.flow_run_id, attempt=attempt.number, state_type=StateType.PENDING)
        expires = database_now() + timedelta(seconds=settings.LEASE_SECONDS)
        if waits.update(lease_expires_at=expires):
            given.append(Claim(attempt.flow_run, attempt))
    return given


def _something_is_due(now: datetime) -> bool:
    """Whether any run's time has come: what an idle worker asks each second, and so not compiled each time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM runs_flowrun WHERE state_type = 'SCHEDULED' AND lease_expires_at IS NULL"
            " AND expected_start <= %s LIMIT 1",
            [connection.ops.adapt_datetimefield_value(now)],
        )
        return cursor.fetchone() is not None


def renew(held: Mapping[UUID, int]) -> Renewal:
    """Extend the leases of a worker's attempts, and learn which of them have to stop.

    Args:
        held: The attempt that the worker runs, by id of the flow run.

    Queries and locks: the runs' rows, locked in the order of their ids as everywhere, and one UPDATE.
    """
    if not held:
        return Renewal(frozenset(), frozenset())
    cancel: set[UUID] = set()
    ours: set[UUID] = set()
    extended: list[UUID] = []
    columns = ("pk", "attempt", "state_type", "ended_by", "cancel_requested_at", "lease_expires_at")
    with transaction.atomic():
        runs = FlowRun.objects.filter(pk__in=held).order_by("pk").select_for_update()
        for run_id, attempt, state_type, ended_by, asked_at, lease in runs.values_list(*columns):
            if not (attempt == held[run_id] or _retried_within(run_id, held[run_id], attempt)) or (
                state_type == StateType.SCHEDULED and lease is None
            ):
                continue  # with a lease, its process waits for its own next attempt
            if state_type in FINAL:
                if ended_by in ("run", "exit"):  # it said so itself and is about to exit
                    ours.add(run_id)
                continue
            ours.add(run_id)
            extended.append(run_id)
            if state_type == StateType.CANCELLING or asked_at is not None:
                cancel.add(run_id)
        expires = database_now() + timedelta(seconds=settings.LEASE_SECONDS)
        FlowRun.objects.filter(pk__in=extended).update(lease_expires_at=expires)
    return Renewal(frozenset(cancel), frozenset(held.keys() - ours))


def _retried_within(run_id: UUID, held: int, current: int) -> bool:
    """Whether the current attempt is a retry within the process of the one held, which the worker need not know of."""
    journals = dict(
        Attempt.objects.filter(flow_run=run_id, number__in=[held, current]).values_list("number", "journal")
    )
    return journals.get(held) is not None and journals.get(held) == journals.get(current)


def code_of(deployment: Deployment | None) -> dict[str, Any]:
    """Return which code a run of a deployment runs: its source, with the number of the deployment's version."""
    if deployment is None:
        return {}
    version = {"version": deployment.code_version} if deployment.code_version else {}
    return {**(deployment.source or {"kind": "path"}), **version}


def executed_by(run: FlowRun) -> dict[str, Any]:
    """Return what an attempt of a run executes, as it is now: whatever the deployment says later, the attempt does it.

    Reads the run's deployment.
    """
    deployment = run.deployment
    return {
        "entrypoint": (deployment.entrypoint if deployment else "") or run.entrypoint,
        "directory": deployment.directory if deployment else "",
        "source": deployment.source if deployment else {},
        "task_runner": deployment.task_runner if deployment else "",
    }


def release(run_id: UUID, number: int) -> bool:
    """Give a claim back that never reached a run host: the run waits again, as if it had not been claimed.

    Args:
        run_id: The run.
        number: The attempt that the claim made.

    Returns:
        Whether it was still the current attempt and pending.
    """
    with transaction.atomic():
        undone = FlowRun.objects.filter(pk=run_id, attempt=number, state_type=StateType.PENDING).update(
            state_type=StateType.SCHEDULED,
            state_name="Scheduled",
            state_time=database_now(),
            attempt=number - 1,
            lease_expires_at=None,
            revision=F("revision") + 1,
        )
        if undone:
            Attempt.objects.filter(flow_run=run_id, number=number).delete()
    return bool(undone)


def _queues_with_work(queue_ids: Collection[UUID] | None, now: datetime) -> list[WorkQueue]:
    """Return those of these queues (None: of all) that have an eligible run and room for it.

    By priority, then that with the best first run first. One index look-up a queue, and one for each that has a limit.
    """
    due = FlowRun.objects.due(now).filter(queue=OuterRef("pk")).order_by(*CLAIM_ORDER)
    first = queues_of(queue_ids).annotate(
        first_priority=Subquery(due.values("priority")[:1]), first_start=Subquery(due.values("expected_start")[:1])
    )
    ordered = first.filter(first_start__isnull=False).order_by("-priority", "-first_priority", "first_start")
    return [queue for queue in ordered if limits.queue_has_room(queue)]


def first_eligible(queue_id: UUID, now: datetime, passed_over: Collection[UUID] = ()) -> FlowRun | None:
    """Lock and return a queue's first eligible run that nobody else has locked. To be called in a transaction.

    Args:
        passed_over: Deployments whose runs wait for their limit.
    """
    runs = _in_line(queue_id, now, passed_over)
    return (
        runs.select_related("flow", "deployment__flow", "deployment__infrastructure")
        .select_for_update(skip_locked=True, of=("self",))
        .first()
    )


def queue_ids_of(worker: Worker) -> tuple[UUID, ...] | None:
    """Return the queues that a worker claims from, in order; None: every one (a query for a worker of one team)."""
    if worker.team_id is None:
        return tuple(sorted(UUID(queue_id) for queue_id in worker.queues)) or None
    ours = WorkQueue.objects.filter(team=worker.team_id)
    chosen = ours.filter(pk__in=worker.queues) if worker.queues else ours
    return tuple(chosen.order_by("pk").values_list("pk", flat=True))


def due_before(run: FlowRun, now: datetime) -> FlowRunQuerySet:
    """Due runs of a run's queue that are claimed before it (index `flow_run_claim`)."""
    earlier = Q(expected_start__lt=run.expected_start) | Q(expected_start=run.expected_start, pk__lt=run.pk)
    return FlowRun.objects.due(now).filter(
        Q(priority__gt=run.priority) | Q(earlier, priority=run.priority), queue=run.queue_id
    )


def next_in_turn(queue_ids: Collection[UUID] | None, now: datetime) -> UUID | None:
    """Return the run that a claim from these queues (None: every one) would take now, without taking it.

    Reads what a claim reads, in its order, and locks nothing: one query, one for each queue and deployment with a
    limit that has runs in line, and one for each queue until a run is found.
    """
    for queue in _queues_with_work(queue_ids, now):
        passed_over: set[UUID] = set()
        while (run := _in_line(queue.pk, now, passed_over).select_related("deployment").first()) is not None:
            if run.deployment is None or limits.deployment_has_room(run.deployment):
                return run.pk
            passed_over.add(run.deployment_id)
    return None


def _in_line(queue_id: UUID, now: datetime, passed_over: Collection[UUID]) -> FlowRunQuerySet:
    """A queue's due runs in the order in which they are claimed."""
    runs = FlowRun.objects.due(now).filter(queue=queue_id).order_by(*CLAIM_ORDER)
    if not passed_over:
        return runs
    return runs.exclude(deployment__in=passed_over)


def _claim_from(
    queue: WorkQueue,
    following: WorkQueue | None,
    worker: Worker,
    now: datetime,
    most: int,
    requests: Sequence[UUID],
) -> list[Claim]:
    if queue.limit is not None and not limits.lock_room_on_queue(queue.pk):
        return []
    if most > 1 and queue.limit is None and (runs := _without_limits(queue, following, now, most)):
        return _take(runs, worker, now, requests)
    passed_over: set[UUID] = set()
    while (run := first_eligible(queue.pk, now, passed_over)) is not None:
        room = limits.lock_room_of_deployment(run.deployment)
        if room is limits.Room.FREE:
            return _take([run], worker, now, requests)
        if room is limits.Room.FULL and run.deployment.collision == Collision.CANCEL and run.attempt == 0:
            _turn_away(run, now)
        else:
            passed_over.add(run.deployment_id)
    return []


def _without_limits(queue: WorkQueue, following: WorkQueue | None, now: datetime, most: int) -> list[FlowRun]:
    """Lock and return a queue's first runs, up to one that a limit may concern or that another queue's precedes."""
    runs = _in_line(queue.pk, now, ()).select_related("flow", "deployment__flow", "deployment__infrastructure")
    found: list[FlowRun] = []
    for run in runs.select_for_update(skip_locked=True, of=("self",))[:most]:
        if run.deployment is not None and run.deployment.limit is not None:
            break
        if found and following is not None and following.priority == queue.priority:
            first = (-following.first_priority, following.first_start)  # annotated by `_queues_with_work`
            if (-run.priority, run.expected_start) > first:
                break
        found.append(run)
    return found


def _turn_away(run: FlowRun, now: datetime) -> None:
    """Cancel a locked run that came while its deployment's limit was reached."""
    holders = limits.holders(FlowRun.objects.filter(deployment=run.deployment_id), 3)
    names = " and ".join(f"“{holder.name}”" for holder in holders)
    verb = "was" if len(holders) == 1 else "were"
    FlowRun.objects.filter(pk=run.pk).update(
        state_type=StateType.CANCELLED,
        state_name="Skipped",
        state_message=f"Its deployment runs {run.deployment.limit} at once at most; {names} {verb} in progress.",
        state_time=now,
        end_time=now,
        revision=F("revision") + 1,
    )
    announce_on_commit([run.pk])


def _take(runs: Sequence[FlowRun], worker: Worker, now: datetime, requests: Sequence[UUID]) -> list[Claim]:
    """Make the next attempt of locked runs, this worker's."""
    won = (
        FlowRun.objects.unclaimed()
        .filter(pk__in=[run.pk for run in runs])
        .update(
            state_type=StateType.PENDING,
            state_name="Pending",
            state_message="",
            state_time=now,
            attempt=F("attempt") + 1,
            error=None,
            ended_by="",
            end_time=None,
            lease_expires_at=now + timedelta(seconds=settings.LEASE_SECONDS),
            revision=F("revision") + 1,
        )
    )
    if won != len(runs):  # they are locked and were unclaimed: undone as a whole, and tried again at the next sweep
        raise RuntimeError(f"{won} of {len(runs)} locked runs could be claimed")
    claimed: list[Claim] = []
    for run, request in zip_longest(runs, requests[: len(runs)]):
        live.remember(run.pk, run.team_id)
        run.attempt, run.state_type, run.state_name = run.attempt + 1, StateType.PENDING, "Pending"
        attempt = Attempt(
            flow_run=run,
            number=run.attempt,
            worker=worker,
            journal=request or uuid7(),
            source=code_of(run.deployment),
            host=worker.host[:200],
            infrastructure=record_of(run.deployment, run.infrastructure_overrides),
            outlives_worker=outlives_worker(run.deployment),
            executes=executed_by(run),
            created_at=now,
        )
        claimed.append(Claim(run, attempt))
    Attempt.objects.bulk_create([claim.attempt for claim in claimed])
    return claimed
