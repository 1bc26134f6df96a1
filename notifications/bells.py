"""Bells that wake a sender. They carry no work: the sweep (`notifications.jobs`) stands behind each of them."""

from collections.abc import Collection
from functools import partial
from typing import Final
from uuid import UUID

from django.db import transaction

from runs import bells

DELIVER_JOB: Final = "notifications.jobs.deliver"


def ring(destination_ids: Collection[UUID]) -> None:
    """Wake a sender for each of these destinations once the transaction has committed; nothing is ever raised."""
    if destination_ids:
        transaction.on_commit(partial(_send, frozenset(destination_ids)))


def _send(destination_ids: frozenset[UUID]) -> None:
    for destination_id in destination_ids:
        bells.send_job(DELIVER_JOB, destination=str(destination_id))
