"""The entries of celery-beat's schedule: `settings.PERIODIC_JOBS`."""

from typing import Final

from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

PREFIX: Final = "orchestrator: "
EXPIRE_SECONDS: Final = 30  # what no worker takes does not pile up; generous, since clocks of machines differ


def ensure_jobs() -> list[PeriodicTask]:
    """Make the entries, or correct them; writes nothing when they are right (two reads each)."""
    return [_ensure(PREFIX + name, job, seconds) for name, (job, seconds) in settings.PERIODIC_JOBS.items()]


def _ensure(name: str, job: str, seconds: int) -> PeriodicTask:
    interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period=IntervalSchedule.SECONDS)
    wanted = {
        "task": job,
        "interval": interval,
        "queue": settings.CELERY_TASK_DEFAULT_QUEUE,
        "expire_seconds": EXPIRE_SECONDS,
        "enabled": True,
    }
    entry, _ = PeriodicTask.objects.get_or_create(name=name, defaults=wanted)
    if any(getattr(entry, field) != value for field, value in wanted.items()):
        for field, value in wanted.items():
            setattr(entry, field, value)
        entry.save()
    return entry
