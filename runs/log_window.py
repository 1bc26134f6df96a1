"""The log lines that a run page shows: the last ones, older ones on demand, new ones while the page is open."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Left, Length

from orchestrator.sdk.states import StateType
from runs.models import FlowRun, Log

LINES = 300
LAST_LINES = 6  # of a crashed run, beside its cause …
LAST_CHARACTERS = 500  # … of each
SHOWN_CHARACTERS = 4000  # of one line; the whole line, up to 1 MB, has an address of its own
# Lines of another process (a subflow's, an earlier attempt's) may be brought in this much later than their ids say.
LATE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines of a run are wanted."""

    level: int = 0
    task_run: UUID | None = None
    text: str = ""

    def lines(self, run: FlowRun) -> QuerySet[Log]:
        """The lines, in no order."""
        lines = Log.objects.filter(flow_run=run)
        if self.level:
            lines = lines.filter(level__gte=self.level)
        if self.task_run:
            lines = lines.filter(task_run_id=self.task_run)
        if self.text:
            lines = lines.filter(message__icontains=self.text)
        return lines


@dataclass(frozen=True, slots=True)
class Insert:
    """New lines, and the line before which they belong; None: at the end."""

    lines: list[Log]
    before: UUID | None


@dataclass(frozen=True, slots=True)
class LogWindow:
    """Lines in order, oldest first, and whether there are older ones."""

    lines: list[Log]
    has_older: bool


def shown(lines: QuerySet[Log]) -> QuerySet[Log]:
    """Read only as much of each message as a page shows."""
    return lines.defer("message").annotate(shown=Left("message", SHOWN_CHARACTERS), length=Length("message"))


def window(run: FlowRun, wanted: LogFilter, before: UUID | None = None) -> LogWindow:
    """Return the last `LINES` lines, or those before a line (one query)."""
    lines = wanted.lines(run)
    if before:
        lines = lines.filter(id__lt=before)
    found = list(shown(lines).order_by("-id")[: LINES + 1])
    return LogWindow(found[LINES - 1 :: -1] if len(found) > LINES else found[::-1], len(found) > LINES)


def last_lines(run: FlowRun) -> list[str]:
    """Return what a crashed run's attempt said last, oldest first, each cut; of other runs nothing (one query).

    Nobody raised anything that would explain a crash: these lines are the next best.
    """
    if run.state_type != StateType.CRASHED:
        return []
    lines = Log.objects.filter(flow_run=run, attempt=run.attempt).order_by("-id")
    return list(lines.annotate(cut=Left("message", LAST_CHARACTERS)).values_list("cut", flat=True)[:LAST_LINES])[::-1]


def last_ids(run: FlowRun, wanted: LogFilter, known: Sequence[UUID] = ()) -> list[UUID]:
    """Return the ids of the last `LINES` lines, oldest first; with known ids only of lines near the end of those."""
    lines = wanted.lines(run)
    if known:
        lines = lines.filter(id__gte=_floor(known[-1]))
    return list(lines.order_by("-id").values_list("id", flat=True)[:LINES])[::-1]


def inserts(run: FlowRun, found: Sequence[UUID], known: Collection[UUID]) -> list[Insert]:
    """Return what has to be put where, so that a page which shows `known` shows `found` too (one query).

    Args:
        run: The run.
        found: Ids of lines, oldest first.
        known: Ids of the lines that the page shows.
    """
    lines = {
        line.id: line
        for line in shown(Log.objects.filter(flow_run=run, id__in=[id for id in found if id not in known]))
    }
    result: list[Insert] = []
    before: UUID | None = None
    waiting: list[Log] = []
    for id in reversed(found):
        if id in lines:
            waiting.append(lines[id])
            continue
        if waiting:
            result.append(Insert(waiting[::-1], before))
            waiting = []
        before = id
    if waiting:
        result.append(Insert(waiting[::-1], before))
    return result[::-1]


def _floor(id: UUID) -> UUID:
    """The lowest UUIDv7 of a time `LATE` before this one's."""
    milliseconds = (id.int >> 80) - int(LATE.total_seconds() * 1000)
    return UUID(int=max(milliseconds, 0) << 80)
