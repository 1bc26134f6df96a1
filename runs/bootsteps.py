"""What `celery -A orchestrator worker` starts besides Celery itself: the runs' places, and the ear for their bells."""

import logging
import os
import socket
import sys
import time
from typing import Any, Final

from celery import bootsteps
from celery.worker import state
from celery.worker.control import control_command
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import Error, connection

from orchestrator.preparedness import NOT_PREPARED, is_prepared
from runs import bells, workers
from runs.calls.keys import STOP_COMMAND
from runs.calls.signing import WorkerKey
from runs.models import Worker
from runs.supervision.base import Unreachable
from runs.supervision.database import DatabaseSupervision
from runs.supervision.http import HttpSupervision, Refused
from runs.worker import RunWorker

SIGN_ON_SECONDS: Final = 2.0  # between tries while the server is away

_log = logging.getLogger(__name__)
_worker: RunWorker | None = None


def current() -> RunWorker | None:
    """Return this process's worker, if it is one."""
    return _worker


class RunStep(bootsteps.StartStopStep):
    """Starts before the consumer, so that what it hears finds a run host; stops after it, so that it hears no more."""

    name = "Runs"
    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        """Make the worker; nothing starts yet. Ends the process in one line when the database is not ready for it."""
        super().__init__(parent, **options)
        global _worker
        key = WorkerKey()
        make = _over_http if settings.WITHOUT_DATABASE else _over_database
        supervision = make(parent.hostname, key.public)
        _worker = self.worker = RunWorker(parent.hostname, supervision, settings.WORKER_PLACES, key)

    def start(self, parent: Any) -> None:
        """Start the run host and the threads; a server that is away is waited for."""
        while True:
            try:
                return self.worker.start()
            except Refused as error:
                sys.exit(f"Error: {error}")
            except Unreachable as error:
                if not settings.WITHOUT_DATABASE:
                    raise
                _log.error("Waiting for the server: %s", error)
            time.sleep(SIGN_ON_SECONDS)
            state.maybe_shutdown()

    def stop(self, parent: Any) -> None:
        """Let runs end for a while, then stop them (warm shutdown); a second signal cuts it short."""
        self.worker.stop(settings.WORKER_GRACE_SECONDS, hurry=lambda: state.should_terminate is not None)

    def terminate(self, parent: Any) -> None:
        """Stop what runs at once (cold shutdown)."""
        self.worker.stop(0)


def _over_http(name: str, key: str) -> HttpSupervision:
    about: dict[str, Any] = {
        "name": name,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "places": settings.WORKER_PLACES,
    }
    about |= {"queues": settings.WORKER_QUEUES, "calls_key": key}
    return HttpSupervision(settings.HOME, settings.API_URL, settings.API_TOKEN, about)


def _over_database(name: str, key: str) -> DatabaseSupervision:
    """Ends the process in one line when the database is not ready, or has no queue of a name."""
    row = Worker(name=name, host=socket.gethostname(), pid=os.getpid(), places=settings.WORKER_PLACES)
    row.calls_key = key
    try:
        if not is_prepared():
            sys.exit(f"Error: {NOT_PREPARED}")
        row.queues = [str(queue.pk) for queue in workers.queues_named(settings.WORKER_QUEUES)]
    except ValidationError as error:
        sys.exit(f"Error: {' '.join(error.messages)}")
    except Error as error:
        sys.exit(f"Error: The database cannot be used: {str(error).strip().partition(chr(10))[0]}")
    finally:
        connection.close()  # the worker's threads have connections of their own
    return DatabaseSupervision(row)


class BellStep(bootsteps.StartStopStep):
    """Listens on the work queues' Celery queues, again after each reconnection."""

    name = "Bells"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """The consumer is connected."""
        if _worker is not None:
            _worker.listening.connect(parent)
            _worker.heard()

    def stop(self, parent: Any) -> None:
        """The connection is lost, or the worker stops."""
        if _worker is not None:
            _worker.listening.disconnect()


@control_command(name=bells.CANCEL_COMMAND, args=[("run", str)])
def cancel_run(panel: Any, run: str = "") -> None:
    """Somebody asked to cancel a run: whoever has it looks at its row now."""
    if _worker is not None:
        _worker.asked_to_cancel(run)


@control_command(name=STOP_COMMAND, args=[("run", str), ("calls", list), ("kill", bool)])
def stop_calls(panel: Any, run: str = "", calls: Any = (), kill: bool = True) -> None:
    """A flow run wants these task runs no more, or none at all."""
    if _worker is not None:
        _worker.calls.stop_calls(run, list(calls), kill=kill)
