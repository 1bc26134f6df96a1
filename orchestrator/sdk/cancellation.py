"""Whether what a thread executes was asked to end, and how the asking reaches it where the engine waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CancelRequested(BaseException):
    """`future.cancel()` ends this run. No Exception, so that `except Exception` in user code does not swallow it."""

    def __init__(self) -> None:
        super().__init__("the run was cancelled by the code that submitted it")


class Cancellation:
    """What a submitted run is cancelled by; every thread and event loop that executes it looks here.

    Attributes:
        asked: Whether the run is to end.
    """

    __slots__ = ("_lock", "_wakers", "asked")

    def __init__(self) -> None:
        # Reentrant: a signal handler of the user's may cancel in the thread that holds it.
        self._lock = threading.RLock()
        self._wakers: list[Callable[[], object]] | None = None
        self.asked = False

    def check(self) -> None:
        """Raise CancelRequested where the run is to end."""
        if self.asked:
            raise CancelRequested

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Have something called when the run is asked to end inside the block; raises CancelRequested if it was."""
        with self._lock:
            self.check()
            if self._wakers is None:
                self._wakers = []
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)

    def wake(self) -> bool:
        """Wake what waits, once `asked` is set. Returns whether anything did."""
        with self._lock:
            wakers = list(self._wakers or ())
        for wake in wakers:
            wake()
        return bool(wakers)
