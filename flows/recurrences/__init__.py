"""The kinds of schedule, a module each; `flows.schedules` chooses among them by name.

Each module has `parse(expression, zone, anchor)`, which raises ValueError with what to write instead, and returns an
object with these two methods.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol


class Recurrence(Protocol):
    """Times that recur."""

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one: aware, UTC, strictly increasing; maybe without end."""

    def describe(self) -> str:
        """These times in plain words, without a capital and without a full stop."""


def spoken(words: list[str]) -> str:
    """Join words as they are said: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
