"""Celery's functions. Each is short, and safe to be called twice at once or not at all."""

from datetime import datetime
from typing import Any

from celery import shared_task

from runs import bells, dispatch
from runs.calls.keys import CALLS_JOB


@shared_task(name="runs.jobs.tick")
def tick() -> None:
    """Beat's one periodic job: what is due, what is lost, who has to be woken (every `TICK_SECONDS`)."""
    dispatch.tick()


@shared_task(name=bells.RING_JOB)
def ring(queue: str, at: str | None = None) -> None:
    """A bell: claim for the free places, now or at a time. Returns at once; a full worker passes the bell on.

    Args:
        queue: The Celery queue that it was rung on.
        at: ISO 8601; None is now.
    """
    from runs.bootsteps import current  # web processes import this module for its names and need no worker

    worker = current()
    if worker is not None:
        worker.ring(queue, datetime.fromisoformat(at) if at else None)


@shared_task(name=CALLS_JOB, bind=True)
def calls(self: Any, message: str, signature: str) -> None:
    """Task runs of a flow run, for the processes of this worker (`runs.calls`)."""
    from runs.bootsteps import current  # as above

    worker = current()
    if worker is not None:
        worker.calls.take(message, signature, self.request.delivery_info.get("routing_key", ""))


@shared_task(name=bells.ECHO_JOB)
def echo(number: int) -> None:
    """A worker's bell to itself came back (`runs.canary`)."""
    from runs.bootsteps import current  # as above

    worker = current()
    if worker is not None:
        worker.canary.came_back(number)
