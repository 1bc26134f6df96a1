"""Finds runs that are late, overrun or missed their deadline: the tick marks each once, and does what is to follow.

Nothing happens when a time passes, so this is looked for. A mark is a compare-and-set of its column under the run's row
lock; what is to be told is written in the same transaction. What follows, where the deployment says so, is the ordinary
cancel verb, in that transaction too, so that no run is marked and then forgotten.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import RawSQL

from flows.models import Deployment, OnOverrun
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import actions
from runs.announcements import announce_on_commit
from runs.compiled import IsAny
from runs.models import OPEN_TYPES, FlowRun, FlowRunQuerySet, Log
from runs.outbox import record_mark
from runs.presentation import duration

BATCH: Final = 200  # runs marked in one transaction
MAX_BATCHES: Final = 25  # a tick; the next one goes on
# As literals, since SQLite uses a partial index only where its condition stands in the query.
_OPEN: Final = [RawSQL(f"'{type_}'", ()) for type_ in OPEN_TYPES]

# Asked first, each tick: whether any run waits that is not Late yet, and whether any deployment expects anything.
some_wait: Final = IsAny(lambda now: FlowRun.objects.unclaimed().timely(now).filter(late_at=None))
some_expect: Final = IsAny(
    lambda now: Deployment.objects.filter(Q(expected_seconds__isnull=False) | Q(deadline_seconds__isnull=False))
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """A kind of mark: where it is kept, by which field of the deployment, and what the deployment wants to follow."""

    event: str  #: as notification policies call it
    column: str
    seconds_field: str
    follows_field: str = ""
    sentence: str = ""  #: with `{time}`


LATE: Final = Mark("LATE", "late_at", "late_after_seconds", sentence="It has not begun {time} after its time.")
OVERRAN: Final = Mark(
    "OVERRAN", "overran_at", "expected_seconds", "on_overrun", "It runs for longer than the {time} expected of it."
)
MISSED: Final = Mark(
    "MISSED_DEADLINE",
    "missed_deadline_at",
    "deadline_seconds",
    "on_deadline",
    "It has not ended {time} after its time.",
)


def mark_late(now: datetime) -> int:
    """Set runs Late that should have begun: due for longer than their deployment, or the setting, allows.

    They stay claimable, in their order. Returns how many. Two queries when there are none (indexes
    `deployment_late_after`, `flow_run_not_late`).
    """
    if not some_wait(now):
        return 0
    thresholds = _thresholds(LATE)
    default = settings.LATE_AFTER_SECONDS
    waiting = FlowRun.objects.due(now).filter(
        late_at=None, expected_start__lte=now - timedelta(seconds=min([default, *thresholds]))
    )
    condition = Q(
        Q(deployment=None) | Q(deployment__late_after_seconds=None), expected_start__lte=_before(now, default)
    )
    for seconds in thresholds:
        condition |= Q(deployment__late_after_seconds=seconds, expected_start__lte=_before(now, seconds))
    return _mark_all(LATE, waiting.filter(condition), now)


def mark_overrunning(now: datetime) -> int:
    """Mark runs whose current attempt has run for longer than their deployment expects. Returns how many.

    One query where no deployment expects anything (index `deployment_expected`), else two (`flow_run_state`).
    """
    if not some_expect(now):
        return 0
    condition = Q()
    for seconds in _thresholds(OVERRAN):
        condition |= Q(deployment__expected_seconds=seconds, attempts__start_time__lte=_before(now, seconds))
    if not condition:
        return 0
    running = FlowRun.objects.filter(state_type=StateType.RUNNING, overran_at=None, attempts__number=F("attempt"))
    return _mark_all(OVERRAN, running.filter(condition), now)


def mark_missed_deadlines(now: datetime) -> int:
    """Mark runs, waiting or in progress, that have not ended by their deadline. Returns how many.

    One query where no deployment has a deadline (index `deployment_deadline`), else two (`flow_run_open_until`).
    """
    thresholds = _thresholds(MISSED) if some_expect(now) else []
    if not thresholds:
        return 0
    condition = Q()
    for seconds in thresholds:
        condition |= Q(deployment__deadline_seconds=seconds, expected_start__lte=_before(now, seconds))
    unended = FlowRun.objects.filter(
        state_type__in=_OPEN, missed_deadline_at=None, expected_start__lte=_before(now, min(thresholds))
    )
    return _mark_all(MISSED, unended.filter(condition), now)


def _thresholds(mark: Mark) -> list[int]:
    """The different values that deployments have for it, shortest first (one query, along a partial index)."""
    given = Deployment.objects.filter(**{f"{mark.seconds_field}__isnull": False})
    return sorted(set(given.order_by().values_list(mark.seconds_field, flat=True).distinct()))


def _before(now: datetime, seconds: int) -> datetime:
    return now - timedelta(seconds=seconds)


def _mark_all(mark: Mark, candidates: QuerySet[FlowRun], now: datetime) -> int:
    """Mark what is found, oldest first, `BATCH` a transaction."""
    marked = 0
    for _ in range(MAX_BATCHES):
        found = list(candidates.order_by("expected_start").values_list("pk", flat=True)[:BATCH])
        if not found:
            break
        changed = _mark(mark, found, now)
        marked += changed
        if len(found) < BATCH or not changed:  # others have the rest locked: they change them, or the next tick does
            break
    return marked


def _mark(mark: Mark, run_ids: Collection[Any], now: datetime) -> int:
    """Mark those of these runs that are as they were found. One transaction; the runs' rows are locked in order."""
    with transaction.atomic():
        one_of = FlowRun.objects.filter(pk__in=run_ids, **{mark.column: None})
        locked = _still(mark, one_of).select_related("deployment__flow", "flow").order_by("pk")
        runs = list(locked.select_for_update(skip_locked=True, of=("self",)))
        changes: dict[str, Any] = {mark.column: now}
        if mark is LATE:
            changes |= {"state_name": "Late", "state_time": now}
        FlowRun.objects.filter(pk__in=[run.pk for run in runs]).update(**changes, revision=F("revision") + 1)
        said = []
        for run in runs:
            for name, value in changes.items():
                setattr(run, name, value)
            said.append((run, _sentence(mark, run)))
        record_mark(mark.event, said)
        announce_on_commit([run.pk for run in runs])
        if mark is not LATE:
            _write_down(said, now)
            _follow(mark, said)
    return len(runs)


