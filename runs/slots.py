"""Slots of limited tags: asked for, given back, freed with whatever ends, and granted to the next that waits.

A slot is a row (`Slot`), held or waited for; nothing is counted up or down, so that nothing can leak. A task run that
has several limited tags gets all its slots at once or none. Waiting is first come, first served; a task run that waits
for another limit that is full is passed over.

Whoever makes, grants or deletes slots of a limit holds the lock of the limit's row. The order of locks is that of all
the project, longer by one: the journal, runs by id, then limits by id. Who holds limits and meets a waiting task run
that needs one more takes that lock only if it is free, and else looks again after its commit, with all in order; so
nobody ever waits for a lock against the order. On SQLite BEGIN IMMEDIATE is the one lock there is.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery

from orchestrator.sdk.states import StateType
from runs.announcements import announce_on_commit
from runs.clock import database_now
from runs.grants import Grant, tell_on_commit
from runs.models import ConcurrencyLimit, FlowRun, Journal, Slot, TaskRun
from runs.transitions import FINAL_VALUES
from teams.models import Team

MAX_HOLDERS: Final = 3  #: named in an answer
_CHUNK: Final = 50  # waiting rows read at a time
_MAX_IDS: Final = 500  # in one condition

_log = logging.getLogger(__name__)


class UnknownRun(Exception):
    """The flow run, its attempt or the facts before the ask are not here yet: ask again in a moment."""


class RunEnded(Exception):
    """The flow run has ended, or goes on with another attempt: this one gets nothing any more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A task run that wants to begin.

    Attributes:
        flow_run: Its flow run.
        attempt: The flow run's attempt.
        task_run: Its id.
        tags: All its tags, limited or not.
        name: Its name.
        listener: The process to tell once it is granted; None: it asks again by itself.
        journal: With `sequence`, the last fact that has to be here before the answer; None: whichever are here.
        sequence: That fact's number.
    """

    flow_run: UUID
    attempt: int
    task_run: UUID
    tags: Collection[str]
    name: str = ""
    listener: UUID | None = None
    journal: UUID | None = None
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """A task run that holds a slot."""

    task_run: UUID
    name: str
    flow_run: UUID
    flow_run_name: str


@dataclass(frozen=True, slots=True)
class Wait:
    """What a task run waits for: a limit, its place in the line from 1, and who holds slots (the first three)."""

    tag: str
    limit: int
    position: int
    holders: list[Holder]


@dataclass(frozen=True, slots=True)
class Answer:
    """How an ask stands.

    Attributes:
        granted: It may begin.
        limits: The tags under whose limits it then is.
        waits_for: Else, the limits that are full.
    """

    granted: bool
    limits: list[str]
    waits_for: list[Wait]


def ask(question: Ask, team: Team) -> Answer:
    """Take a slot under every limit that the team sets on a task run's tags, or wait for them. Idempotent.

    Args:
        question: Who asks.
        team: Whose limits count; the flow run has to be its own.

    Raises:
        UnknownRun, RunEnded: Where it is limited at all.

    Queries and locks: one read where no tag is limited. Else the flow run's row, then the limits by id, and a count of
    each; who waits is read only where a slot is free. Where nobody does, the slots are made as granted ones.
    """
    tags = {tag.strip() for tag in question.tags}
    limits = ConcurrencyLimit.objects.filter(team=team, tag__in=tags)
    if not tags or not limits.exists():
        return Answer(True, [], [])
    with transaction.atomic():
        _check_run(question, team)
        locked = lock(limits)
        held = {slot.limit_id: slot for slot in Slot.objects.filter(task_run=question.task_run)}
        if any(slot.granted_at for slot in held.values()):
            return _granted(held, locked)
        if not locked and not held:
            return Answer(True, [], [])
        now = database_now()
        if held:
            Slot.objects.filter(pk__in=[slot.pk for slot in held.values()]).exclude(
                listener=question.listener, attempt=question.attempt
            ).update(listener=question.listener, attempt=question.attempt)
        room = _room(locked)
        is_next = not held and all(room.values()) and not _are_waited_for(locked)
        made = [
            Slot(
                limit=limit, flow_run_id=question.flow_run, attempt=question.attempt, task_run=question.task_run,
                task_name=question.name[:200], listener=question.listener, asked_at=now,
                granted_at=now if is_next else None,
            )
            for limit in locked.values()
            if limit.pk not in held
        ]  # fmt: skip
        Slot.objects.bulk_create(made)
        if made:
            announce_on_commit([question.flow_run])
        if is_next or (
            all(room.values()) and question.task_run in _grant_next(locked, room, now, asking=question.task_run)
        ):
            return _granted(locked, locked)
        return Answer(False, [], _waits(question.task_run))


def give_back(task_run: UUID, runs: QuerySet[FlowRun]) -> None:
    """Give back a task run's slots, or stop waiting for them; the next are granted. Nothing to do is fine.

    Args:
        runs: The flow runs that the asker may speak of.
    """
    with transaction.atomic():
        _delete(_rows_of(Slot.objects.filter(task_run=task_run, flow_run__in=runs)))


def free(
    *,
    ended: Collection[UUID] = (),
    begun: Mapping[UUID, int] | None = None,
    task_runs: Mapping[UUID, int] | None = None,
) -> None:
    """Free the slots of what ended, held or waited for, and grant the next.

    To be called in the transaction that ends them, as the last that takes locks, with the flow runs' rows locked.

    Args:
        ended: Flow runs that ended, or are to be deleted.
        begun: Flow runs that go on with this attempt; those of earlier ones are freed.
        task_runs: Task runs that ended or wait for their retry, with the attempt of the flow run in which they did.

    Queries and locks: the limits whose slots are freed, by id; a few reads and one UPDATE for those granted.
    """
    condition = Q(flow_run__in=ended)
    for run, attempt in (begun or {}).items():
        condition |= Q(flow_run=run, attempt__lt=attempt)
    ids = list(task_runs or {})
    slots = list(Slot.objects.filter(condition | Q(task_run__in=ids[:_MAX_IDS])))
    for start in range(_MAX_IDS, len(ids), _MAX_IDS):
        slots += Slot.objects.filter(task_run__in=ids[start : start + _MAX_IDS])
    freed = [
        (slot.pk, slot.limit_id, slot.flow_run_id)
        for slot in slots
        if slot.flow_run_id in ended
        or slot.attempt < (begun or {}).get(slot.flow_run_id, 0)
        or slot.attempt <= (task_runs or {}).get(slot.task_run, 0)
    ]
    _delete(freed)


def are_there() -> bool:
    """Whether anybody holds a slot or waits for one: the one look that a batch of facts costs without limits."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {Slot._meta.db_table} LIMIT 1")
        return cursor.fetchone() is not None


