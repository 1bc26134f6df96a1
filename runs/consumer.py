"""Celery's consumer, which outlives a broker that dies while messages are under way."""

import logging
from typing import Any

from celery.worker import consumer

_log = logging.getLogger(__name__)


class Consumer(consumer.Consumer):  # type: ignore[misc]  celery has no types
    """Gives up a broken connection whatever its closing raises: the worker, and its runs, would end with it.

    Kombu closes what was the connection's default channel once more when the transport has forgotten its address, and
    raises AttributeError where that channel has messages to put back (kombu #582).
    """

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        """Throw the connection away; a new one is made next."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:
            _log.info("What was left of the connection to the broker could not be closed: %r", error)
            self.connection: Any = None
