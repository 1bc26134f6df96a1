"""What facts say about the memory and the processors that an attempt used, as values for its rows."""

import math
from typing import Final
from uuid import UUID

from orchestrator.sdk.events import Exited, Resources
from runs import bounds
from runs.models import Attempt, ResourceSample

_MAX_BYTES: Final = 2**62
_MAX_SECONDS: Final = 1e9


def sample(fact: Resources, run_id: UUID) -> ResourceSample:
    """Return the row of a sample; absurd values are cut."""
    return ResourceSample(
        flow_run_id=run_id,
        attempt=bounds.integer(fact.attempt),
        time=bounds.moment(fact.t),
        cpu=_number(fact.cpu),
        memory_bytes=bounds.integer(fact.memory, _MAX_BYTES),
    )


def keep_peak(attempt: Attempt, fact: Resources | Exited) -> None:
    """Note on an attempt what a fact says it used so far: a supervisor's last word may know less than its samples."""
    peak, seconds = bounds.integer(fact.peak, _MAX_BYTES), _number(fact.cpu_seconds)
    if peak:
        attempt.peak_memory_bytes = max(peak, attempt.peak_memory_bytes or 0)
    if seconds:
        attempt.cpu_seconds = max(seconds, attempt.cpu_seconds or 0.0)


def _number(value: float) -> float:
    return min(max(0.0, value), _MAX_SECONDS) if math.isfinite(value) else 0.0
