"""Work that ends in time whatever it waits for: a name server, a handshake, a byte a second."""

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Overdue(Exception):
    """The work was not done in time, and was told to stop."""


def within(seconds: float, work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Return what `work` returns, or raise what it raises.

    It runs in a thread of its own (60 µs): a timeout on a socket begins anew with each byte, and a name server's
    cannot be set at all. After `seconds`, `stop` is called in this thread, to end what the work waits for.

    Raises:
        Overdue: It was not done in time. Its thread ends when what it waits for does.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="within", daemon=True).start()
    concurrent.futures.wait([future], seconds)
    if not future.done():
        stop()
        raise Overdue
    return future.result()
