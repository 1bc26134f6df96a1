"""The tick: upcoming runs are made, lost ones are judged, and workers are woken for what waits or is soon due."""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef

from flows.models import WorkQueue
from runs import bells, overdue, reaper, scheduling, slots
from runs.clock import database_now
from runs.compiled import IsAny
from runs.models import FlowRun, FlowRunQuerySet

UNHEARD_SECONDS: Final = 1.0  # a due run that waits longer has its queue rung again
MAX_WAKES: Final = 200  # a tick; workers that are awake go on by themselves

# After `materialize`: what was missed is decided on before it can be late.
OVERDUE: Final = (overdue.mark_late, overdue.mark_overrunning, overdue.mark_missed_deadlines)

# Asked first, each tick: as a rule there is none.
unheard: Final = IsAny(lambda now: FlowRun.objects.due(now - timedelta(seconds=UNHEARD_SECONDS)))
soon: Final = IsAny(lambda now: _soon(now))

_log = logging.getLogger(__name__)


def tick() -> None:
    """Do everything that is to be done every `TICK_SECONDS`. Two at once do it once, or twice without harm."""
    now = database_now()
    for step in (scheduling.materialize, reaper.reap, slots.sweep, ring_waiting, send_wakes, *OVERDUE):
        try:
            step(now)
        except Exception:  # one schedule that cannot be read must not keep lost runs from being judged
            _log.exception("A step of the tick failed: %s", step.__name__)


def ring_waiting(now: datetime) -> list[WorkQueue]:
    """Ring, once each, the queues that have runs which should have been claimed by now; return them."""
    if not unheard(now):
        return []
    waiting = FlowRun.objects.due(now - timedelta(seconds=UNHEARD_SECONDS)).filter(queue=OuterRef("pk"))
    queues = list(WorkQueue.objects.filter(Exists(waiting), paused=False))
    for queue in queues:
        bells.send_unheard(queue.celery_queue)
    return queues


def send_wakes(now: datetime) -> list[tuple[WorkQueue, datetime]]:
    """Send a bell for each run that is due before the tick after next, with its exact time; return what was sent."""
    if not soon(now):
        return []
    ordered = _soon(now).select_related("queue").order_by("expected_start")[:MAX_WAKES]
    wakes = [(run.queue, run.expected_start) for run in ordered]
    for queue, at in wakes:
        bells.send(queue.celery_queue, at)
    return wakes


def _soon(now: datetime) -> FlowRunQuerySet:
    until = now + timedelta(seconds=2 * settings.TICK_SECONDS)
    return FlowRun.objects.unclaimed().filter(expected_start__gt=now, expected_start__lte=until, queue__paused=False)
