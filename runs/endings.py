"""What follows in the transaction that ends runs: who runs again, what is told, and whose place is free."""

from collections.abc import Collection

from runs import crash_retries, limits
from runs.models import FlowRun
from runs.outbox import record_endings


def settle(runs: Collection[FlowRun], *, tell: bool = True) -> None:
    """Do what follows from the end of runs, with their rows locked, as they are then stored.

    A run that crashed and runs again has not ended: nobody is told, but its place is free.

    Args:
        runs: That entered a final state in this transaction, each once.
        tell: Whether a server runs that can be woken.

    Raises:
        DatabaseError, InterfaceError, RuntimeError: As `record_endings`.
    """
    again = crash_retries.run_again(runs, tell=tell)
    record_endings([run for run in runs if run not in again], tell=tell)
    if tell:
        limits.ring_freed(runs)