def sweep(now: datetime | None = None) -> None:
    """Free the slots of what ended, and grant what fits: behind the pushes, for whatever a process left undone."""
    if not are_there():
        return
    with transaction.atomic():
        _delete(_rows_of(_left_behind()))
    waited_for = Slot.objects.filter(granted_at=None).values("limit").distinct()
    for limit_id in ConcurrencyLimit.objects.filter(pk__in=waited_for).order_by("pk").values_list("pk", flat=True):
        grant([limit_id])


def grant(limit_ids: Iterable[UUID]) -> None:
    """Grant to those that wait for these limits what is free, in a transaction of its own."""
    with transaction.atomic():
        locked = lock(ConcurrencyLimit.objects.filter(pk__in=list(limit_ids)))
        _grant_next(locked, _room(locked), database_now())


def lock(limits: QuerySet[ConcurrencyLimit]) -> dict[UUID, ConcurrencyLimit]:
    """Lock limits, in the order of their ids; those that were deleted meanwhile are not among them."""
    return {limit.pk: limit for limit in limits.order_by("pk").select_for_update(no_key=True)}


def _check_run(question: Ask, team: Team) -> None:
    """Lock the run of an ask, so that it cannot end meanwhile. Raises UnknownRun, RunEnded."""
    run = (
        FlowRun.objects.filter(pk=question.flow_run, team=team)
        .select_for_update(no_key=True)
        .only("attempt", "state_type", "lease_expires_at")
        .first()
    )
    if run is None or question.attempt > run.attempt:
        raise UnknownRun
    waits_for_a_claim = run.state_type == StateType.SCHEDULED and run.lease_expires_at is None
    if question.attempt < run.attempt or run.is_final or waits_for_a_claim:
        raise RunEnded
    if question.journal is not None:
        brought_in = Journal.objects.filter(pk=question.journal).values_list("sequence", flat=True).first()
        if brought_in is None or brought_in < question.sequence:
            raise UnknownRun


