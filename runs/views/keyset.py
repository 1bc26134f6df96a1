"""Lists of runs are read page by page behind the last row's place, which costs the same on every page."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from orchestrator.paging import read_time
from runs.models import FlowRun

ROWS = 50


def parse(cursor: str) -> tuple[datetime, UUID] | None:
    """Return the time and id that a cursor names; None for what is no cursor, which begins again."""
    time, _, id = cursor.rpartition("_")
    try:
        return read_time(time), UUID(id)
    except ValueError:
        return None


def page(runs: QuerySet[FlowRun], cursor: str, forwards: bool = False) -> tuple[list[FlowRun], str | None]:
    """Return a page of runs and the cursor of the next one.

    Args:
        runs: In any order.
        cursor: Where the page begins, from the one before; empty for the first.
        forwards: Soonest first (upcoming runs) rather than newest first.
    """
    sign, beyond = ("", "gt") if forwards else ("-", "lt")
    if place := parse(cursor):
        time, id = place
        after = Q(**{f"expected_start__{beyond}": time}) | Q(expected_start=time, **{f"id__{beyond}": id})
        runs = runs.filter(Q(**{f"expected_start__{beyond}e": time}) & after)
    found = list(runs.order_by(f"{sign}expected_start", f"{sign}id")[: ROWS + 1])
    if len(found) <= ROWS:
        return found, None
    last = found[ROWS - 1]
    return found[:ROWS], f"{last.expected_start.isoformat()}_{last.id}"
