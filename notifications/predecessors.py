"""What came before a run: whether its failure is one more of the same, or its success the end of a failure."""

from datetime import datetime
from itertools import islice, takewhile
from typing import Final

from notifications.events import BROKEN
from notifications.models import Delivery
from orchestrator.sdk.states import StateType
from runs.models import Attempt, FlowRun, Trigger

_LOOKED_AT: Final = 50  # of the newest runs; a failure behind more cancelled ones than that is an old story
_BROKEN: Final = frozenset(event.value for event in BROKEN)
_TELLING: Final = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED)


def broke_before(run: FlowRun) -> bool:
    """Whether the run before an ended one failed or crashed: the one that ended last before it.

    Of the same deployment, else of the flow without one (subflow runs among themselves). Runs that were cancelled or
    skipped are passed over. One query, which reads at most 50 runs by index.
    """
    return next((state_type in _BROKEN for state_type, _ in _ended_before(run)), False)


def failures_before(run: FlowRun, most: int) -> list[datetime]:
    """Return when the runs before an ended one failed or crashed, newest first, back to the last that did not.

    As `broke_before` counts them, at most `most` (one query).
    """
    broken = takewhile(lambda one: one[0] in _BROKEN, _ended_before(run))
    return [ended_at for _, ended_at in islice(broken, most)]


def _ended_before(run: FlowRun) -> list[tuple[str, datetime]]:
    """The states of the runs whose failure or success a run's own follows, with their ends, newest first.

    What is asked of the newest runs is asked here and not in SQL: SQLite would read by another index, all of them.
    """
    ended_at = run.end_time or run.state_time
    runs = FlowRun.objects.filter(expected_start__lte=ended_at)
    runs = runs.filter(deployment=run.deployment_id) if run.deployment_id else runs.filter(flow=run.flow_id)
    rows = runs.newest_first().values_list("end_time", "id", "state_type", "deployment_id", "trigger")[:_LOOKED_AT]
    before = [
        (end_time, id_, state_type)
        for end_time, id_, state_type, deployment_id, trigger in rows
        if state_type in _TELLING
        and end_time is not None
        and end_time <= ended_at
        and id_ != run.id
        and deployment_id == run.deployment_id
        and (run.deployment_id or (trigger == Trigger.SUBFLOW) == (run.trigger == Trigger.SUBFLOW))
    ]
    return [(state_type, end_time) for end_time, _, state_type in sorted(before, reverse=True)]


def has_recovered(run: FlowRun) -> bool:
    """Whether a completed run ends a failure: its own, in an earlier attempt, or that of the run before it.

    A retry within the process is no such attempt: nobody was told of what it repaired. A run that was told as crashed,
    since nobody heard of it any more, and then completed, has recovered. At most three queries.
    """
    if run.attempt > 1 and _broke_in_an_earlier_process(run):
        return True
    return broke_before(run) or Delivery.objects.filter(flow_run=run, event__in=BROKEN).exists()


def _broke_in_an_earlier_process(run: FlowRun) -> bool:
    """Whether the last attempt of an earlier process failed or crashed; an attempt that none took is its own."""
    rows = list(Attempt.objects.filter(flow_run=run).order_by("number").values_list("number", "journal", "state_type"))
    last = {journal or number: state_type for number, journal, state_type in rows if number <= run.attempt}
    current = next((journal or number for number, journal, _ in rows if number == run.attempt), None)
    return any(state_type in _BROKEN for process, state_type in last.items() if process != current)
