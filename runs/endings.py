"""What follows in the transaction that ends runs: who runs again, what is told, and whose place or slot is free."""

import logging
from collections.abc import Collection, Iterable
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, transaction

from runs import crash_retries, limits, slots
from runs.models import FlowRun
from runs.outbox import record_endings
from runs.task_rows import TaskRow
from runs.transitions import AWAITING_RETRY, FINAL_VALUES

logger = logging.getLogger(__name__)


def settle(
    runs: Collection[FlowRun],
    *,
    tell: bool = True,
    begun: Collection[FlowRun] = (),
    task_rows: Iterable[TaskRow] = (),
) -> None:
    """Do what follows from the end of runs, with their rows locked, as they are then stored.

    A run that crashed and runs again has not ended: nobody is told, but its place is free. Limits of tags are locked
    where slots are freed, so that nothing may take locks of runs after it.

    Args:
        runs: That entered a final state in this transaction, each once.
        tell: Whether a server runs that can be woken.
        begun: That went on with their next attempt.
        task_rows: Task runs that changed; those that ended or wait for their retry give their slots back.

    Raises:
        DatabaseError, InterfaceError, RuntimeError: As `record_endings`.
    """
    again = crash_retries.run_again(runs, tell=tell)
    record_endings([run for run in runs if run not in again], tell=tell)
    if tell:
        limits.ring_freed(runs)
    if slots.are_there():
        _free_slots(runs, begun, task_rows)


def _free_slots(runs: Collection[FlowRun], begun: Collection[FlowRun], task_rows: Iterable[TaskRow]) -> None:
    """Free slots. A fault of ours there is logged: no fact is to blame, and the sweep does it again."""
    over = {
        UUID(row.id): row.flow_attempt
        for row in task_rows
        if row.state_type in FINAL_VALUES or row.state_name == AWAITING_RETRY
    }
    try:
        with transaction.atomic():
            slots.free(ended={run.pk for run in runs}, begun={run.pk: run.attempt for run in begun}, task_runs=over)
    except (DataError, IntegrityError):
        logger.exception("The slots of %d flow runs and %d task runs were not freed", len(runs), len(over))
    except (DatabaseError, InterfaceError):
        raise
    except Exception:
        logger.exception("The slots of %d flow runs and %d task runs were not freed", len(runs), len(over))
