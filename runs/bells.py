"""Bells: wake-ups that go to workers through Celery. They carry no work, so a lost or doubled one changes nothing.

A bell names a work queue; whoever hears it claims (`runs.claims`). A bell for later is held by the worker that took it
until its time. Workers also look by themselves every second, so a bell only makes things quick.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from django.db import transaction

from orchestrator.telling import has_broker

if TYPE_CHECKING:
    from celery import Celery

    from flows.models import WorkQueue
    from runs.models import FlowRun

RING_JOB: Final = "runs.jobs.ring"
ECHO_JOB: Final = "runs.jobs.echo"
CANCEL_COMMAND: Final = "orchestrator_cancel"
EXPIRE_SECONDS: Final = 60  # an unheard bell is dropped after this; the tick rings again
# One quick second try, over a new connection: the broker may have been restarted since the last bell.
_RETRY: Final = {"max_retries": 2, "interval_start": 0, "interval_step": 0.05, "interval_max": 0.1}

MAX_WAITING: Final = 1000
Message: TypeAlias = "Callable[[Celery], object]"

_log = logging.getLogger(__name__)


def ring(queue: "WorkQueue", at: datetime | None = None) -> None:
    """Wake a worker for a queue once the transaction has committed; with `at`, for a run that is due then."""
    transaction.on_commit(partial(send, queue.celery_queue, at))


def send(celery_queue: str, at: datetime | None = None) -> None:
    """Ring now. Returns at once and never raises: without a broker the workers' own sweep finds the run."""
    arguments = {"queue": celery_queue, "at": at.isoformat() if at else None}
    _post(partial(_ring, celery_queue, arguments))


def send_unheard(celery_queue: str) -> None:
    """Ring now, unless earlier bells still lie there unheard: a queue without workers does not pile them up."""
    _post(partial(_ring_if_silent, celery_queue, {"queue": celery_queue, "at": None}))


def own_queue(worker_name: str) -> str:
    """Return the Celery queue on which this worker alone listens."""
    return f"orchestrator.worker.{worker_name}"


def send_echo(celery_queue: str, number: int) -> None:
    """Ring a bell that a worker wants back (`runs.canary`)."""
    _post(partial(_send_echo, celery_queue, number))


def ring_cancel(run: "FlowRun") -> None:
    """Tell the worker that has this run, once the transaction has committed, that somebody asked to cancel it."""
    transaction.on_commit(partial(send_cancel, run.pk))


def send_cancel(run_id: UUID) -> None:
    """Tell every worker; the one that has the run looks at its row now. Renewing leases is the sweep behind it."""
    _post(partial(_broadcast, {"run": str(run_id)}))


def send_job(name: str, **arguments: Any) -> None:
    """Have a worker call one of Celery's functions now. Returns at once and never raises, like every bell."""
    _post(partial(_send_job, name, arguments))


def post(message: "Message") -> None:
    """Have the thread that sends do something with Celery's application. Returns at once and never raises."""
    _post(message)


def _send_echo(celery_queue: str, number: int, app: "Celery") -> None:
    app.send_task(ECHO_JOB, [number], queue=celery_queue, expires=EXPIRE_SECONDS, retry_policy=_RETRY)


def _send_job(name: str, arguments: dict[str, Any], app: "Celery") -> None:
    app.send_task(name, kwargs=arguments, expires=EXPIRE_SECONDS, retry_policy=_RETRY)


def _ring(celery_queue: str, arguments: dict[str, Any], app: "Celery") -> None:
    app.send_task(RING_JOB, kwargs=arguments, queue=celery_queue, expires=EXPIRE_SECONDS, retry_policy=_RETRY)


def _ring_if_silent(celery_queue: str, arguments: dict[str, Any], app: "Celery") -> None:
    with app.pool.acquire(block=True) as connection, connection.channel() as channel:
        waiting = channel._size(celery_queue)  # a passive declaration raises for an empty queue
    if not waiting:
        _ring(celery_queue, arguments, app)


def _broadcast(arguments: dict[str, Any], app: "Celery") -> None:
    app.control.broadcast(CANCEL_COMMAND, arguments=arguments)


def _post(message: "Message") -> None:
    if not has_broker():
        return
    try:
        _sender(os.getpid()).put_nowait(message)
    except Full:
        _log.info("The broker is slow: a wake-up was dropped.")


@cache
def _sender(pid: int) -> "Queue[Message]":
    """Return the queue of the thread that sends, so that a slow broker holds up nobody's commit. One a process."""
    messages: Queue[Message] = Queue(MAX_WAITING)
    threading.Thread(target=_send_all, args=[messages], name="bells", daemon=True).start()
    return messages


def _send_all(messages: "Queue[Message]") -> None:
    # 0.2 s and 20 MB, which a reader of the database does not pay.
    from kombu.exceptions import KombuError
    from redis.exceptions import RedisError

    from orchestrator.celery import app

    while True:
        message = messages.get()
        try:
            message(app)
        except (OSError, KombuError, RedisError) as error:
            _log.info("The broker did not take a wake-up: %s", error)
