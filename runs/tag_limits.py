"""Verbs on the limits of tags. Each locks the limit's row, as whoever takes or frees slots does (`runs.slots`)."""

from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from flows.actions import MAX_LIMIT
from runs import limits_file, slots
from runs.announcements import announce_on_commit
from runs.grants import Grant, tell_on_commit
from runs.models import ConcurrencyLimit, Slot
from teams.models import Team, User
from teams.rights import Level
from teams.verbs import verb

CONFLICT: Final = "conflict"
_MAX_TAG: Final = 200


@verb("concurrency_limit.create", Level.ADMIN)
def create_limit(team: Team, *, tag: str, limit: int, user: User | None = None) -> ConcurrencyLimit:
    """Limit how many task runs with a tag run at once in a team. Those that run already go on, and are not counted.

    Args:
        tag: 1 to 200 characters.
        limit: From 0 (none may run) to 10,000.

    Raises:
        ValidationError: By field; for a tag that is limited already, with code `conflict`.
    """
    tag = _checked_tag(tag)
    made = ConcurrencyLimit(team=team, tag=tag, limit=_checked_limit(limit), created_by=user)
    try:
        with transaction.atomic():
            made.save(force_insert=True)
            transaction.on_commit(limits_file.refresh)
    except IntegrityError:
        message = f"The tag “{tag}” is limited already. Change that limit: concurrency-limit set."
        raise ValidationError({"tag": ValidationError(message, CONFLICT)}) from None
    return made


@verb("concurrency_limit.change", Level.ADMIN)
def change_limit(limit: ConcurrencyLimit, *, value: int, user: User | None = None) -> ConcurrencyLimit:
    """Allow another number at once. Who holds a slot over a lower limit goes on; a higher one starts who waits.

    Raises:
        ValidationError: `limit`.
    """
    value = _checked_limit(value)
    with transaction.atomic():
        locked = _lock(limit)
        locked.limit = value
        locked.save(update_fields=["limit"])
        _announce(locked)
        slots.grant([locked.pk])
    return locked


@verb("concurrency_limit.reset", Level.ADMIN, always=True)
def reset_limit(limit: ConcurrencyLimit, *, user: User | None = None) -> int:
    """Free every slot that is held, whoever holds it, and grant to those that wait.

    Task runs that held one go on, uncounted: it is for slots whose task runs are known to be gone.

    Returns:
        How many were freed.
    """
    with transaction.atomic():
        locked = _lock(limit)
        _announce(locked)
        freed = Slot.objects.filter(limit=locked, granted_at__isnull=False).delete()[0]
        slots.grant([locked.pk])
    return freed


@verb("concurrency_limit.delete", Level.ADMIN)
def delete_limit(limit: ConcurrencyLimit, *, user: User | None = None) -> None:
    """Limit a tag no longer: who waits for nothing else begins at once."""
    with transaction.atomic():
        locked = _lock(limit)
        _announce(locked)
        waiting = list(Slot.objects.filter(limit=locked, granted_at=None).order_by("pk"))
        locked.delete()
        left = _other_limits({slot.task_run for slot in waiting})
        tell_on_commit(
            Grant(slot.task_run, slot.flow_run_id, locked.team_id, slot.listener)
            for slot in waiting
            if slot.task_run not in left
        )
        transaction.on_commit(limits_file.refresh)
        if others := {key for keys in left.values() for key in keys}:
            transaction.on_commit(lambda: slots.grant(others))  # beside this lock they would be out of order


def _other_limits(task_runs: set[UUID]) -> dict[UUID, set[UUID]]:
    """The limits that these wait for still, by task run."""
    left: dict[UUID, set[UUID]] = {}
    waiting = Slot.objects.filter(task_run__in=task_runs, granted_at=None)
    for task_run, limit in waiting.values_list("task_run", "limit"):
        left.setdefault(task_run, set()).add(limit)
    return left


def _lock(limit: ConcurrencyLimit) -> ConcurrencyLimit:
    locked = slots.lock(ConcurrencyLimit.objects.filter(pk=limit.pk)).get(limit.pk)
    if locked is None:
        raise ValidationError(f"The limit of “{limit.tag}” was deleted a moment ago.", CONFLICT)
    return locked


def _announce(limit: ConcurrencyLimit) -> None:
    announce_on_commit(set(Slot.objects.filter(limit=limit).values_list("flow_run", flat=True)))


def _checked_tag(tag: Any) -> str:
    if not isinstance(tag, str) or not tag.strip() or len(tag.strip()) > _MAX_TAG or not tag.strip().isprintable():
        raise ValidationError({"tag": f"Write a tag, 1 to {_MAX_TAG} characters."})
    return tag.strip()


def _checked_limit(limit: Any) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit <= MAX_LIMIT:
        raise ValidationError(
            {"limit": f"Write how many task runs may run at once, a number from 0 (none) to {MAX_LIMIT:,}."}
        )
    return limit
