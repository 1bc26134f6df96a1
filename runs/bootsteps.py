"""What `celery -A orchestrator worker` starts besides Celery itself: the runs' places, and the ear for their bells."""

import os
import socket
import sys
from typing import Any

from celery import bootsteps
from celery.worker import state
from celery.worker.control import control_command
from django.conf import settings
from django.db import Error, connection

from orchestrator.preparedness import NOT_PREPARED, is_prepared
from runs import bells
from runs.models import Worker
from runs.supervision.database import DatabaseSupervision
from runs.worker import RunWorker

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
        _check_database()
        super().__init__(parent, **options)
        global _worker
        row = Worker(name=parent.hostname, host=socket.gethostname(), pid=os.getpid(), places=settings.WORKER_PLACES)
        _worker = self.worker = RunWorker(DatabaseSupervision(row), settings.WORKER_PLACES)

    def start(self, parent: Any) -> None:
        """Start the run host and the threads."""
        self.worker.start()

    def stop(self, parent: Any) -> None:
        """Let runs end for a while, then stop them (warm shutdown); a second signal cuts it short."""
        self.worker.stop(settings.WORKER_GRACE_SECONDS, hurry=lambda: state.should_terminate is not None)

    def terminate(self, parent: Any) -> None:
        """Stop what runs at once (cold shutdown)."""
        self.worker.stop(0)


def _check_database() -> None:
    try:
        if not is_prepared():
            sys.exit(f"Error: {NOT_PREPARED}")
    except Error as error:
        sys.exit(f"Error: The database cannot be used: {str(error).strip().partition(chr(10))[0]}")
    finally:
        connection.close()  # the worker's threads have connections of their own


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
