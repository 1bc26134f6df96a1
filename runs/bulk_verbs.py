"""Cancels, retries, reruns and deletes many runs, chosen by a filter, in calls that are bounded in number and time.

Each run goes through the ordinary verb in a transaction of its own, so no lock is held for longer than one run takes,
and one that refuses stops no other. A call does at most `MAX_RUNS`, or what it can in `MAX_SECONDS`, and says where the
next one goes on: whoever asked repeats it and knows how far it has come. There is no job that could be lost, and
nothing goes on after the person has left. Runs are taken newest first, as lists have them; what a verb makes or moves
is newer than where it began, so that no run is met twice. Repeating a call is harmless; a rerun takes a key for that.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q

from orchestrator.paging import read_time
from runs import actions, deleting
from runs.models import FlowRun, FlowRunQuerySet
from teams.models import User
from teams.rights import Refused

MAX_RUNS: Final = 200
MAX_SECONDS: Final = 4.0
MAX_COUNT: Final = 100_000  # what matches is counted up to here


@dataclass(frozen=True, slots=True)
class Refusal:
    """A run that a verb left as it is, and why."""

    id: UUID
    name: str
    reason: str


@dataclass(slots=True)
class Outcome:
    """What one call did."""

    done: int = 0
    refused: list[Refusal] = field(default_factory=list)
    made: list[UUID] = field(default_factory=list)  #: the new runs of a rerun
    next: str | None = None  #: where the next call goes on; None when all were met


def _cancel(run: FlowRun, user: User | None, key: str) -> None:
    actions.cancel_flow_run(run, user=user)


def _retry(run: FlowRun, user: User | None, key: str) -> None:
    actions.retry_flow_run(run, user=user)


def _rerun(run: FlowRun, user: User | None, key: str) -> UUID:
    return actions.rerun_flow_run(run, user=user, idempotency_key=f"{key}:{run.pk}" if key else None).pk


def _delete(run: FlowRun, user: User | None, key: str) -> None:
    with contextlib.suppress(FlowRun.DoesNotExist):  # it went with the run that had called it
        deleting.delete_flow_run(run, user=user)


VERBS: Final[Mapping[str, Callable[[FlowRun, User | None, str], UUID | None]]] = {
    "cancel": _cancel,
    "retry": _retry,
    "rerun": _rerun,
    "delete": _delete,
}


def count(runs: FlowRunQuerySet) -> int:
    """Return how many runs there are, at most `MAX_COUNT` + 1, which stands for more (one query)."""
    return runs.order_by()[: MAX_COUNT + 1].count()


def apply(
    verb: str, runs: FlowRunQuerySet, *, user: User | None = None, after: str | None = None, key: str = ""
) -> Outcome:
    """Do a verb of `VERBS` to the next of these runs.

    Args:
        runs: All that are meant, in any order.
        after: `next` of the call before.
        key: Of a rerun: the same for all calls of one go; a call that is repeated makes no second run.

    Raises:
        ValidationError: By `after`.

    One query for the runs, then the verb's own for each.
    """
    begin = time.monotonic()
    behind = _behind(runs, after).select_related("flow", "deployment__flow")
    found = list(behind.first_rows("-expected_start", "-id", most=MAX_RUNS + 1))
    outcome = Outcome()
    for position, run in enumerate(found[:MAX_RUNS]):
        try:
            made = VERBS[verb](run, user, key)
        except ValidationError as error:
            outcome.refused.append(Refusal(run.pk, run.name, " ".join(error.messages)))
        except Refused as refusal:
            outcome.refused.append(Refusal(run.pk, run.name, str(refusal)))
        except FlowRun.DoesNotExist:
            outcome.refused.append(Refusal(run.pk, run.name, "It was deleted meanwhile."))
        else:
            outcome.done += 1
            outcome.made += [made] if made else []
        if position + 1 < len(found) and (position + 1 == MAX_RUNS or time.monotonic() - begin > MAX_SECONDS):
            outcome.next = f"{run.expected_start.isoformat()}_{run.pk}"
            break
    return outcome


def _behind(runs: FlowRunQuerySet, after: str | None) -> FlowRunQuerySet:
    if not after:
        return runs
    try:
        due, id = _place(after)
    except ValueError:
        raise ValidationError({"after": "This is no `next` of an earlier answer."}) from None
    return runs.filter(Q(expected_start__lt=due) | Q(expected_start=due, id__lt=id), expected_start__lte=due)


def _place(after: str) -> tuple[datetime, UUID]:
    due, _, id = after.rpartition("_")
    return read_time(due), UUID(id)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for the API."""
    refused = [{"id": str(one.id), "name": one.name, "reason": one.reason} for one in outcome.refused]
    return {
        "done": outcome.done, "refused": refused, "made": [str(id) for id in outcome.made], "next": outcome.next
    }  # fmt: skip
