"""The timeline of a run: a row for each task, drawn from aggregates, so that 10,000 task runs cost no more than ten.

Three queries: groups of task runs by key and state, the single task runs that are shown, their earlier attempts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min, QuerySet
from django.db.models.functions import Coalesce, Left

from orchestrator.sdk.states import FINAL, StateType
from runs.models import TaskRun
from runs.presentation import Look, duration, look, seconds_between, several, worst

MAX_GROUPS = 30
MAX_ROWS = 2000  # of aggregates; a run with more tasks than that shows the last ones
SHOW_ALL_UP_TO = 40  # task runs: fewer are all read, and each group shows its first few
FIRST_FEW = 3
LEAST_WIDTH = 0.4  # of a bar, percent of the axis
MAX_OPENED = 50
MAX_FAILED = 20
_BROKEN = (StateType.FAILED, StateType.CRASHED)


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time on a row's track; `x` and `width` in percent of the axis."""

    x: float
    width: float
    css: str
    title: str

    @property
    def is_wait(self) -> bool:
        """Whether nothing ran then."""
        return self.css == "wait"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the timeline."""

    name: str
    look: Look
    bars: list[Bar]
    duration: str
    task_run: UUID | None = None
    subflow_run: UUID | None = None
    key: str = ""
    times: int = 1
    note: str = ""
    indent: bool = False
    opened: bool | None = None  #: None where there is nothing to open
    more: int = 0

    @property
    def label(self) -> str:
        """What the picture says, in words."""
        said = [self.look.word, self.duration, self.note, *(bar.title for bar in self.bars if len(self.bars) > 1)]
        return ", ".join(part for part in said if part)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rows, and the length of the axis."""

    rows: list[Row]
    seconds: float
    groups_left_out: int = 0


@dataclass(slots=True)
class _Group:
    key: str
    task: str
    states: dict[str, int] = field(default_factory=dict)
    created: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    children: list[TaskRun] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(self.states.values())

    def add(self, found: dict[str, Any]) -> None:
        self.states[found["state_type"]] = found["runs"]
        self.created = _least(self.created, found["created"])
        self.start = _least(self.start, found["start"])
        self.end = max(filter(None, (self.end, found["end"])), default=None)


@dataclass(frozen=True, slots=True)
class _Axis:
    start: datetime
    end: datetime
    now: datetime

    def bar(self, start: datetime | None, end: datetime | None, css: str, word: str) -> Bar | None:
        """The stretch from start to end (or now), None when it has no length to speak of."""
        if start is None:
            return None
        whole = max((self.end - self.start).total_seconds(), 0.001)
        seconds = ((end or self.now) - start).total_seconds()
        if css == "wait" and seconds / whole < 0.004:
            return None
        # what took no time to speak of is drawn all the same
        width = max(seconds / whole * 100, LEAST_WIDTH)
        x = min(max((start - self.start).total_seconds() / whole * 100, 0), 100 - LEAST_WIDTH)
        return Bar(round(x, 3), round(min(width, 100 - x), 3), css, f"{word} {duration(seconds)}")


def timeline(
    task_runs: QuerySet[TaskRun],
    start: datetime | None,
    end: datetime | None,
    now: datetime,
    opened: Iterable[str] = (),
) -> Timeline:
    """Return the timeline of task runs of one flow run.

    Args:
        task_runs: All of them, or those of one attempt.
        start: When the run, or the attempt, began.
        end: When it ended; None while it goes on.
        now: Where the bars of what still runs end.
        opened: Keys of the groups whose task runs are wanted one by one (`MAX_OPENED` of each).
    """
    groups, left_out = _groups(task_runs)
    _read_children(task_runs, groups, set(opened))
    axis = _axis(groups, start, end, now)
    rows = [row for group in groups for row in _rows_of(group, axis, group.key in opened)]
    return Timeline(rows, (axis.end - axis.start).total_seconds(), left_out)


def _groups(task_runs: QuerySet[TaskRun]) -> tuple[list[_Group], int]:
    found = (
        task_runs.order_by()
        .values("key", "task", "state_type")
        .annotate(
            runs=Count("id"),
            created=Min("created_at"),
            start=Min("start_time"),
            end=Max(Coalesce("end_time", "attempt_start_time", "start_time")),
        )
        .order_by("-created", "key")[:MAX_ROWS]
    )
    groups: dict[str, _Group] = {}
    for row in found:
        groups.setdefault(row["key"], _Group(row["key"], row["task"])).add(row)
    ordered = sorted(groups.values(), key=lambda group: (group.created, group.key))
    return _most_telling(ordered), max(len(ordered) - MAX_GROUPS, 0)


def _most_telling(ordered: list[_Group]) -> list[_Group]:
    """At most `MAX_GROUPS`: what is not simply completed, then what was called last; in order."""
    if len(ordered) <= MAX_GROUPS:
        return ordered
    by_interest = sorted(enumerate(ordered), key=lambda item: (set(item[1].states) == {StateType.COMPLETED}, -item[0]))
    kept = {index for index, _ in by_interest[:MAX_GROUPS]}
    return [group for index, group in enumerate(ordered) if index in kept]


