"""Hands runs that ended to whoever keeps an outbox: in the transaction that records it."""

import logging
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError
from django.utils.module_loading import import_string

from runs.models import FlowRun

logger = logging.getLogger(__name__)


def record_endings(runs: Collection[FlowRun], *, tell: bool = True) -> None:
    """Have `settings.STATE_OUTBOX` called with runs that entered a final state in this transaction.

    Call it with the rows locked, as they are then stored. A run that was final before is not passed: its end was told.

    Args:
        runs: That ended, each once; times of a schedule that were skipped never ran and are not told.
        tell: Whether a server runs that can be woken for what is to be told.

    Raises:
        DatabaseError, InterfaceError, RuntimeError: The transaction cannot go on, and may be tried again. Any other
            fault of the outbox is logged and goes no further: facts do not hang on what is told about them.
    """
    if runs:
        _call(settings.STATE_OUTBOX, runs, tell=tell)


def record_mark(event: str, said: Collection[tuple[FlowRun, str]]) -> None:
    """Have `settings.MARK_OUTBOX` called with runs that were marked in this transaction, their rows locked.

    Args:
        event: LATE, OVERRAN or MISSED_DEADLINE.
        said: The runs as they are stored, each with the reason in words.

    Raises:
        DatabaseError, InterfaceError, RuntimeError: As `record_endings`.
    """
    if said:
        _call(settings.MARK_OUTBOX, event, said)


def _call(name: str, *arguments: Any, **options: Any) -> None:
    try:
        import_string(name)(*arguments, **options)
    except (DataError, IntegrityError) as error:
        raise RuntimeError(f"{name} broke the transaction") from error  # ingest would blame the facts
    except (DatabaseError, InterfaceError):
        raise
    except Exception:
        logger.exception("%s failed; what it was to record is told to nobody", name)
