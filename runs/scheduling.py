"""Makes the upcoming runs of schedules, and decides what becomes of times that were missed.

**Upcoming runs.** Each active schedule of a deployment that is not paused has up to `SCHEDULE_AHEAD` runs SCHEDULED for
its next times within `SCHEDULE_HORIZON`. `Schedule.tick_at` is the first of those times: when it has come, the tick
looks at the schedule again and makes the next run. So a tick that has nothing to do costs one indexed query however
many schedules there are. The rows of schedules are locked, each by one tick (SKIP LOCKED), so that two beats share the
work; the unique constraint on (deployment, schedule, time) stands behind that.

**Missed times** (`runs.missed`). A tick that looks at a schedule more than `MISSED_AFTER` after `tick_at` knows that no
tick ran in between, and that all times from `tick_at` until now were missed, whether their runs had been made already
or not. A run that was looked at in time and only waits for a worker is never missed. The schedule's policy decides:

- latest: the last missed time runs; runs of earlier ones that wait become Skipped, others are not made. The run that
  runs says so, in its state's message until it is claimed and in the first line of its log.
- all: every time runs, at most `MAX_CAUGHT_UP` of them made a tick; fewer each where many schedules catch up, so that
  after an outage a tick still ends soon and no schedule waits for another.
- none: nothing that was missed runs; the last missed time stays visible as a Skipped run that says so.

Times that were missed longer ago than the schedule's `catchup_seconds` are treated as under `none` by any policy. Runs
that a person had made for past times (`runs.backfill`) are never skipped here.

Workers must not be quicker than the tick after an outage: `FlowRunQuerySet.not_missed` leaves runs alone that were due
long ago and whose schedule no tick has looked at since.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from flows.models import Calendar, Catchup, Deployment, Schedule
from flows.schedules import Spec
from runs import bells, bulk, missed
from runs.announcements import announce_on_commit
from runs.clock import database_now
from runs.compiled import IsAny
from runs.endings import settle
from runs.missed import Missed
from runs.models import MISSED_AFTER, FlowRun, Trigger
from runs.scheduled_runs import end_waiting, insert, run_of

BATCH: Final = 200  # schedules a transaction
MAX_SCHEDULES: Final = 20_000  # schedules a tick; the next tick goes on
MAX_CAUGHT_UP: Final = 100  # runs of one schedule a tick makes under `all`
MAX_CAUGHT_UP_TOGETHER: Final = 5000  # such runs of all schedules together, but for `MIN_CAUGHT_UP` of each
MIN_CAUGHT_UP: Final = 5
LOOKAHEAD: Final = timedelta(seconds=10)  # what is due within this is always there, more than `SCHEDULE_AHEAD` or not
_MOMENT: Final = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


def materialize(now: datetime) -> list[FlowRun]:
    """Make the runs of all schedules that have to be looked at, and settle what they missed.

    Args:
        now: The time of the tick, by the database's clock.

    Returns:
        The runs that were made (those of another tick at the same time are not among them).

    Queries: one when there is nothing to do; else about six for each `BATCH` of schedules, a transaction each.
    """
    if not some_to_look_at(now):
        return []
    due = _to_look_at(now)
    ids = list(due.order_by("tick_at").values_list("pk", flat=True)[:MAX_SCHEDULES])
    share = min(MAX_CAUGHT_UP, max(MIN_CAUGHT_UP, MAX_CAUGHT_UP_TOGETHER // max(len(ids), 1)))
    made: list[FlowRun] = []
    for start in range(0, len(ids), BATCH):
        with transaction.atomic():
            made += _look_at(_locked(due.filter(pk__in=ids[start : start + BATCH])), now, share)
    return made


def _to_look_at(now: datetime) -> QuerySet[Schedule]:
    return Schedule.objects.filter(active=True, tick_at__lte=now, deployment__paused=False)


some_to_look_at: Final = IsAny(_to_look_at)


def _locked(schedules: Any) -> list[Schedule]:
    """Lock schedules that nobody else works on, with what their runs carry (three queries; two without calendars)."""
    unread = [f"deployment__{name}" for name in ("parameter_schema", "declared", "description")]
    wanted = schedules.select_related("deployment").defer(*unread).prefetch_related("deployment__queue", "calendar")
    return list(wanted.select_for_update(skip_locked=True, of=("self",)))


def reschedule(deployment: Deployment) -> list[FlowRun]:
    """Make a deployment's upcoming runs anew, after it or its schedules changed. To be called in a transaction.

    What was missed before is settled first. Runs that are due and wait for a worker stay, unless the deployment is
    paused or their schedule is inactive or gone: these become Skipped.

    Returns:
        The runs that were made.

    Locks the deployment's schedules, then its upcoming runs.
    """
    now = database_now()
    schedules = lock(deployment)
    deployment.refresh_from_db()
    running = [schedule for schedule in schedules if schedule.active and not deployment.paused]
    for schedule in schedules:
        schedule.deployment = deployment
    made = _look_at([each for each in running if each.tick_at and each.tick_at <= now], now)
    _delete_upcoming(deployment, now)
    _skip_waiting(deployment, running, now)
    for schedule in schedules:
        schedule.materialized_until = now
        schedule.tick_at = now if schedule in running else None
    Schedule.objects.bulk_update(
        [each for each in schedules if each.tick_at is None], ["tick_at", "materialized_until"]
    )
    made = [run for run in made if run.expected_start <= now] + _look_at(running, now)
    _announce_teams([*made, *deployment.runs.order_by("-expected_start", "-id")[:1]])
    return made


def recount(calendar: Calendar) -> list[FlowRun]:
    """Make the upcoming runs of a calendar's schedules anew, after its days off changed. To be called in a transaction.

    What was missed before is settled first; runs that are due and wait stay.

    Returns:
        The runs that were made.

    Locks those schedules, `BATCH` by `BATCH`, then their upcoming runs.
    """
    now = database_now()
    used = Schedule.objects.filter(calendar=calendar, active=True, deployment__paused=False)
    ids = list(used.order_by("pk").values_list("pk", flat=True))
    made: list[FlowRun] = []
    for start in range(0, len(ids), BATCH):
        schedules = list(
            Schedule.objects.filter(pk__in=ids[start : start + BATCH])
            .select_related("deployment__queue")
            .prefetch_related("calendar")
            .select_for_update(of=("self",))
            .order_by("pk")
        )
        made += _look_at([each for each in schedules if each.tick_at and each.tick_at <= now], now)
        upcoming = FlowRun.objects.unclaimed().filter(schedule__in=schedules, attempt=0)
        _delete_later(upcoming, now)
        for schedule in schedules:
            schedule.materialized_until = schedule.tick_at = now
        made = [run for run in made if run.expected_start <= now] + _look_at(schedules, now)
    return made


def withdraw(deployment: Deployment) -> None:
    """Delete a deployment's upcoming runs and cancel what waits for a worker, before the deployment is deleted."""
    now = database_now()
    lock(deployment)
    _delete_upcoming(deployment, now)
    waiting = _unclaimed(deployment)
    ended = end_waiting(waiting, "Cancelled", "Its deployment was deleted before it started.", now)
    settle(list(FlowRun.objects.filter(pk__in=ended)))


