"""One thread for all delays of a process: what waits for its time holds no thread of its own."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Final

THREAD_NAME: Final = "orchestrator-timers"


class _Timers:
    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._started = False

    def add(self, seconds: float, action: Callable[[], None]) -> None:
        with self._condition:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))
            if not self._started:
                self._started = True
                threading.Thread(target=self._work, name=THREAD_NAME, daemon=True).start()
            self._condition.notify()

    @property
    def idle(self) -> bool:
        with self._condition:
            return not self._due

    def _work(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], None]:
        with self._condition:
            while True:
                now = time.monotonic()
                if self._due and self._due[0][0] <= now:
                    return heapq.heappop(self._due)[2]
                self._condition.wait(self._due[0][0] - now if self._due else None)


_timers = _Timers()


def nothing_waits() -> bool:
    """Return whether no call waits for its time."""
    return _timers.idle


def call_later(seconds: float, action: Callable[[], None]) -> None:
    """Call a quick function after a delay, in the thread of the timers."""
    _timers.add(seconds, action)


def _after_fork() -> None:
    global _timers
    _timers = _Timers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
