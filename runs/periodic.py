"""The one entry of celery-beat's schedule: the tick."""

from typing import Final

from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

NAME: Final = "orchestrator: tick"
EXPIRE_SECONDS: Final = 30  # ticks that no worker takes do not pile up; generous, since clocks of machines differ


def ensure_tick() -> PeriodicTask:
    """Make the entry, or correct it; writes nothing when it is right (two reads)."""
    interval, _ = IntervalSchedule.objects.get_or_create(every=settings.TICK_SECONDS, period=IntervalSchedule.SECONDS)
    wanted = {
        "task": "runs.jobs.tick",
        "interval": interval,
        "queue": settings.CELERY_TASK_DEFAULT_QUEUE,
        "expire_seconds": EXPIRE_SECONDS,
        "enabled": True,
    }
    entry, _ = PeriodicTask.objects.get_or_create(name=NAME, defaults=wanted)
    if any(getattr(entry, field) != value for field, value in wanted.items()):
        for field, value in wanted.items():
            setattr(entry, field, value)
        entry.save()
    return entry
