"""Bells: wake-ups that go to workers through Celery. They carry no work, so a lost or doubled one changes nothing.

A bell names a work queue; whoever hears it claims (`runs.claims`). A bell for later is held by the worker that took it
until its time. Workers also look by themselves every second, so a bell only makes things quick.
"""

import logging
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.models import WorkQueue
    from runs.models import FlowRun

RING_JOB: Final = "runs.jobs.ring"
CANCEL_COMMAND: Final = "orchestrator_cancel"
EXPIRE_SECONDS: Final = 60  # an unheard bell is dropped after this; the tick rings again
# One quick second try, over a new connection: the broker may have been restarted since the last bell.
_RETRY: Final = {"max_retries": 2, "interval_start": 0, "interval_step": 0.05, "interval_max": 0.1}

_log = logging.getLogger(__name__)


def ring(queue: "WorkQueue", at: datetime | None = None) -> None:
    """Wake a worker for a queue once the transaction has committed; with `at`, for a run that is due then."""
    transaction.on_commit(partial(send, queue.celery_queue, at))


def send(celery_queue: str, at: datetime | None = None) -> None:
    """Ring now. Never raises: without a broker the workers' own sweep finds the run."""
    arguments = {"queue": celery_queue, "at": at.isoformat() if at else None}
    _deliver(
        lambda app: app.send_task(
            RING_JOB, kwargs=arguments, queue=celery_queue, expires=EXPIRE_SECONDS, retry_policy=_RETRY
        )
    )


def send_unheard(celery_queue: str) -> None:
    """Ring now, unless earlier bells still lie there unheard: a queue without workers does not pile them up."""
    _deliver(lambda app: None if _waiting(app, celery_queue) else send(celery_queue))


def _waiting(app: Any, celery_queue: str) -> int:
    """How many bells of a queue nobody took yet."""
    with app.pool.acquire(block=True) as connection, connection.channel() as channel:
        return int(channel._size(celery_queue))  # a passive declaration raises for an empty queue


def ring_cancel(run: "FlowRun") -> None:
    """Tell the worker that has this run, once the transaction has committed, that somebody asked to cancel it."""
    transaction.on_commit(partial(send_cancel, run.pk))


def send_cancel(run_id: UUID) -> None:
    """Tell every worker now; the one that has the run looks at its row. Never raises: leases are a sweep behind it."""
    _deliver(lambda app: app.control.broadcast(CANCEL_COMMAND, arguments={"run": str(run_id)}))


def _deliver(send_to: "Callable[[Any], object]") -> None:
    if not settings.BROKER_URL and not settings.HOME.broker_socket.exists():
        return  # no server runs on this home
    # 0.2 s and 20 MB, which a reader of the database does not pay.
    from kombu.exceptions import KombuError
    from redis.exceptions import RedisError

    from orchestrator.celery import app

    try:
        send_to(app)
    except (OSError, KombuError, RedisError) as error:
        _log.info("The broker did not take a wake-up: %s", error)
