"""Celery's functions of this app."""

from celery import shared_task

from flows import snapshot_actions


@shared_task(name="flows.jobs.forget_unused_code")
def forget_unused_code() -> None:
    """The periodic job that deletes snapshots which nothing needs any more (`settings.PERIODIC_JOBS`)."""
    snapshot_actions.forget_unused()
