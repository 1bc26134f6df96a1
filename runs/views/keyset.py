"""Lists of runs are read page by page behind the last row's place, which costs the same on every page."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from orchestrator.paging import read_time
from runs.models import FlowRun, FlowRunQuerySet

ROWS = 50


def parse(cursor: str) -> tuple[datetime, UUID] | None:
    """Return the time and id that a cursor names; None for what is no cursor, which begins again."""
    time, _, id = cursor.rpartition("_")
    try:
        return read_time(time), UUID(id)
    except ValueError:
        return None


def page(runs: FlowRunQuerySet, cursor: str, forwards: bool = False) -> tuple[list[FlowRun], str | None]:
    """Return a page of runs and the cursor of the next one.

    A search may find fewer than a page while there is a next one: it looks so far back at a time (two queries).

    Args:
        runs: In any order.
        cursor: Where the page begins, from the one before; empty for the first.
        forwards: Soonest first (upcoming runs) rather than newest first.
    """
    beyond = "gt" if forwards else "lt"
    place, back_to = parse(cursor), None
    if runs.is_search and not forwards:
        back_to = runs.looked_back_to("expected_start", place[0] if place else timezone.now())
        runs = runs.filter(expected_start__gte=back_to) if back_to else runs
    if place:
        time, id = place
        after = Q(**{f"expected_start__{beyond}": time}) | Q(expected_start=time, **{f"id__{beyond}": id})
        runs = runs.filter(Q(**{f"expected_start__{beyond}e": time}) & after)
    if forwards:  # of what is to come there are few: the index of that is read for everybody
        found = list(runs.order_by("expected_start", "id")[: ROWS + 1])
    else:
        found = list(runs.first_rows("-expected_start", "-id", most=ROWS + 1))
    if len(found) <= ROWS:
        return found, back_to and f"{back_to.isoformat()}_{UUID(int=0)}"
    last = found[ROWS - 1]
    return found[:ROWS], f"{last.expected_start.isoformat()}_{last.id}"
