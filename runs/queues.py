"""Verbs on work queues that reach their waiting runs."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from flows.actions import check_limit
from flows.models import DEFAULT_QUEUE, WorkQueue
from runs import bells
from runs.models import FlowRun
from teams.models import Team, User
from teams.rights import Level
from teams.verbs import verb

_FIELDS = ("name", "description", "limit", "priority")
_MAX_PRIORITY = 1_000


@verb("work_queue.create", Level.EDIT)
def create_queue(team: Team, *, name: str, user: User | None = None, **values: Any) -> WorkQueue:
    """Make a queue, with `description`, `limit` and `priority` as in `change_queue`. A server's workers serve it.

    Raises:
        ValidationError: By field; for a name that is taken, too.
    """
    return _save(WorkQueue(team=team), {"name": name, **values})


@verb("work_queue.change", Level.EDIT)
def change_queue(queue: WorkQueue, *, user: User | None = None, **changes: Any) -> WorkQueue:
    """Change a queue, and wake a worker: there may be room now.

    Args:
        changes: `name` and `description`; `limit`, how many of its runs may be in progress at once, or None; and
            `priority`, from -1,000 to 1,000: of queues with waiting runs, that with the highest is served first.

    Raises:
        ValidationError: By field.

    Locks the queue's row. What is in progress over a lower limit goes on.
    """
    with transaction.atomic():
        queue = _save(WorkQueue.objects.select_for_update(no_key=True).get(pk=queue.pk), changes)
        bells.ring(queue)
    return queue


@verb("work_queue.pause", Level.EDIT)
def pause_queue(queue: WorkQueue, *, user: User | None = None) -> WorkQueue:
    """Let no worker take runs from it; what runs goes on."""
    WorkQueue.objects.filter(pk=queue.pk).update(paused=True)
    queue.paused = True
    return queue


@verb("work_queue.resume", Level.EDIT)
def resume_queue(queue: WorkQueue, *, user: User | None = None) -> WorkQueue:
    """Let workers take its runs again, and wake one at once."""
    with transaction.atomic():
        WorkQueue.objects.filter(pk=queue.pk).update(paused=False)
        queue.paused = False
        bells.ring(queue)
    return queue


@verb("work_queue.delete", Level.EDIT)
def delete_queue(queue: WorkQueue, *, user: User | None = None) -> None:
    """Delete a queue that nothing uses. Raises ValidationError for the default one, and while something uses it."""
    with transaction.atomic():
        queue = WorkQueue.objects.select_for_update().get(pk=queue.pk)
        if queue.name == DEFAULT_QUEUE:
            raise ValidationError(f"“{queue}” is the queue of whatever names no other. It can be limited or paused.")
        used = list(queue.deployments.select_related("flow").order_by("created_at")[:4])
        if used:
            names = ", ".join(deployment.full_name for deployment in used[:3]) + (
                " and others" if len(used) > 3 else ""
            )
            raise ValidationError(f"“{queue}” is used by {names}. Give them another queue first.")
        if FlowRun.objects.unclaimed().filter(queue=queue).exists():
            raise ValidationError(f"Runs wait on “{queue}”. Cancel them first, or let them run.")
        queue.delete()


def _save(queue: WorkQueue, changes: dict[str, Any]) -> WorkQueue:
    """Lay checked changes over a queue and save it."""
    if unknown := sorted(set(changes) - set(_FIELDS)):
        has = ", ".join(_FIELDS)
        raise ValidationError({unknown[0]: f"A work queue has no “{unknown[0]}” to change. It has {has}."})
    name = changes.get("name", queue.name)
    if not isinstance(name, str) or not name.strip() or len(name) > 100 or not name.isprintable():
        raise ValidationError({"name": "Write the name of a work queue, 1 to 100 characters."})
    if queue.name == DEFAULT_QUEUE and not queue._state.adding and name.strip() != DEFAULT_QUEUE:
        raise ValidationError({"name": "The default queue keeps its name: whatever names no other queue looks for it."})
    check_limit(changes.get("limit"))
    priority = changes.get("priority", 0)
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > _MAX_PRIORITY:
        raise ValidationError({"priority": f"Write a whole number from -{_MAX_PRIORITY:,} to {_MAX_PRIORITY:,}."})
    for field, value in changes.items():
        setattr(queue, field, value.strip() if field == "name" else value)
    if WorkQueue.objects.filter(team=queue.team, name=queue.name).exclude(pk=queue.pk).exists():
        raise ValidationError({"name": f"There is a work queue “{queue.name}” already. Choose another name."})
    queue.save()
    return queue
