"""Futures: what `submit` and `map` return at once for a run that ends later."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, NoReturn, overload

from orchestrator.sdk import terminal
from orchestrator.sdk.interrupts import interruptible
from orchestrator.sdk.runners.base import free_slot, here
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.tracebacks import summary, user_frames

if TYPE_CHECKING:
    from queue import SimpleQueue

    from typing_extensions import TypeVar

    from orchestrator.sdk.runs import FlowRun, TaskRun

    R = TypeVar("R", default=Any)  # as in states.py
else:
    from typing import TypeVar

    R = TypeVar("R")

# One lock for all futures: held for a few instructions, and a lock each would double a future's size. Reentrant, since
# a signal handler of the user's may ask a future.
_lock = threading.RLock()
_ERROR = 40  # logging.ERROR, without importing logging


class Future(Generic[R]):
    """A run that was submitted.

    Attributes:
        run_id: Id of the task run, or of the flow run of a submitted subflow.
        name: The run's name.
    """

    __slots__ = ("__weakref__", "_callbacks", "_canceller", "_looked_at", "_run", "_state", "name", "run_id")

    def __init__(self, run: TaskRun | FlowRun) -> None:
        self.run_id = run.id
        self.name = run.name
        self._run: TaskRun | FlowRun | None = run
        self._state: State | None = None
        self._callbacks: list[Callable[[Future], object]] | None = None
        self._canceller: Callable[[bool], bool] | None = None
        self._looked_at = False

    @property
    def task_run_id(self) -> str:
        """The same as `run_id`."""
        return self.run_id

    @property
    def state(self) -> State[R]:
        """The run's latest state. Reading it once the run has ended counts as looking at how it ended."""
        if self._state is not None:
            self._looked_at = True
        return self.peek()

    @property
    def looked_at(self) -> bool:
        """Whether someone asked how the run ended."""
        return self._looked_at

    def peek(self) -> State[R]:
        """Return the run's latest state without counting as having looked at it."""
        run = self._run
        if self._state is not None:
            return self._state
        return (run.state if run is not None else None) or State(StateType.PENDING)

    def done(self) -> bool:
        """Whether the run has ended."""
        return self._state is not None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the run has ended.

        Args:
            timeout: Seconds after which to return anyway.
        """
        if self._state is None:
            block_until(lambda wake: self.add_done_callback(lambda _: wake()), timeout)

    @overload
    def result(self, timeout: float | None = ..., raise_on_failure: Literal[True] = ...) -> R: ...
    @overload
    def result(self, timeout: float | None = ..., *, raise_on_failure: bool) -> Any: ...
    @overload
    def result(self, timeout: float | None, raise_on_failure: bool) -> Any: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """Wait until the run has ended and return what its function returned.

        Args:
            timeout: Seconds to wait at most.
            raise_on_failure: Whether to raise the run's exception; otherwise it is returned.

        Raises:
            TimeoutError: The run has not ended in time.
            Exception: What the user's code raised, or an UnsuccessfulRun where it raised nothing.
        """
        self.wait(timeout)
        if self._state is None:
            raise TimeoutError(f"Run '{self.name}' ({self.run_id}) has not ended within {timeout} seconds.")
        self._looked_at = True
        try:
            return self._state.result(raise_on_failure)
        except BaseException as error:
            error.__traceback__ = user_frames(error.__traceback__)
            raise

    def add_done_callback(self, callback: Callable[[Future], object]) -> None:
        """Call a function with this future once the run has ended, at once if it has.

        It runs in whichever thread. What it raises is said on the terminal and changes nothing.
        """
        with _lock:
            if self._state is None:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        self._call(callback)

    def cancel(self) -> bool:
        """Cancel the run, also one that is under way.

        What has not begun, or waits (for a slot, its next attempt), ends at once; code where it awaits, or waits for a
        future. A function that executes in a thread cannot be stopped: its run ends, it is left behind with a warning.

        Returns:
            Whether the run ends, or has ended, CANCELLED; False where it ended in another way.
        """
        return self._ask_to_end(True)

    def call_off(self) -> bool:
        """Cancel the run unless it has begun. Returns whether it was cancelled."""
        return self._ask_to_end(False)

    def _ask_to_end(self, running: bool) -> bool:
        with _lock:
            canceller = self._canceller if self._state is None else None
        if canceller is not None and canceller(running):
            return True
        return running and self._state is not None and self._state.type is StateType.CANCELLED

    def finish(self, state: State) -> None:
        """Set how the run ended; the engine calls it once."""
        with _lock:
            self._state = state
            if self._run is not None:
                self.name = self._run.name
            callbacks, self._callbacks = self._callbacks, None
            self._run = self._canceller = None
        for callback in callbacks or ():
            self._call(callback)

    def _call(self, callback: Callable[[Future], object]) -> None:
        try:
            callback(self)
        except Exception as error:
            terminal.write(_ERROR, f"Run '{self.name}'", f"A done callback failed: {summary(error)}")

    def on_cancel(self, canceller: Callable[[bool], bool] | None) -> None:
        """Say how to cancel the run, also one that is running if it is called with True; the engine calls it."""
        self._canceller = canceller

    def __await__(self) -> Generator[Any, None, R]:
        """Wait without blocking the event loop, then return as `result()` does."""
        if self._state is None:
            yield from wait_in_loop(lambda wake: self.add_done_callback(lambda _: wake())).__await__()
        return self.result()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a copy in another process would never learn how the run ended."""
        raise TypeError("a future cannot be pickled: pass it as an argument of the task, which then gets its result")

    def __repr__(self) -> str:
        return f"<Future of run '{self.name}' {self.run_id}: {self.peek()!r}>"


