"""Celery's functions. Each returns at once, and is safe to be called twice at once or not at all."""

from uuid import UUID

from celery import shared_task

from notifications import bells, sending, sweeping


@shared_task(name=bells.DELIVER_JOB)
def deliver(destinations: list[str]) -> None:
    """A bell: something is to be sent to these destinations."""
    sending.current().offer(map(UUID, destinations))


@shared_task(name="notifications.jobs.sweep")
def sweep() -> None:
    """The periodic job behind the bells (`settings.PERIODIC_JOBS`)."""
    sweeping.sweep()
