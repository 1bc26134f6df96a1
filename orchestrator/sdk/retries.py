"""How long to wait before a run is tried again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeAlias

Delays: TypeAlias = "float | Sequence[float] | Callable[[int], Sequence[float]] | None"

_TWO_TO_64 = 1 << 64


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Make delays that double from one retry to the next.

    Args:
        backoff_factor: The first delay in seconds.

    Returns:
        A value for `retry_delay_seconds`: for 3 retries `[factor, 2 * factor, 4 * factor]`.
    """

    def delays(retries: int) -> list[float]:
        return [backoff_factor * 2**retry for retry in range(retries)]

    return delays


def delay_before(retry: int, retries: int, delays: Delays, jitter_factor: float | None = None) -> float:
    """Return how many seconds to wait before a retry.

    Args:
        retry: Which retry, from 1.
        retries: How many there may be.
        delays: A number, a list (its last value repeats), a function from `retries` to either, or None.
        jitter_factor: Lengthens or shortens the delay at random, by a factor from `1 / (1 + jitter_factor)` to
            `1 + jitter_factor`, so that runs that failed together do not come back together.

    Returns:
        Seconds, never negative.

    Raises:
        Exception: Whatever a function among `delays` raises.
    """
    if callable(delays):
        delays = delays(retries)
    if delays is None:
        return 0.0
    if isinstance(delays, int | float):
        seconds = float(delays)
    else:
        seconds = float(delays[min(retry, len(delays)) - 1]) if delays else 0.0
    if jitter_factor:
        seconds *= (1 + jitter_factor) ** (2 * int.from_bytes(os.urandom(8)) / _TWO_TO_64 - 1)
    return max(0.0, seconds)
