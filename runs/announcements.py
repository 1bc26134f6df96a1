"""Tells live pages, after commit, which runs a decision changed."""

import logging
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

_log = logging.getLogger(__name__)


def announce_on_commit(run_ids: Iterable[UUID]) -> None:
    """Have `settings.AFTER_INGEST` called with these ids once the transaction has committed.

    It never undoes or fails what was decided: without a broker a page shows it at the next reload.
    """
    ids = list(run_ids)
    if ids:
        transaction.on_commit(lambda: _announce(ids))


def _announce(ids: list[UUID]) -> None:
    try:
        import_string(settings.AFTER_INGEST)(ids)
    except Exception:  # the network begins here
        _log.exception("Live pages were not told of %d changed runs", len(ids))