class FutureList(list[Future[R]], Generic[R]):
    """The futures of a `map`, in the order of its arguments."""

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all runs have ended, or `timeout` seconds have passed."""
        wait(self, timeout)

    @overload
    def result(self, timeout: float | None = ..., raise_on_failure: Literal[True] = ...) -> list[R]: ...
    @overload
    def result(self, timeout: float | None = ..., *, raise_on_failure: bool) -> list[Any]: ...
    @overload
    def result(self, timeout: float | None, raise_on_failure: bool) -> list[Any]: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """Wait for all runs and return their results in order; see `Future.result`. The first failure is raised."""
        until = None if timeout is None else time.monotonic() + timeout
        try:
            return [future.result(_remaining(until), raise_on_failure) for future in self]
        except BaseException as error:
            error.__traceback__ = user_frames(error.__traceback__)
            raise


class DoneAndNotDoneFutures(NamedTuple):
    """What `wait` returns."""

    done: set[Future]
    not_done: set[Future]


def wait(futures: Iterable[Future], timeout: float | None = None) -> DoneAndNotDoneFutures:
    """Wait until all of these runs have ended.

    Args:
        futures: What `submit` and `map` returned.
        timeout: Seconds after which to return anyway.

    Returns:
        Two sets of futures, `done` and `not_done`.
    """
    futures = list(futures)
    until = None if timeout is None else time.monotonic() + timeout
    for future in futures:
        future.wait(_remaining(until))
    done = {future for future in futures if future.done()}
    return DoneAndNotDoneFutures(done, set(futures) - done)


@interruptible
def as_completed(futures: Iterable[Future[R]], timeout: float | None = None) -> Iterator[Future[R]]:
    """Yield futures in the order in which their runs end.

    Args:
        futures: What `submit` and `map` returned.
        timeout: Seconds that all of it may take.

    Raises:
        TimeoutError: Some have not ended in time.
    """
    from queue import Empty, SimpleQueue  # 2 ms at import

    waiting = set(futures)
    ended: SimpleQueue[Future[R]] = SimpleQueue()
    until = None if timeout is None else time.monotonic() + timeout
    total = len(waiting)
    for future in list(waiting):
        future.add_done_callback(ended.put)
    for count in range(total):
        try:
            future = ended.get_nowait()
        except Empty:
            try:
                future = _get(ended, _remaining(until))
            except Empty:
                raise TimeoutError(f"{total - count} of {total} runs have not ended within {timeout} s.") from None
        yield future


@interruptible
def _get(ended: SimpleQueue[Future[R]], timeout: float | None) -> Future[R]:
    """Wait for a future; raises Empty after the timeout, CancelRequested where this thread's own run is cancelled."""
    cancellation = here.cancellation
    with free_slot():
        if cancellation is None:
            return ended.get(timeout=timeout)
        with cancellation.waking(lambda: ended.put(None)):  # type: ignore[arg-type]
            future = ended.get(timeout=timeout)
            cancellation.check()
            return future


def _remaining(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


@interruptible
def block_until(register: Callable[[Callable[[], None]], object], timeout: float | None = None) -> bool:
    """Block this thread until it is woken.

    A worker thread of a task runner lets another take its place meanwhile, so that waiting for a future inside a task
    cannot use up the workers.

    Args:
        register: Called once, with the function that wakes this thread.
        timeout: Seconds to wait at most.

    Returns:
        Whether it was woken.

    Raises:
        CancelRequested: The run that this thread executes is cancelled.
    """
    gate = threading.Lock()
    gate.acquire()
    register(partial(_open, gate))
    if gate.acquire(blocking=False):
        return True
    seconds = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
    cancellation = here.cancellation
    with free_slot():
        if cancellation is None:
            return gate.acquire(timeout=seconds)
        with cancellation.waking(partial(_open, gate)):
            woken = gate.acquire(timeout=seconds)
            cancellation.check()
            return woken


def _open(gate: threading.Lock) -> None:
    try:
        gate.release()
    except RuntimeError:  # opened already
        pass


async def wait_in_loop(register: Callable[[Callable[[], None]], object]) -> None:
    """Wait until woken, leaving the event loop free; see `block_until`."""
    import asyncio  # 40 ms at import; whoever waits in a loop has it

    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def finish() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the loop was closed: nobody waits any more
            pass

    register(wake)
    await waiter


class Submitted:
    """What a flow run has submitted: what is still going on, and what failed without anyone having looked yet."""

    __slots__ = ("_failed", "_going", "_wakers")

    def __init__(self) -> None:
        self._going: set[Future] = set()
        self._failed: list[Future] = []
        self._wakers: list[Callable[[], None]] = []

    def add(self, future: Future) -> None:
        """Keep a future in sight until its run has ended."""
        with _lock:
            self._going.add(future)

    def ended(self, future: Future) -> None:
        """Note that a run has ended; called after its future was finished."""
        with _lock:
            self._going.discard(future)
            wakers: list[Callable[[], None]] = []
            if not self._going:
                wakers, self._wakers = self._wakers, wakers
        for wake in wakers:
            wake()

    def failed(self, future: Future) -> None:
        """Note that a run has failed or crashed."""
        with _lock:
            self._failed.append(future)

    def when_idle(self, wake: Callable[[], None]) -> None:
        """Call a function once nothing is going on, at once if nothing is."""
        with _lock:
            if self._going:
                self._wakers.append(wake)
                return
        wake()

    def cancel(self, running: bool = False) -> None:
        """Cancel everything that has not begun, or that is running too."""
        with _lock:
            going = list(self._going)
        for future in going:
            _ = future.cancel() if running else future.call_off()

    def unhandled(self) -> list[Future]:
        """Return the failed runs that nobody looked at, in the order of their submission (ids rise with time)."""
        return sorted((future for future in self._failed if not future.looked_at), key=lambda future: future.run_id)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