def _granted(limit_ids: Iterable[UUID], locked: Mapping[UUID, ConcurrencyLimit]) -> Answer:
    """The answer of one that holds slots of these limits; those that are not locked, with other tags, are read."""
    ids = set(limit_ids)
    tags = [locked[key].tag for key in ids & locked.keys()]
    if others := ids - locked.keys():
        tags += ConcurrencyLimit.objects.filter(pk__in=others).values_list("tag", flat=True)
    return Answer(True, sorted(tags), [])


def _are_waited_for(locked: Mapping[UUID, ConcurrencyLimit]) -> bool:
    """Whether anybody waits for one of these limits (one query)."""
    return Slot.objects.filter(limit__in=list(locked), granted_at=None).exists()


def _waits(task_run: UUID) -> list[Wait]:
    """What a waiting task run waits for: the limits that are full; all of them where none is."""
    slots = Slot.objects.filter(task_run=task_run, granted_at=None).select_related("limit").order_by("limit__tag")
    waits = []
    full = []
    for slot in slots:
        same = Slot.objects.filter(limit=slot.limit_id)
        position = same.filter(granted_at=None, pk__lt=slot.pk).count() + 1
        wait = Wait(slot.limit.tag, slot.limit.limit, position, holders(slot.limit_id, MAX_HOLDERS))
        waits.append(wait)
        if same.filter(granted_at__isnull=False).count() >= slot.limit.limit:
            full.append(wait)
    return full or waits


def holders(limit_id: UUID, most: int) -> list[Holder]:
    """Return who holds slots of a limit, those that were granted first before the others (index `slot_held`)."""
    held = Slot.objects.filter(limit=limit_id, granted_at__isnull=False).order_by("granted_at", "pk")
    rows = held.values_list("task_run", "task_name", "flow_run", "flow_run__name")
    return [Holder(*row) for row in rows[:most]]


def counted(limits: QuerySet[ConcurrencyLimit]) -> QuerySet[ConcurrencyLimit]:
    """Add to limits how many slots are held (`used`) and waited for (`waiting`)."""
    return limits.annotate(
        used=Count("slots", filter=Q(slots__granted_at__isnull=False)),
        waiting=Count("slots", filter=Q(slots__granted_at=None, slots__isnull=False)),
    )


def _rows_of(slots: QuerySet[Slot]) -> list[tuple[int, UUID, UUID]]:
    """Return what `_delete` has to know of slots (one query)."""
    return list(slots.values_list("pk", "limit", "flow_run"))


def _delete(slots: Collection[tuple[int, UUID, UUID]]) -> None:
    """Lock the limits of these slots, delete them and grant what is then free. To be called in a transaction.

    Args:
        slots: The id of each, of its limit and of its flow run; those that are gone when the lock is had do no harm.
    """
    if not slots:
        return
    locked = lock(ConcurrencyLimit.objects.filter(pk__in={limit for _, limit, _ in slots}))
    Slot.objects.filter(pk__in=[key for key, *_ in slots]).delete()
    announce_on_commit({flow_run for *_, flow_run in slots})
    _grant_next(locked, _room(locked), database_now())


