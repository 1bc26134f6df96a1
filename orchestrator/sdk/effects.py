"""What a machine asks its driver to do. A recorded fact is an effect too: yielding one records it.

Each effect says what the driver sends back. Effects that run user code send an `Outcome`; nothing that user code raises
is thrown into a machine. Only what interrupts the engine itself (Ctrl-C, SIGTERM, a deadline further out) is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Outcome:
    """How a call of user code ended: with a value, or with an error."""

    __slots__ = ("crashed", "error", "timed_out", "value")

    def __init__(
        self,
        value: Any = None,
        error: BaseException | None = None,
        timed_out: bool = False,
        crashed: bool = False,
    ) -> None:
        self.value = value
        self.error = error
        self.timed_out = timed_out
        self.crashed = crashed  #: whether the process that executed it is gone; `error` then says how


class Effect:
    """Base of what machines yield beside facts."""

    __slots__ = ()


class Call(Effect):
    """Call the run's function with its arguments, within the run's timeout. Sends an Outcome."""

    __slots__ = ()


class Begin(Effect):
    """Hand an attempt over to the process that executes it. Sends None once it has begun there, or never will."""

    __slots__ = ()


class Coerce(Effect):
    """Bind the flow run's arguments to its signature, fit them to its annotations. Sends an Outcome."""

    __slots__ = ()


class Resolve(Effect):
    """Wait for the futures among the run's arguments and put their values in. Sends the reason why not, or ""."""

    __slots__ = ()


class Join(Effect):
    """Wait for what the flow run submitted, after cancelling what has not begun if so asked. Sends None.

    Attributes:
        running: Whether what is under way is cancelled too.
    """

    __slots__ = ("cancel", "running", "wait")

    def __init__(self, cancel: bool = False, wait: bool = True, running: bool = False) -> None:
        self.cancel = cancel
        self.wait = wait
        self.running = running


class Invoke(Effect):
    """Call a small function of the user's: a hook, a name, a delay, a condition. Sends an Outcome."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments


class Sleep(Effect):
    """Let time pass. Sends None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class AskSlot(Effect):
    """Ask for a slot of each of the task run's tags that is limited. Sends why it must wait, "" where it need not."""

    __slots__ = ()


class WaitForSlot(Effect):
    """Wait until the slots that were asked for are granted. Sends None."""

    __slots__ = ()


class Say(Effect):
    """Print a log line on the terminal and record it with the run. Sends None.

    Attributes:
        speaker: What stands before the dash; the run itself where empty.
    """

    __slots__ = ("level", "message", "speaker")

    def __init__(self, level: int, message: str, speaker: str = "") -> None:
        self.level = level
        self.message = message
        self.speaker = speaker


BEGIN = Begin()
CALL = Call()
COERCE = Coerce()
RESOLVE = Resolve()
JOIN = Join()
ASK_SLOT = AskSlot()
WAIT_FOR_SLOT = WaitForSlot()
