"""What a benchmark gives back: rows with their bounds, and the statistics in them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


class BenchmarkError(Exception):
    """Nothing was measured, or what was measured does not count; the message says why, in one line."""


class NotHereError(BenchmarkError):
    """This machine lacks what the benchmark needs: it is skipped, and no number is missed."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a measurement has to hold."""

    value: float
    at_least: bool = False

    def holds(self, measured: float) -> bool:
        """Whether the measurement is within the bound."""
        return measured >= self.value if self.at_least else measured <= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. The measurement is the median of its values."""

    what: str
    unit: str
    values: tuple[float, ...] = ()  #: one a round, or one in all
    bound: Bound | None = None
    note: str = ""
    problem: str = ""  #: why it was not measured, or does not count
    others_cores: float | None = None  #: how many cores others used meanwhile; None until it is known
    skipped: bool = False  #: with a problem: something that this machine lacks, so that it is no failure

    @property
    def measured(self) -> float:
        """The median of the rounds; not a number without any."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def holds(self) -> bool | None:
        """Whether the bound is held; None where there is none to hold."""
        if self.problem:
            return None if self.skipped else False
        return self.bound.holds(self.measured) if self.bound else None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
