"""What pages ask about many runs at once. Every read is bounded in rows, by an index named in `models`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Count, Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Left
from django.utils.safestring import SafeString, mark_safe

from flows.models import Flow
from orchestrator.sdk.states import ACTIVE, FINAL, StateType
from runs.models import FlowRun, FlowRunQuerySet, Worker
from runs.presentation import duration_range, look, seconds_between
from teams.models import User
from teams.reach import any_of

STRIP_RUNS = 30
USUAL_RUNS = 20
USUAL_AT_LEAST = 3
BROKEN = (StateType.FAILED, StateType.CRASHED)
HALF_HOURS = 48
MESSAGE_CHARACTERS = 300


def rows(runs: FlowRunQuerySet) -> FlowRunQuerySet:
    """Read of runs what a row of a list shows; parameters and tracebacks stay where they are."""
    return (
        runs.select_related("flow", "deployment")
        .defer("parameters", "error", "state_message", "flow__description", *_HEAVY_OF_DEPLOYMENT)
        .annotate(said=Left("state_message", MESSAGE_CHARACTERS))
    )


def newest(runs: FlowRunQuerySet, most: int) -> list[FlowRun]:
    """Return the first rows of a list (one query)."""
    return list(rows(runs).first_rows("-expected_start", "-id", most=most))


_HEAVY_OF_DEPLOYMENT = tuple(
    f"deployment__{name}" for name in ("description", "parameters", "parameter_schema", "declared", "tags")
)


def usual_duration(run: FlowRun) -> tuple[float, float] | None:
    """Return the range, in seconds, of most of the last completed runs like this one; None when there are too few.

    Like this one: of its deployment, else of its flow. One query of at most `USUAL_RUNS` rows.
    """
    same = Q(deployment_id=run.deployment_id) if run.deployment_id else Q(flow_id=run.flow_id)
    found = (
        FlowRun.objects.filter(same, state_type=StateType.COMPLETED, start_time__isnull=False, end_time__isnull=False)
        .exclude(id=run.id)
        .newest_first()
        .values_list("start_time", "end_time")[:USUAL_RUNS]
    )
    seconds = sorted((end - start).total_seconds() for start, end in found)
    if len(seconds) < USUAL_AT_LEAST:
        return None
    edge = len(seconds) // 10
    return seconds[edge], seconds[-1 - edge]


def usual_words(run: FlowRun) -> str:
    """Return `44 to 52 s`, or nothing when there are too few runs to say so."""
    usual = usual_duration(run)
    return duration_range(*usual) if usual else ""


@dataclass(frozen=True, slots=True)
class Mark:
    """One run in a strip: where it stands (percent), how high (percent of the longest), in which state."""

    x: float
    y: float
    height: float
    css: str


class Ran(NamedTuple):
    """What a strip shows of a run."""

    id: UUID
    owner: UUID  #: its flow or deployment
    state_type: str
    state_name: str
    start_time: datetime | None
    end_time: datetime | None
    expected_start: datetime


@dataclass(frozen=True, slots=True)
class Strip:
    """The last runs of a flow or a deployment, oldest first, with what they say in words."""

    marks: list[Mark]
    completed: int
    ended: int
    median_seconds: float | None
    last: Ran | None

    @property
    def rate(self) -> str:
        """The share of ended runs that completed: `97 %`."""
        return f"{self.completed * 100 // self.ended} %" if self.ended else ""

    @property
    def bars(self) -> SafeString:
        """The marks in SVG. A page has 1,500 of them, which the template language takes 30 ms for."""
        return mark_safe(
            "".join(
                f'<rect class="{mark.css}" x="{mark.x}%" y="{mark.y}%" width="2.4%" height="{mark.height}%" rx="1"/>'
                for mark in self.marks
            )
        )

    @property
    def label(self) -> str:
        """The picture in words."""
        if not self.marks:
            return "no runs yet"
        return f"last {len(self.marks)} runs: {self.completed} of {self.ended} completed"


def strips(field: str, ids: Sequence[UUID], now: datetime, user: User) -> dict[UUID, Strip]:
    """Return the strip of each flow or deployment.

    Args:
        field: "flow" or "deployment": what the ids name.
        ids: Ids of at most a page of them.
        now: Runs due later are left out.
        user: Only runs visible to this user count.

    Two queries: where the last `STRIP_RUNS` runs of each begin (an index seek each), then those runs.
    """
    if not ids:
        return {}
    runs = FlowRun.objects.filter(expected_start__lte=now).exclude(state_type=StateType.SCHEDULED)
    last = runs.filter(**{field: OuterRef("pk")}).newest_first().values("expected_start")[STRIP_RUNS - 1 : STRIP_RUNS]
    model = FlowRun._meta.get_field(field).related_model
    since = list(model.objects.filter(pk__in=ids).values_list("pk", "team_id").annotate(since=Subquery(last)))
    wanted = Q()
    for pk, _, begin in since:
        wanted |= Q(**{field: pk}) & (Q(expected_start__gte=begin) if begin else Q())
    # Where all their runs are seen anyway, saying so would have SQLite read those of the whole team.
    all_seen = all(user.sees_whole(field, pk, team) for pk, team, _ in since)
    found = (
        (runs if all_seen else runs.visible_to(user))
        .filter(wanted)
        .newest_first()
        .values_list("id", f"{field}_id", "state_type", "state_name", "start_time", "end_time", "expected_start")
    )
    by_owner: dict[UUID, list[Ran]] = {pk: [] for pk in ids}
    for run in map(Ran._make, found):
        if len(owned := by_owner[run.owner]) < STRIP_RUNS:
            owned.append(run)
    return {pk: _strip(owned, now) for pk, owned in by_owner.items()}


def _strip(newest_first: list[Ran], now: datetime) -> Strip:
    took = [seconds_between(run.start_time, run.end_time or now) for run in newest_first]
    lengths = sorted(seconds for seconds in took if seconds)
    # one run that hangs must not make the others look alike
    longest = min(lengths[-1], 3 * lengths[len(lengths) // 2]) if lengths else 0
    marks = []
    for index, (run, seconds) in enumerate(zip(newest_first, took, strict=True)):
        height = 12 + 82 * min((seconds or 0) / longest, 1) if longest else 30.0
        x = (STRIP_RUNS - 1 - index) * 100 / STRIP_RUNS
        marks.append(Mark(round(x, 2), round(98 - height, 1), round(height, 1), look(run.state_type).css))
    ended = [run for run in newest_first if run.state_type in FINAL]
    completed = [run for run in ended if run.state_type == StateType.COMPLETED]
    seconds = sorted(filter(None, (seconds_between(run.start_time, run.end_time) for run in completed)))
    median = seconds[len(seconds) // 2] if seconds else None
    return Strip(marks[::-1], len(completed), len(ended), median, newest_first[0] if newest_first else None)


class _HalfHour(Func):
    """The number of the half hour of a time, counted from the Unix epoch."""

    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # doubled twice: for this template, and for the placeholders of the whole query
        return self.as_sql(
            compiler, connection, template="(CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / 1800)"
        )

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(EXTRACT(EPOCH FROM %(expressions)s)::bigint / 1800)")


def by_half_hour(runs: FlowRunQuerySet, now: datetime) -> dict[int, dict[str, int]]:
    """Return counts by type of state of the runs due in the last 24 hours, by half hour (0 is the oldest)."""
    last = int(now.timestamp()) // 1800
    begin = datetime.fromtimestamp((last - HALF_HOURS + 1) * 1800, tz=now.tzinfo)
    found = (
        runs.filter(expected_start__gte=begin, expected_start__lte=now)
        .annotate(half_hour=_HalfHour(F("expected_start")))
        .order_by()
        .values_list("half_hour", "state_type")
        .annotate(runs=Count("id"))
    )
    result: dict[int, dict[str, int]] = {index: {} for index in range(HALF_HOURS)}
    for half_hour, state_type, number in found:
        result[half_hour - last + HALF_HOURS - 1][state_type] = number
    return result


def ended_between(runs: FlowRunQuerySet, begin: datetime, end: datetime) -> dict[str, int]:
    """Return counts by type of state of the runs that were due in [begin, end)."""
    found = runs.filter(expected_start__gte=begin, expected_start__lt=end).order_by().values_list("state_type")
    return dict(found.annotate(Count("id")))


def needs_attention(runs: FlowRunQuerySet, now: datetime, most: int) -> list[FlowRun]:
    """Return runs of the last 7 days that broke, newest first, and that nobody has run again since.

    A subflow's failure is its parent's story, so subflows are left out.
    """
    again = FlowRun.objects.filter(rerun_of=OuterRef("pk"))  # a join for their absence misleads PostgreSQL's planner
    broken = runs.filter(
        ~Exists(again), state_type__in=BROKEN, expected_start__gte=now - timedelta(days=7), parent=None
    )
    return newest(broken, most)


def running_now(runs: FlowRunQuerySet, most: int) -> list[FlowRun]:
    """Return the runs that run, longest first."""
    return list(rows(runs.filter(state_type__in=ACTIVE)).order_by("expected_start", "id")[:most])


def running_count(runs: FlowRunQuerySet) -> int:
    """Return how many runs run."""
    return runs.filter(state_type__in=ACTIVE).count()


def places(now: datetime) -> int:
    """Return how many runs the workers heard of in the last half minute may run at once."""
    return Worker.objects.alive(now).aggregate(places=Sum("places"))["places"] or 0


def up_next(runs: FlowRunQuerySet, now: datetime, most: int) -> list[FlowRun]:
    """Return the next runs to start, soonest first, with their schedules."""
    upcoming = runs.scheduled().filter(expected_start__gt=now).select_related("schedule")
    return list(rows(upcoming).order_by("expected_start", "id")[:most])


def flows_by_activity(user: User, now: datetime) -> QuerySet[Flow]:
    """Flows that this user looks at, that of the newest run first, each with `last_run_at` (an index seek a flow)."""
    newest = FlowRun.objects.filter(flow=OuterRef("pk"), expected_start__lte=now).newest_first()
    last = Subquery(newest.values("expected_start")[:1])
    return (
        Flow.objects.listed_for(user)
        .annotate(last_run_at=last)
        .order_by(F("last_run_at").desc(nulls_last=True), "name")
    )


def progress(running: Sequence[FlowRun], now: datetime) -> dict[UUID, int]:
    """Return how far each run has probably come, in percent of the usual time of its flow's completed runs.

    One query; runs of flows that completed too seldom to say are left out, and 97 % is the most that is claimed.
    """
    flows = {run.flow_id for run in running}
    if not flows:
        return {}
    completed = FlowRun.objects.filter(state_type=StateType.COMPLETED).newest_first()
    wanted = any_of([completed.filter(flow=flow_id)[:USUAL_RUNS] for flow_id in flows])
    seconds: dict[UUID, list[float]] = {}
    found = FlowRun.objects.filter(wanted, start_time__isnull=False, end_time__isnull=False)
    for flow_id, start, end in found.values_list("flow_id", "start_time", "end_time"):
        seconds.setdefault(flow_id, []).append((end - start).total_seconds())
    result = {}
    for run in running:
        took = sorted(seconds.get(run.flow_id, ()))
        if run.start_time and len(took) >= USUAL_AT_LEAST and (usual := took[len(took) // 2]):
            result[run.id] = min(round((now - run.start_time).total_seconds() / usual * 100), 97)
    return result
