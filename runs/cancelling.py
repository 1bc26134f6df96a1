"""The bound on cancelling: what has not ended so long after it was asked to is Cancelled, whatever its process does.

A worker kills a run within seconds, and who reads a script's journal kills the script. What is left are processes that
nobody can reach (a script on another machine, one that even SIGKILL does not end, a run host that stands still). They
may go on; what they still say is kept with their attempt and changes nothing.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F

from orchestrator.sdk.states import StateType
from runs.announcements import announce_on_commit
from runs.closing import close_children
from runs.compiled import IsAny
from runs.endings import settle
from runs.models import Attempt, FlowRun, FlowRunQuerySet
from runs.transitions import FINAL_VALUES

CANCEL_SECONDS: Final = 30  #: after which a cancellation that nobody answered is taken for done
BATCH: Final = 100

_log = logging.getLogger(__name__)


def give_up(now: datetime) -> int:
    """Cancel the runs that were asked to stop too long ago and have not ended.

    Args:
        now: By the database's clock.

    Returns:
        How many they were, 100 at most: the next sweep goes on.

    Queries and locks: runs by index `flow_run_state`, passing over those that somebody else has locked.
    """
    if not some_unanswered(now):
        return 0
    with transaction.atomic():
        runs = list(
            _unanswered(now).defer("parameters", "tags").select_for_update(skip_locked=True).order_by("id")[:BATCH]
        )
        for run in runs:
            _cancel(run, now)
        ended = [*runs, *close_children(runs)]
        settle(ended)
        announce_on_commit([run.pk for run in ended])
    return len(runs)


def _unanswered(now: datetime) -> FlowRunQuerySet:
    return FlowRun.objects.filter(
        state_type=StateType.CANCELLING, cancel_requested_at__lt=now - timedelta(seconds=CANCEL_SECONDS)
    )


some_unanswered: Final = IsAny(_unanswered)


def _cancel(run: FlowRun, now: datetime) -> None:
    """Write the server's own decision, which nothing that its process says undoes (`ended_by` is empty)."""
    message = f"Cancelled: its process did not answer within {CANCEL_SECONDS} s, and may go on."
    values = {"state_type": StateType.CANCELLED.value, "state_name": "Cancelled", "state_message": message}
    Attempt.objects.filter(flow_run=run, number=run.attempt).exclude(state_type__in=FINAL_VALUES).update(
        **values, ended_by="", end_time=now
    )
    changes = {**values, "state_time": now, "end_time": now, "ended_by": "", "lease_expires_at": None}
    FlowRun.objects.filter(pk=run.pk).update(**changes, revision=F("revision") + 1)
    for name, value in changes.items():
        setattr(run, name, value)
    _log.warning("Run %s: %s", run.pk, message)