def _left_behind() -> QuerySet[Slot]:
    """Slots whose flow run or task run ended, or goes on with another attempt."""
    in_flight = Slot.objects.exclude(flow_run__state_type__in=FINAL_VALUES).exclude(attempt__lt=F("flow_run__attempt"))
    in_flight = in_flight.exclude(flow_run__state_type=StateType.SCHEDULED, flow_run__lease_expires_at=None)
    # Not of those in AwaitingRetry: the slot of the next attempt is asked for before the fact that it began.
    over = TaskRun.objects.filter(state_type__in=FINAL_VALUES, pk=OuterRef("task_run"))
    recorded = over.values("flow_attempt")[:1]
    done = Slot.objects.annotate(over=Subquery(recorded)).filter(over__gte=F("attempt"))
    return Slot.objects.filter(~Q(pk__in=in_flight.values("pk")) | Q(pk__in=done.values("pk")))


def _room(locked: Mapping[UUID, ConcurrencyLimit]) -> dict[UUID, int]:
    """How many slots are free under each of these limits, none below zero (one query)."""
    held = Slot.objects.filter(limit__in=list(locked), granted_at__isnull=False).order_by()
    counted = dict(held.values_list("limit").annotate(Count("pk")))
    return {key: max(0, limit.limit - counted.get(key, 0)) for key, limit in locked.items()}


def _grant_next(
    locked: dict[UUID, ConcurrencyLimit],
    room: dict[UUID, int],
    now: datetime,
    asking: UUID | None = None,
) -> set[UUID]:
    """Grant to those that wait for locked limits, first come, first served, while there is room; return them.

    Args:
        locked: Grows by limits that could be locked beside these.
        room: What is free under each; grows likewise, and is used up.
        asking: A task run that learns by the answer, and need not be told.
    """
    granted: list[Slot] = []
    begun_with = set(locked)
    again: set[UUID] = set()
    seen: set[UUID] = set()
    last = 0
    while open_limits := [key for key in begun_with if room[key]]:
        waiting = Slot.objects.filter(limit__in=open_limits, granted_at=None, pk__gt=last).order_by("pk")
        chunk = list(waiting.values_list("pk", "task_run")[:_CHUNK])
        if not chunk:
            break
        last = chunk[-1][0]
        candidates = list(dict.fromkeys(task_run for _, task_run in chunk if task_run not in seen))
        seen.update(candidates)
        for slots in _slots_of(candidates):
            needed = {slot.limit_id for slot in slots}
            _lock_more(needed - locked.keys(), locked, room)
            if not needed <= locked.keys():
                again |= needed
            elif all(room[key] for key in needed):
                granted += slots
                for key in needed:
                    room[key] -= 1
        if len(chunk) < _CHUNK:
            break
    if again:
        transaction.on_commit(partial(_grant_again, frozenset(again)))
    if not granted:
        return set()
    Slot.objects.filter(pk__in=[slot.pk for slot in granted]).update(granted_at=now)
    team = {key: limit.team_id for key, limit in locked.items()}
    told = {
        slot.task_run: Grant(slot.task_run, slot.flow_run_id, team[slot.limit_id], slot.listener) for slot in granted
    }
    tell_on_commit(told[key] for key in told if key != asking)
    return set(told)


def _slots_of(task_runs: list[UUID]) -> list[list[Slot]]:
    """All slots that each of these waits for, in their order."""
    by_task_run: dict[UUID, list[Slot]] = {task_run: [] for task_run in task_runs}
    for slot in Slot.objects.filter(task_run__in=task_runs, granted_at=None).order_by("pk"):
        by_task_run[slot.task_run].append(slot)
    return [slots for slots in by_task_run.values() if slots]


def _lock_more(missing: set[UUID], locked: dict[UUID, ConcurrencyLimit], room: dict[UUID, int]) -> None:
    """Lock further limits where nobody else has: waiting for one here could be a deadlock."""
    if not missing:
        return
    more = ConcurrencyLimit.objects.filter(pk__in=missing).select_for_update(no_key=True, skip_locked=True)
    new = {limit.pk: limit for limit in more}
    locked.update(new)
    room.update(_room(new))


def _grant_again(limit_ids: frozenset[UUID]) -> None:
    """After the commit: with all the limits locked in their order. What fails here is left to the sweep."""
    try:
        grant(limit_ids)
    except (DatabaseError, InterfaceError) as error:
        _log.warning("Slots are granted at the next sweep: %s", error)
