"""Bells that wake a sender. They carry no work: the sweep (`notifications.jobs`) stands behind each of them.

A process rings at most once every `EVERY_SECONDS`, for all destinations at once: hundreds of runs that fail together
would else cost their ingest hundreds of messages to the broker, and the workers as many looks at the same rows.
"""

import os
import threading
import time
from collections.abc import Collection
from functools import cache, partial
from typing import Final
from uuid import UUID

from django.db import transaction

from runs import bells

DELIVER_JOB: Final = "notifications.jobs.deliver"
EVERY_SECONDS: Final = 0.2


def ring(destination_ids: Collection[UUID]) -> None:
    """Wake a sender for each of these destinations once the transaction has committed; nothing is ever raised."""
    if destination_ids:
        transaction.on_commit(partial(_send, frozenset(destination_ids)))


def _send(destination_ids: frozenset[UUID]) -> None:
    _ringing(os.getpid()).ring(destination_ids)


class _Ringing:
    """A thread that rings at once after a silence, else as soon as it may again; one a process."""

    def __init__(self) -> None:
        self._waiting: set[UUID] = set()
        self._changed = threading.Condition()
        threading.Thread(target=self._loop, name="notification bells", daemon=True).start()

    def ring(self, destination_ids: Collection[UUID]) -> None:
        with self._changed:
            self._waiting.update(destination_ids)
            self._changed.notify()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                destination_ids, self._waiting = self._waiting, set()
            bells.send_job(DELIVER_JOB, destinations=sorted(map(str, destination_ids)))
            time.sleep(EVERY_SECONDS)


@cache
def _ringing(pid: int) -> _Ringing:
    return _Ringing()