def _still(mark: Mark, runs: FlowRunQuerySet) -> FlowRunQuerySet:
    """Those that have not begun, or not ended, meanwhile."""
    if mark is LATE:
        return runs.unclaimed()
    return runs.filter(state_type=StateType.RUNNING) if mark is OVERRAN else runs.filter(state_type__in=OPEN_TYPES)


def _sentence(mark: Mark, run: FlowRun) -> str:
    deployment = run.deployment
    seconds = getattr(deployment, mark.seconds_field) if deployment else None
    sentence = mark.sentence.format(time=duration(seconds or settings.LATE_AFTER_SECONDS))
    is_cancelled = mark.follows_field and deployment and getattr(deployment, mark.follows_field) == OnOverrun.CANCEL
    return f"{sentence} It is cancelled for that." if is_cancelled else sentence


def _write_down(said: Collection[tuple[FlowRun, str]], now: datetime) -> None:
    """Put it into the runs' logs, which keep the reason whatever state follows."""
    Log.objects.bulk_create(
        Log(
            id=uuid7(),
            flow_run=run,
            attempt=max(run.attempt, 1),
            time=now,
            level=logging.WARNING,
            logger="orchestrator.time_limits",
            message=sentence,
        )
        for run, sentence in said
    )


def _follow(mark: Mark, said: Collection[tuple[FlowRun, str]]) -> None:
    """Cancel the runs whose deployments want that."""
    for run, sentence in said:
        if run.deployment is None or getattr(run.deployment, mark.follows_field) != OnOverrun.CANCEL:
            continue
        try:
            actions.cancel_flow_run(run, because=sentence.removesuffix(" It is cancelled for that."))
        except ValidationError as error:  # it is being cancelled, or part of another run
            _log.info("Run %s was not cancelled: %s", run.pk, " ".join(error.messages))
