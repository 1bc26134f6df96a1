"""Celery's functions of this app."""

from celery import shared_task

from teams import idempotency


@shared_task(name="teams.jobs.sweep")
def sweep() -> None:
    """The periodic job that forgets what is kept for a day only (`settings.PERIODIC_JOBS`)."""
    idempotency.sweep()