def _read_children(task_runs: QuerySet[TaskRun], groups: list[_Group], opened: set[str]) -> None:
    """Read the task runs that are shown by themselves: those alone in their group, opened ones, failed ones."""
    by_key = {group.key: group for group in groups}
    rows = (
        task_runs.defer("inputs", "tags", "error", "state_message")
        .annotate(said=Left("state_message", 300))
        .prefetch_related("earlier_attempts")
        .order_by("id")
    )
    if sum(group.size for group in groups) <= SHOW_ALL_UP_TO:
        children = rows
    else:
        single = [group.key for group in groups if group.size == 1]
        wanted = list(rows.filter(key__in=single)) if single else []
        wanted += [child for key in opened & by_key.keys() for child in rows.filter(key=key)[:MAX_OPENED]]
        children = [*wanted, *rows.filter(state_type__in=_BROKEN)[:MAX_FAILED]]
    seen = set()
    for child in children:
        if child.id not in seen and child.key in by_key:
            seen.add(child.id)
            by_key[child.key].children.append(child)


def _axis(groups: list[_Group], start: datetime | None, end: datetime | None, now: datetime) -> _Axis:
    starts = [start, *(group.created for group in groups)]
    last = max(filter(None, (end, *(group.end for group in groups))), default=now) if end else now
    first = min(filter(None, starts), default=last)
    return _Axis(first, max(last, first + timedelta(milliseconds=1)), max(now, last))


def _rows_of(group: _Group, axis: _Axis, opened: bool) -> list[Row]:
    if group.size == 1 and group.children:
        return [_row_of(group.children[0], axis, indent=False)]
    if group.size <= FIRST_FEW + 1 and len(group.children) == group.size:
        return [_group_row(group, axis, None), *(_row_of(child, axis, indent=True) for child in group.children)]
    shown = group.children if opened else group.children[:FIRST_FEW]
    rows = [_group_row(group, axis, opened), *(_row_of(child, axis, indent=True) for child in shown)]
    if shown and (left := group.size - len(shown)):
        rows.append(_rest_row(group, group.children[len(shown) :], left, axis))
    return rows


def _rest_row(group: _Group, rest: list[TaskRun], left: int, axis: _Axis) -> Row:
    """The row that stands for the task runs which are not shown; drawn where all of them were read."""
    bars: list[Bar | None] = []
    if len(rest) == left and all(StateType(child.state_type) in FINAL for child in rest):
        seen = look(worst({child.state_type for child in rest}))
        starts = [child.start_time for child in rest if child.start_time]
        ends = [child.end_time for child in rest if child.end_time]
        bars = [axis.bar(min(starts), max(ends), seen.css, seen.word)] if starts and ends else []
    name = f"{left:,} more"
    return Row(name, look(_state(group)), [bar for bar in bars if bar], "", key=group.key, indent=True, more=left)


def _state(group: _Group) -> StateType:
    return worst(set(group.states))


def _group_row(group: _Group, axis: _Axis, opened: bool | None) -> Row:
    state = _state(group)
    ended = all(StateType(type_) in FINAL for type_ in group.states)
    broken = sum(group.states.get(type_, 0) for type_ in _BROKEN)
    completed = group.states.get(StateType.COMPLETED, 0)
    said = f"{completed:,} of {group.size:,}" if not ended else (several(broken, "failure") if broken else "")
    seen = look(state)
    bars = [
        axis.bar(group.created, group.start or (axis.end if ended else None), "wait", "waited"),
        axis.bar(group.start, group.end if ended else None, seen.css, seen.word),
    ]
    took = seconds_between(group.start, group.end if ended else axis.now)
    return Row(
        group.task,
        seen,
        [bar for bar in bars if bar],
        duration(took),
        key=group.key,
        times=group.size,
        note=said,
        opened=opened,
    )


def _row_of(child: TaskRun, axis: _Axis, indent: bool) -> Row:
    seen = look(child.state_type, child.state_name)
    began = child.start_time
    ended = child.end_time if StateType(child.state_type) in FINAL else None
    return Row(
        child.name if indent else child.task,
        seen,
        _bars(child, axis),
        duration(seconds_between(began, ended or (axis.now if began else None))),
        task_run=child.id,
        subflow_run=child.subflow_run,
        note=child.said if StateType(child.state_type) in _BROKEN else "",
        indent=indent,
    )


def _bars(child: TaskRun, axis: _Axis) -> list[Bar]:
    """Attempts and the waits between them, in one row."""
    seen = look(child.state_type, child.state_name)
    bars: list[Bar | None] = []
    waiting_since: datetime | None = child.created_at
    for attempt in sorted(child.earlier_attempts.all(), key=lambda attempt: attempt.number):
        past = look(attempt.state_type, attempt.state_name)
        bars.append(axis.bar(waiting_since, attempt.start_time, "wait", "waited"))
        bars.append(axis.bar(attempt.start_time, attempt.end_time, past.css, past.word))
        waiting_since = attempt.end_time
    current = child.attempt_start_time or child.start_time
    final = StateType(child.state_type) in FINAL
    if bars and current and waiting_since and current < waiting_since:
        current = None  # the next attempt has not begun
    waited_until = current or (child.end_time if final else None)
    bars.append(axis.bar(waiting_since, waited_until, "wait", "waiting" if not (current or final) else "waited"))
    if current and child.state_name != "AwaitingRetry":
        bars.append(axis.bar(current, child.end_time if final else None, seen.css, seen.word))
    return [bar for bar in bars if bar]


def _least(first: datetime | None, second: datetime | None) -> datetime | None:
    return min(filter(None, (first, second)), default=None)
