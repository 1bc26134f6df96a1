"""How many calls go in one message: one of a task that takes its time, many of one that is over in no time.

A message is taken by one worker. So calls share one only where all of them together take some hundredths of a second,
judged by those that came back; of a task of which none has come back yet, a few are sent ahead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from orchestrator.sdk.runners.call_wire import MAX_CALLS

MESSAGE_SECONDS: Final = 0.04  #: how long the calls of a message may take together
AHEAD: Final = 8  #: calls of an unknown task that are sent before one has come back …
BEGUN_SECONDS: Final = 0.03  #: … or has executed for so long …
SENT_SECONDS: Final = 0.5  #: … or none has begun for so long: nobody is there, or all are busy
_WEIGHT: Final = 0.3  #: of the newest call


class _Task:
    __slots__ = ("begun_at", "seconds", "sent", "sent_at")

    def __init__(self) -> None:
        self.seconds: float | None = None  #: that a call takes
        self.sent = 0
        self.sent_at = 0.0
        self.begun_at = 0.0


class Pace:
    """What is known of the tasks of a flow run. Not locked: its owner does that."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._tasks: dict[str, _Task] = {}
        self._clock = clock

    def room(self, task: str) -> int:
        """Return how many calls of a task may go in the next message; 0: wait a moment."""
        known = self._tasks.setdefault(task, _Task())
        if known.seconds is not None:
            return max(1, min(MAX_CALLS, int(MESSAGE_SECONDS / max(known.seconds, 1e-6))))
        now = self._clock()
        if known.sent < AHEAD:
            known.sent += 1
            known.sent_at = known.sent_at or now
            return 1
        since = now - known.begun_at if known.begun_at else now - known.sent_at
        return 1 if since > (BEGUN_SECONDS if known.begun_at else SENT_SECONDS) else 0

    def begun(self, task: str) -> None:
        """Note that a call executes."""
        known = self._tasks.get(task)
        if known is not None and not known.begun_at:
            known.begun_at = self._clock()

    def took(self, task: str, seconds: float) -> None:
        """Note for how long a call executed; one that took long counts at once."""
        known = self._tasks.setdefault(task, _Task())
        if known.seconds is None or seconds > known.seconds * 4:
            known.seconds = seconds
        else:
            known.seconds += _WEIGHT * (seconds - known.seconds)
