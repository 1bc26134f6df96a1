"""What follows in the transaction that ends runs: what is to be told is written down, and freed places are rung out."""

from collections.abc import Collection

from runs import limits
from runs.models import FlowRun
from runs.outbox import record_endings


def settle(runs: Collection[FlowRun], *, tell: bool = True) -> None:
    """Do what follows from the end of runs, with their rows locked, as they are then stored.

    Args:
        runs: That entered a final state in this transaction, each once.
        tell: Whether a server runs that can be woken.

    Raises:
        DatabaseError, InterfaceError, RuntimeError: As `record_endings`.
    """
    record_endings(runs, tell=tell)
    if tell:
        limits.ring_freed(runs)
