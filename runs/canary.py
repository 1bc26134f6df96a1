"""Whether a worker hears: it rings a bell for itself through the broker, and waits for it to come back.

A consumer can be connected and deaf, as after a restart of the broker (celery #8030, #10205, #10302). Nothing else
notices, since a queue without messages is as silent. This bell goes the way of all others: broker, consumer, pool.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from django.utils import timezone

EVERY_SECONDS: Final = 8.0
DEAF_SECONDS: Final = 8.0  # an idle bell takes milliseconds


class Canary:
    """One worker's bell to itself; any thread may call.

    Attributes:
        heard_at: When the last one came back; None until the first did.
    """

    def __init__(self, ring: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Keep how it is rung: with a number that comes back with it."""
        self.heard_at: datetime | None = None
        self._ring = ring
        self._clock = clock
        self._number = 0
        self._rung_at: float | None = None
        self._is_out = False
        self._lock = threading.Lock()

    def look(self, is_connected: bool) -> bool:
        """Ring where it is time.

        Args:
            is_connected: Whether the consumer takes itself for connected. While it does not, nothing is expected.

        Returns:
            Whether the last bell did not come back: the connection is to be made anew. Said once for each bell.
        """
        with self._lock:
            now = self._clock()
            if not is_connected:
                self._is_out, self._rung_at = False, None
                return False
            silence = now - self._rung_at if self._rung_at is not None else EVERY_SECONDS
            is_deaf = self._is_out and silence >= DEAF_SECONDS
            if is_deaf:
                self._is_out, self._rung_at = False, now
                return True
            if self._is_out or silence < EVERY_SECONDS:
                return False
            self._number += 1
            self._is_out, self._rung_at = True, now
            number = self._number
        self._ring(number)
        return False

    def came_back(self, number: int) -> None:
        """The bell was heard; one from before is passed over."""
        with self._lock:
            if number == self._number and self._is_out:
                self._is_out = False
                self.heard_at = timezone.now()
