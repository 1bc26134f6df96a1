"""How long the drill waits for what is left when nothing goes wrong any more."""

import sys
from dataclasses import dataclass, field
from typing import Final

STILL_SECONDS: Final = 90.0  # in which nothing ended, nor any run wrote a word: what is left is stuck
BUSY_SECONDS: Final = 300.0  # in which nothing ended, while runs wrote: a slow machine, or runs that never get anywhere


@dataclass(slots=True)
class Patience:
    """Told what is left at each look, with the time of a monotonic clock (seconds), it says when to give up.

    Attributes:
        ended: When there was last less left than ever before.
        wrote: When the runs had last written something new.
    """

    ended: float
    wrote: float = 0.0
    _fewest: int = field(default=sys.maxsize, init=False)
    _written: int = field(default=0, init=False)

    def look(self, now: float, left: int | None, written: int) -> None:
        """Note how many are left (None: that cannot be read now), and how many bytes runs have written in all."""
        if left is not None and left < self._fewest:
            self._fewest, self.ended = left, now
        if written != self._written:
            self._written, self.wrote = written, now

    def is_out(self, now: float) -> bool:
        """Whether to wait no longer."""
        return now >= min(max(self.ended, self.wrote) + STILL_SECONDS, self.ended + BUSY_SECONDS)

    @property
    def is_busy(self) -> bool:
        """Whether runs were still at work long after one last ended."""
        return self.wrote > self.ended + STILL_SECONDS
