"""Hands runs that ended, or began to be late, to whoever keeps an outbox: in the transaction that records it."""

from collections.abc import Collection

from django.conf import settings
from django.utils.module_loading import import_string

from runs.models import FlowRun


def record_endings(runs: Collection[FlowRun]) -> None:
    """Have `settings.STATE_OUTBOX` called with runs that entered a final state in this transaction.

    Call it with the rows locked, as they are then stored. A run that was final before is not passed: its end was told.
    """
    if runs:
        import_string(settings.STATE_OUTBOX)(runs)
