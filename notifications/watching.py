"""Runs that take long: longer than their policy says, or than three times the usual.

Nothing happens when a run has run for long, so this is looked for, in the sweep. Nothing is kept in memory: what was
told stands in the deliveries, one for each attempt, policy and destination.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from statistics import median
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery

from notifications import bells
from notifications.events import Event
from notifications.matching import Watch, matching, of_team, subjects, watches
from notifications.models import Delivery
from notifications.outbox import Happening, write
from orchestrator.sdk.states import StateType
from runs.models import FlowRun
from runs.presentation import duration
from runs.reads import USUAL_AT_LEAST, USUAL_RUNS

TIMES_USUAL: Final = 3
LEAST_SECONDS: Final = 5.0  # three times nothing is nothing to speak of
_PAGE: Final = 200  # running attempts that are looked at together
_LOOKED_AT: Final = 3 * USUAL_RUNS  # of a deployment's newest runs, for those that completed


@dataclass(frozen=True, slots=True)
class _Running:
    """An attempt that runs."""

    run_id: UUID
    number: int
    team_id: UUID
    like: tuple[str, UUID]  #: by which runs take alike: ("deployment", id), else ("flow", id)
    seconds: float


def find_long_running(now: datetime) -> int:
    """Write the deliveries of runs that have run for long, and wake their senders once that is committed.

    Args:
        now: By the database's clock.

    Returns:
        How many events were found that had not been told under their policy.

    Queries: one where no policy watches this. Else one for the attempts that run for long enough to be concerned; for
    each 200 of them one for what they are, up to four for what is usual, and one for what was told; and one short
    transaction where there is something to tell.
    """
    known = watches(event=Event.LONG_RUNNING)
    if not known:
        return 0
    running = _running(known, now)
    pages = (running[start : start + _PAGE] for start in range(0, len(running), _PAGE))
    return sum(_tell(page, known, now) for page in pages)


def _running(known: Collection[Watch], now: datetime) -> list[_Running]:
    """The attempts that run for longer than the least that any policy can mean (one query, index `flow_run_state`)."""
    least = min(LEAST_SECONDS if watch.long_running_seconds is None else watch.long_running_seconds for watch in known)
    runs = FlowRun.objects.filter(
        state_type=StateType.RUNNING,
        team__in={watch.team_id for watch in known},
        attempts__number=F("attempt"),
        attempts__start_time__lte=now - timedelta(seconds=least),
    )
    return [
        _Running(
            run_id,
            number,
            team_id,
            ("deployment", deployment_id) if deployment_id else ("flow", flow_id),
            (now - start_time).total_seconds(),
        )
        for run_id, number, start_time, team_id, deployment_id, flow_id in runs.values_list(
            "id", "attempt", "attempts__start_time", "team_id", "deployment_id", "flow_id"
        )
    ]


def _tell(page: list[_Running], known: tuple[Watch, ...], now: datetime) -> int:
    described = subjects(running.run_id for running in page)
    watched = [
        (running, watch)
        for running in page
        if running.run_id in described  # else it was deleted a moment ago
        for watch in matching(of_team(known, running.team_id, Event.LONG_RUNNING), described[running.run_id])
    ]
    usual = _usual_seconds({running.like for running, watch in watched if watch.long_running_seconds is None})
    long = {
        (running, watch): reason
        for running, watch in watched
        if (reason := _reason(running, watch.long_running_seconds, usual.get(running.like)))
    }
    told = _told({running.run_id for running, _ in long})
    untold = {
        (running, watch): reason
        for (running, watch), reason in long.items()
        if any((running.run_id, running.number, watch.policy_id, to) not in told for to in watch.destinations)
    }
    if not untold:
        return 0
    with transaction.atomic():
        still = _still_running({running.run_id for running, _ in untold})
        happenings = [
            (
                Happening(
                    run,
                    running.number,
                    Event.LONG_RUNNING,
                    occurred_at=now,
                    state_name=run.state_name,
                    reason=reason,
                    muted_until=described[running.run_id].muted_until,
                ),
                watch,
            )
            for (running, watch), reason in untold.items()
            if (run := still.get(running.run_id)) is not None and run.attempt == running.number
        ]
        bells.ring(write(happenings))
    return len(happenings)


def _reason(running: _Running, set_seconds: int | None, usual_seconds: float | None) -> str:
    """Why a run is long-running, in words; empty where it is not."""
    if set_seconds is not None:
        return f"It runs for longer than {duration(set_seconds)}." if running.seconds > set_seconds else ""
    if usual_seconds is None or running.seconds <= max(TIMES_USUAL * usual_seconds, LEAST_SECONDS):
        return ""
    return f"It runs for longer than three times the usual {duration(usual_seconds)}."


def _usual_seconds(alike: Collection[tuple[str, UUID]]) -> dict[tuple[str, UUID], float]:
    """The median of the last completed runs of each deployment or flow that has enough of them."""
    found: dict[tuple[str, UUID], float] = {}
    for field in ("deployment", "flow"):
        owners = [owner for kind, owner in alike if kind == field]
        for owner, took in _took(field, owners).items():
            if len(took) >= USUAL_AT_LEAST:
                found[field, owner] = median(took[:USUAL_RUNS])
    return found


def _took(field: str, owners: Collection[UUID]) -> dict[UUID, list[float]]:
    """Seconds of the completed ones of the newest runs of each deployment or flow, newest first.

    Two queries, none for none: where the newest runs of each begin (an index seek each), then those runs.
    """
    if not owners:
        return {}
    model = FlowRun._meta.get_field(field).related_model
    runs = FlowRun.objects.filter(**{field: OuterRef("pk")}).newest_first().values("expected_start")
    since = Subquery(runs[_LOOKED_AT - 1 : _LOOKED_AT])
    wanted = Q()
    for owner, begin in model.objects.filter(pk__in=owners).values_list("pk", since):
        wanted |= Q(**{field: owner}) & (Q(expected_start__gte=begin) if begin else Q())
    # Which of them completed is not asked in SQL: SQLite would then read every run that did.
    rows = FlowRun.objects.filter(wanted).values_list(
        "expected_start", f"{field}_id", "state_type", "start_time", "end_time"
    )
    took: dict[UUID, list[float]] = {}
    for _, owner, state_type, start, end in sorted(rows, key=itemgetter(0), reverse=True):
        if state_type == StateType.COMPLETED and start and end:
            took.setdefault(owner, []).append((end - start).total_seconds())
    return took


def _told(run_ids: Iterable[UUID]) -> set[tuple[UUID, int, UUID | None, UUID | None]]:
    """What was told of these runs already (one query, along `delivery_once`; none for none)."""
    ids = list(run_ids)
    if not ids:
        return set()
    deliveries = Delivery.objects.filter(flow_run__in=ids, event=Event.LONG_RUNNING)
    return set(deliveries.values_list("flow_run_id", "attempt", "policy_id", "destination_id"))


def _still_running(run_ids: Collection[UUID]) -> dict[UUID, FlowRun]:
    """Those that run, locked. One that somebody else has locked is left to the next sweep: it may be ending."""
    locked = FlowRun.objects.select_for_update(skip_locked=True).filter(id__in=run_ids, state_type=StateType.RUNNING)
    return {run.id: run for run in locked.defer("parameters", "tags").order_by("id")}
