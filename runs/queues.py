"""Verbs on work queues that reach their waiting runs."""

from django.db import transaction

from flows.models import WorkQueue
from runs import bells
from teams.models import User


def pause_queue(queue: WorkQueue, *, user: User | None = None) -> WorkQueue:
    """Let no worker take runs from it; what runs goes on."""
    WorkQueue.objects.filter(pk=queue.pk).update(paused=True)
    queue.paused = True
    return queue


def resume_queue(queue: WorkQueue, *, user: User | None = None) -> WorkQueue:
    """Let workers take its runs again, and wake one at once."""
    with transaction.atomic():
        WorkQueue.objects.filter(pk=queue.pk).update(paused=False)
        queue.paused = False
        bells.ring(queue)
    return queue
