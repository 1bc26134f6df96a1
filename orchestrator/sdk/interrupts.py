"""What ends a run from outside: Ctrl-C, `sys.exit`, SIGTERM, a deadline further out."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NoReturn, TypeVar

from orchestrator.sdk.cancellation import CancelRequested
from orchestrator.sdk.causes import CANCELLED, OF_REASON, Cause
from orchestrator.sdk.states import StateType
from orchestrator.sdk.tracebacks import is_engine


def _word_beside_the_journal() -> str:
    """Return why a script was sent SIGTERM, as far as whoever reads its journal has said so."""
    from orchestrator.sdk import journal  # at the end of a process; keeps this module light for tests

    return CANCELLED if journal.current().is_cancelled else ""


# Why a supervisor stops this process, as far as it says: a run host's child puts its host's word here.
stop_reason: Callable[[], str] = _word_beside_the_journal


class Terminated(BaseException):
    """SIGTERM came. Raised in the main thread, so that user code can clean up in its `finally` blocks."""


class Deadline(BaseException):
    """A timeout has passed. Not an Exception, so that `except Exception` in user code does not swallow it.

    Attributes:
        owner: The object that the timeout was set for.
    """

    def __init__(self, owner: object) -> None:
        super().__init__("the timeout of a run further out has passed")
        self.owner = owner


def describe_interrupt(error: BaseException, is_root: bool) -> tuple[StateType, str]:
    """Return the state's type and message for a run that an interrupt has ended."""
    if type(error).__name__ == "CancelledError" and not is_root:  # asyncio's; importing asyncio costs 40 ms
        return StateType.CANCELLED, "Cancelled by the event loop"
    if isinstance(error, CancelRequested):
        return StateType.CANCELLED, "Cancelled by the code that submitted it"
    if isinstance(error, Terminated) or sigterm.received:
        if stop_reason() == CANCELLED:
            return StateType.CANCELLED, "Cancelled on request"
        return StateType.CRASHED, stop_reason() or "Terminated by SIGTERM"
    if isinstance(error, Deadline):
        return StateType.CRASHED, "Ended by the timeout of a run further out"
    if isinstance(error, SystemExit):
        return StateType.CRASHED, f"Exited by SystemExit({error.code!r})"
    return StateType.CRASHED, f"Interrupted by {type(error).__name__}"


def crash_cause(error: object) -> Cause:
    """Return why an attempt crashed that an interrupt has ended."""
    if isinstance(error, Terminated) or sigterm.received:
        return OF_REASON.get(stop_reason(), Cause.SIGNAL)
    return Cause.OUT_OF_MEMORY if isinstance(error, MemoryError) else Cause.EXIT


F = TypeVar("F", bound=Callable[..., Any])

_interruptible: set[CodeType] = set()


def interruptible(function: F) -> F:
    """Mark a function of the engine in which a deadline may raise: one that waits, or calls user code.

    Elsewhere in the engine a deadline tries again a moment later, so that nothing is left half done.
    """
    _interruptible.add(function.__code__)
    return function


def may_raise_in(frame: FrameType | None) -> bool:
    """Whether a deadline may raise where the main thread is: in user code, or in an interruptible function."""
    while frame is not None:
        if is_engine(frame.f_code.co_filename):
            return frame.f_code in _interruptible
        frame = frame.f_back
    return True


class Sigterm:
    """Turns SIGTERM into an ending that is recorded, where user code has no handler of its own."""

    def __init__(self) -> None:
        self.received = False
        self._armed = 0
        self._mask: set[int] | None = None

    def arm(self) -> bool:
        """Watch for SIGTERM. Returns whether this call must be undone by `disarm`."""
        if threading.current_thread() is not threading.main_thread():
            return False
        if self._armed == 0:
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                return False
            signal.signal(signal.SIGTERM, self._on_signal)
        self._armed += 1
        return True

    def disarm(self) -> None:
        """Stop watching; if SIGTERM came, die of it now."""
        if self._armed == 0:  # in a forked child
            return
        self._armed -= 1
        if self._armed:
            return
        if signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self.received:
            self._die()

    def before_fork(self) -> None:
        """Hold SIGTERM back: Python throws away what comes to a child before it has its own handlers."""
        if self._armed:
            self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}))

    def after_fork(self) -> None:
        """Let SIGTERM come again."""
        mask, self._mask = self._mask, None
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def after_fork_in_child(self) -> None:
        """Let SIGTERM end a child as it would any process: multiprocessing's pools end theirs so."""
        if self._armed and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._armed = 0
        self.received = False
        self.after_fork()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        self.received = True
        raise Terminated

    def _die(self) -> NoReturn:
        from orchestrator.sdk import journal  # at the end of a process; keeps this module light for tests

        journal.close()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        raise SystemExit(128 + signal.SIGTERM)  # where the signal is blocked


sigterm = Sigterm()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=sigterm.before_fork,
        after_in_parent=sigterm.after_fork,
        after_in_child=sigterm.after_fork_in_child,
    )