def lock(deployment: Deployment) -> list[Schedule]:
    """Lock a deployment's schedules, so that no tick works on them, and return them."""
    return list(deployment.schedules.select_for_update(of=("self",)).prefetch_related("calendar").order_by("pk"))


@dataclass(slots=True)
class _Plan:
    """What is to be done for one schedule."""

    schedule: Schedule
    times: list[datetime] = field(default_factory=list)  #: make a run for each, if there is none
    missed: Missed | None = None


def _look_at(schedules: Sequence[Schedule], now: datetime, share: int = MAX_CAUGHT_UP) -> list[FlowRun]:
    """Make the runs of locked schedules, of past times at most `share` each, and move them on; return what was made."""
    plans = [plan for schedule in schedules if (plan := _plan(schedule, now, share)) is not None]
    made = insert(run_of(plan.schedule, time, now) for plan in plans for time in plan.times)
    made += missed.settle([(plan.schedule, plan.missed) for plan in plans if plan.missed], now)
    bulk.save(schedules, ["tick_at", "materialized_until"])
    for queue in {run.queue_id: run.queue for run in made if run.expected_start <= now and not run.is_final}.values():
        bells.ring(queue)
    _announce_teams(made)
    return made


def _plan(schedule: Schedule, now: datetime, share: int) -> _Plan | None:
    """Decide what a schedule needs, and move its `tick_at` and `materialized_until`; None when it cannot be read."""
    spec = Spec.of(schedule)
    try:
        ahead = list(_ahead(spec, now))
        coming = ahead[0] if ahead else next(spec.times(now), None)
        plan = _Plan(schedule)
        since = schedule.materialized_until
        late = schedule.tick_at is not None and now - schedule.tick_at > MISSED_AFTER
        if late:
            plan.missed = missed.look_back(spec, schedule.tick_at - _MOMENT, now)
            since = max(since, plan.missed.until if plan.missed else since)
        if since < now and (schedule.catchup == Catchup.ALL or not late):
            plan.times += islice(_until(spec.times(since), now), share)
    except (ValueError, KeyError, OSError) as error:
        _log.error("The schedule %s of deployment %s cannot be read: %s", schedule.pk, schedule.deployment_id, error)
        schedule.tick_at = None
        return None
    if len(plan.times) == share:  # the next tick goes on
        schedule.materialized_until = plan.times[-1]
        schedule.tick_at = now
        return plan
    plan.times += [time for time in ahead if time > schedule.materialized_until]
    schedule.materialized_until = max(now, schedule.materialized_until, *plan.times)
    schedule.tick_at = _next_look(ahead, coming)
    return plan


