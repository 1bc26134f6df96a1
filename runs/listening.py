"""Which Celery queues a worker listens on: its own, and one for every work queue but while it is full."""

import logging
import threading
from collections.abc import Collection
from typing import Any

from runs.calls.keys import calls_beside

_log = logging.getLogger(__name__)


class Listening:
    """Keeps the Celery consumer's queues as wanted: wanted from any thread, and done in the consumer's."""

    def __init__(self, own_queue: str) -> None:
        """Keep the name of the worker's own queue, on which it always listens."""
        self._own_queue = own_queue
        self._consumer: Any = None  # celery.worker.consumer.Consumer
        self._queues: frozenset[str] = frozenset()
        self._open = True
        self._calls_open = True
        self._lock = threading.Lock()

    def connect(self, consumer: Any) -> None:
        """The consumer (re)connected; called in its own thread."""
        self._consumer = consumer
        self._apply()

    def disconnect(self) -> None:
        """The consumer stops."""
        self._consumer = None

    @property
    def is_connected(self) -> bool:
        """Whether the consumer takes itself for connected."""
        return self._consumer is not None

    def reconnect(self) -> None:
        """Have the consumer make its connection anew: it treats this as it treats one that broke."""
        consumer = self._consumer
        if consumer is not None:
            consumer.call_soon(_break_off)

    def want(self, queues: Collection[str]) -> None:
        """Listen on these Celery queues."""
        wanted = frozenset(queues)
        with self._lock:
            if wanted == self._queues:
                return
            self._queues = wanted
        self._soon()

    def set_open(self, is_open: bool) -> None:
        """Listen (there are free places), or leave the bells to other workers."""
        with self._lock:
            if is_open == self._open:
                return
            self._open = is_open
        self._soon()

    def set_calls_open(self, is_open: bool) -> None:
        """Take task runs of the same work queues (there is room), or leave them to other workers."""
        with self._lock:
            if is_open == self._calls_open:
                return
            self._calls_open = is_open
        self._soon()

    @property
    def call_queues(self) -> frozenset[str]:
        """The Celery queues of task runs, whether or not it listens on them now."""
        return frozenset(map(calls_beside, self._queues))

    def _soon(self) -> None:
        consumer = self._consumer
        if consumer is not None:
            consumer.call_soon(self._apply)

    def _apply(self) -> None:
        """Make the consumer's queues those that are wanted (each new one costs the broker one command)."""
        consumer = self._consumer
        if consumer is None or not consumer.task_consumer:
            return
        wanted = {self._own_queue, *(self._queues if self._open else ())}
        wanted |= self.call_queues if self._calls_open else frozenset()
        kept = {consumer.app.conf.task_default_queue, self._own_queue}
        now = {queue.name for queue in consumer.task_consumer.queues}
        for name in wanted - now:
            consumer.add_task_queue(name)
        for name in now - wanted - kept:
            consumer.cancel_task_queue(name)


def _break_off() -> None:
    raise ConnectionResetError("a bell to itself did not come back")