def _ahead(spec: Spec, now: datetime) -> Iterator[datetime]:
    """The times for which a run is made ahead."""
    horizon = timedelta(seconds=settings.SCHEDULE_HORIZON)
    for number, time in enumerate(_until(spec.times(now), now + horizon)):
        if number >= settings.SCHEDULE_AHEAD and time > now + LOOKAHEAD:
            return
        yield time


def _until(times: Iterable[datetime], end: datetime) -> Iterator[datetime]:
    for time in times:
        if time > end:
            return
        yield time


def _next_look(ahead: list[datetime], coming: datetime | None) -> datetime | None:
    """When the schedule has to be looked at next: at its next time, or when that comes within the horizon."""
    if ahead:
        return ahead[0]
    return coming and coming - timedelta(seconds=settings.SCHEDULE_HORIZON)


def _unclaimed(deployment: Deployment) -> Any:
    """Runs of a deployment that no worker has had."""
    return FlowRun.objects.unclaimed().filter(deployment=deployment, attempt=0)


def _delete_upcoming(deployment: Deployment, now: datetime) -> None:
    """Delete runs that schedules made for later. They are locked first: one that is being claimed is passed over."""
    _delete_later(_unclaimed(deployment), now)


def _delete_later(unclaimed: Any, now: datetime) -> None:
    upcoming = unclaimed.filter(trigger=Trigger.SCHEDULE, scheduled_for__gt=now)
    ids: list[UUID] = list(upcoming.select_for_update(skip_locked=True).values_list("pk", flat=True))
    FlowRun.objects.filter(pk__in=ids).delete()


def _skip_waiting(deployment: Deployment, running: Sequence[Schedule], now: datetime) -> None:
    """Skip runs that are due and wait, and whose schedule does not run any more."""
    waiting = _unclaimed(deployment).filter(trigger=Trigger.SCHEDULE, scheduled_for__lte=now)
    kept = [schedule.pk for schedule in running]
    stopped = [run.pk for run in waiting.only("schedule_id") if run.schedule_id not in kept]
    message = "Its deployment or its schedule was paused or removed before it started."
    end_waiting(FlowRun.objects.filter(pk__in=stopped), "Skipped", message, now)


def _announce_teams(runs: Iterable[FlowRun]) -> None:
    """Announce one run of each team: nobody has the page of a new run open, but lists show what is next."""
    announce_on_commit({run.team_id: run.pk for run in runs}.values())
