"""What must hold after a drill: the database compared with what the runs wrote down themselves.

Reads the database through Django, which has to be set up for the drill's home.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q

from flows.models import Catchup, Deployment, Schedule, WorkQueue
from orchestrator.drill.evidence import Evidence, Span, doubled, most_at_once, overlapping
from orchestrator.drill.pushing import Planned, Pushed
from runs.models import (
    FINAL_TYPES,
    MISSED_AFTER,
    OCCUPYING_TYPES,
    Attempt,
    ConcurrencyLimit,
    FlowRun,
    Slot,
    TaskRun,
)

CANCELLED_WITHIN: Final = timedelta(seconds=10)
LATE: Final = timedelta(seconds=30)  # a scheduled run that began later than this is counted
COMPLETED: Final = "COMPLETED"


@dataclass(slots=True)
class Findings:
    """Sentences about what is wrong, each with the run that it is about."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    overshot: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    confessed: list[str] = field(default_factory=list)  #: lost to the full disk, as the engine said on standard error
    notes: list[str] = field(default_factory=list)  #: what was checked, and how much of it there was

    @property
    def are_bad(self) -> bool:
        """Whether the drill has failed."""
        return bool(self.lost or self.duplicated or self.stuck or self.overshot)


@dataclass(frozen=True, slots=True)
class Held:
    """What was held against the database.

    Attributes:
        evidence: What the flows wrote.
        planned: The runs that were to be asked for.
        pushed: What became of the calls.
        paused_at: When the schedules were paused.
        full_disk: Unix times between which the disk of a machine was full.
    """

    evidence: Evidence
    planned: list[Planned]
    pushed: Pushed
    paused_at: datetime
    full_disk: list[tuple[float, float]]


def asked_for() -> int:
    """Return how many runs that no schedule made have not ended."""
    return FlowRun.objects.exclude(state_type__in=FINAL_TYPES).filter(schedule=None).count()


def outstanding(paused_at: datetime) -> list[FlowRun]:
    """Return runs that have not ended, but for those that schedules will start later."""
    waiting = FlowRun.objects.exclude(state_type__in=FINAL_TYPES)
    upcoming = Q(state_type="SCHEDULED", attempt=0, schedule__isnull=False, scheduled_for__gt=paused_at)
    return list(waiting.exclude(upcoming).order_by("id"))


def check(held: Held) -> Findings:
    """Hold everything against everything."""
    findings = Findings()
    runs = {str(run.pk): run for run in FlowRun.objects.select_related("deployment")}
    _check_asked(held, runs, findings)
    _check_ended(held, runs, findings)
    _check_once(held.evidence, findings)
    _check_recorded(held, runs, findings)
    _check_tasks(held, findings)
    _check_limits(held.evidence, runs, findings)
    for schedule in Schedule.objects.filter(active=True):
        _check_schedule(schedule, held.paused_at, findings)
    _count_late(held.evidence, runs, findings)
    findings.notes.append(
        f"{len(runs)} runs, {Attempt.objects.count()} attempts, {len(held.evidence.flows)} seen by themselves; "
        f"{TaskRun.objects.count()} task runs, {len(held.evidence.done)} known to have finished."
    )
    return findings


def _check_asked(held: Held, runs: Mapping[str, FlowRun], findings: Findings) -> None:
    """Every run that was asked for is there, once."""
    by_key: dict[str, list[FlowRun]] = defaultdict(list)
    for run in runs.values():
        if run.idempotency_key:
            by_key[run.idempotency_key].append(run)
    for planned in held.planned:
        found = by_key[planned.key]
        if len(found) > 1:
            findings.duplicated.append(f"{planned.key} made {len(found)} runs")
        elif not found:
            findings.lost.append(f"{planned.key} was asked for and made no run")
        elif held.pushed.runs.get(planned.key) not in {None, str(found[0].pk)}:
            findings.lost.append(f"the run answered for {planned.key} is another one")
    findings.lost += [f"the site refused {refused}" for refused in held.pushed.refused]


def _check_ended(held: Held, runs: Mapping[str, FlowRun], findings: Findings) -> None:
    """Every run, attempt and task run has ended, nothing is in progress, and no slot is held."""
    for run in outstanding(held.paused_at):
        findings.stuck.append(f"{_named(run)} is {run.state_name} since {run.state_time:%H:%M:%S}: {run.state_message}")
    ended = FlowRun.objects.filter(state_type__in=FINAL_TYPES)
    for attempt in Attempt.objects.filter(flow_run__in=ended).exclude(state_type__in=FINAL_TYPES):
        if attempt.state_type in OCCUPYING_TYPES:
            findings.stuck.append(
                f"attempt {attempt.number} of ended run {attempt.flow_run_id} is {attempt.state_name}"
            )
    for task in TaskRun.objects.filter(flow_run__in=ended).exclude(state_type__in=FINAL_TYPES):
        findings.stuck.append(f"task run {task.name} of ended run {task.flow_run_id} is {task.state_name}")
    for slot in Slot.objects.all():
        findings.stuck.append(f"a slot is held: {slot}")
    for run in runs.values():
        if run.state_type in FINAL_TYPES and run.lease_expires_at is not None:
            findings.stuck.append(f"{_named(run)} has ended and has a lease")
        if run.cancel_requested_at and run.end_time:
            _check_cancelled(run, run.cancel_requested_at, run.end_time, findings)
        _check_run_again(run, findings)


def _check_cancelled(run: FlowRun, asked: datetime, ended: datetime, findings: Findings) -> None:
    """What was to be cancelled is cancelled, or ended by itself at about that time."""
    if run.state_type == COMPLETED and ended - asked > CANCELLED_WITHIN:
        findings.stuck.append(f"{_named(run)} went on to complete, {(ended - asked).seconds} s after it was cancelled")
    elif ended - asked > CANCELLED_WITHIN:
        findings.late.append(f"{_named(run)} was {run.state_name} {(ended - asked).seconds} s after it was asked to")


def _check_run_again(run: FlowRun, findings: Findings) -> None:
    """What crashed was run again as often as its deployment says."""
    retries = run.deployment.crash_retries if run.deployment is not None else 0
    if run.state_type == "CRASHED" and run.attempt <= retries and not run.cancel_requested_at:
        findings.lost.append(f"{_named(run)} crashed in attempt {run.attempt} and was not run again")


def _check_once(evidence: Evidence, findings: Findings) -> None:
    """No run ran twice at once, and no attempt was run by two processes."""
    for first, second in overlapping(evidence.flows):
        findings.duplicated.append(
            f"run {first.run}: attempt {second.attempt} (pid {second.pid}) began {first.end - second.begin:.2f} s "
            f"before attempt {first.attempt} (pid {first.pid}) was over"
        )
    for first, second in doubled(evidence.flows):
        findings.duplicated.append(
            f"run {first.run}: pids {first.pid} and {second.pid} both ran attempt {first.attempt}"
        )


def _check_recorded(held: Held, runs: Mapping[str, FlowRun], findings: Findings) -> None:
    """What a run saw of itself is what the database has, and nothing else completed."""
    completed = set()
    attempts = {(str(each.flow_run_id), each.number): each for each in Attempt.objects.all()}
    for span in held.evidence.flows:
        if span.ok:
            completed.add(span.run)
        run, attempt = runs.get(span.run), attempts.get((span.run, span.attempt))
        if run is None or attempt is None:
            _missing(held, span, f"attempt {span.attempt} of run {span.run} (pid {span.pid}) is not recorded", findings)
        elif span.exited and span.ended and span.ok and attempt.state_type != COMPLETED:
            what = f"attempt {span.attempt} of {_named(run)} completed and is recorded as {attempt.state_name}"
            _missing(held, span, f"{what} ({attempt.state_message})", findings)
    for key, run in runs.items():
        if run.state_type == COMPLETED and key not in completed:
            findings.lost.append(f"{_named(run)} is recorded as Completed, and did not end")


def _check_tasks(held: Held, findings: Findings) -> None:
    """Every task run that its flow knew to be finished is recorded as finished."""
    spans = {span.task_run: span for span in held.evidence.tasks}
    states = {str(pk): state for pk, state in TaskRun.objects.values_list("pk", "state_type")}
    for task_run, run in held.evidence.done.items():
        state = states.get(task_run)
        if state != COMPLETED:
            what = f"task run {task_run} of run {run} finished and is recorded as {state or 'nothing'}"
            _missing(held, spans.get(task_run), what, findings)


def _missing(held: Held, span: Span | None, what: str, findings: Findings) -> None:
    """A fact is not in the database: excused only where the engine said on standard error that it lost some."""
    if span is not None and span.root in held.evidence.confessed:
        findings.confessed.append(what)
    else:
        findings.lost.append(what)


def _check_limits(evidence: Evidence, runs: Mapping[str, FlowRun], findings: Findings) -> None:
    """No limit of a queue, of a deployment or of a tag was overshot, by the runs' own clocks."""
    on_queue: dict[UUID | None, list[Span]] = defaultdict(list)
    of_deployment: dict[UUID | None, list[Span]] = defaultdict(list)
    for span in evidence.flows:
        if (run := runs.get(span.run)) is not None:
            on_queue[run.queue_id].append(span)
            of_deployment[run.deployment_id].append(span)
    for queue in WorkQueue.objects.exclude(limit=None):
        _check_limit(f"queue {queue.name}", queue.limit or 0, on_queue[queue.pk], findings)
    for deployment in Deployment.objects.exclude(limit=None).select_related("flow"):
        _check_limit(f"deployment {deployment}", deployment.limit or 0, of_deployment[deployment.pk], findings)
    for limit in ConcurrencyLimit.objects.all():
        tagged = [span for span in evidence.tasks if limit.tag in span.tags]
        _check_limit(f"tag {limit.tag}", limit.limit, tagged, findings)


def _check_limit(what: str, limit: int, spans: list[Span], findings: Findings) -> None:
    most, them = most_at_once(spans)
    findings.notes.append(f"{what}: limit {limit}, at most {most} at once in {len(spans)}.")
    if most > limit:
        who = ", ".join(f"{span.task_run or span.run} attempt {span.attempt} (pid {span.pid})" for span in them)
        findings.overshot.append(f"{what} has limit {limit}; at once: {who}")


def _check_schedule(schedule: Schedule, until: datetime, findings: Findings) -> None:
    """Each of a schedule's times from its first run on has one run, to its pause."""
    step = timedelta(seconds=60 if schedule.kind == "cron" else int(schedule.expression))
    runs = list(FlowRun.objects.filter(schedule=schedule, scheduled_for__lte=until).order_by("scheduled_for"))
    times = [run.scheduled_for for run in runs if run.scheduled_for is not None]
    name = f"schedule {schedule.expression!r}"
    if not times:
        if step < timedelta(seconds=60):
            findings.lost.append(f"{name} made no run")
        return
    expected = times[0]
    while expected <= until:
        if (count := times.count(expected)) > 1:
            findings.duplicated.append(f"{name}: {count} runs for {expected:%H:%M:%S}")
        elif not count and not _was_left_out(schedule, expected, step, runs):
            findings.lost.append(f"{name}: no run for {expected:%H:%M:%S}")
        expected += step
    if strays := [time for time in times if (time - times[0]) % step]:
        findings.duplicated.append(f"{name}: runs for {len(strays)} times that it does not have")
    findings.notes.append(f"{name}: {len(times)} times.")


def _was_left_out(schedule: Schedule, time: datetime, step: timedelta, runs: list[FlowRun]) -> bool:
    """Whether a time belongs to an outage of all ticks that was so long that the latest time stands for all of it."""
    if schedule.catchup == Catchup.ALL:
        return False
    following = next((run for run in runs if run.scheduled_for > time), None)
    # A tick makes runs of later times, so the newest row before the gap says when one last looked.
    looked_at = max((run.created_at for run in runs if run.scheduled_for < time), default=time - step)
    return following is not None and following.created_at - looked_at > MISSED_AFTER


def _count_late(evidence: Evidence, runs: Mapping[str, FlowRun], findings: Findings) -> None:
    first: dict[str, float] = {}
    for span in evidence.flows:
        first[span.run] = min(span.time, first.get(span.run, span.time))
    for key, begun in first.items():
        run = runs.get(key)
        if run is not None and run.scheduled_for and begun - run.expected_start.timestamp() > LATE.total_seconds():
            late = begun - run.expected_start.timestamp()
            findings.late.append(f"{_named(run)} began {late:.0f} s after its time")


def _named(run: FlowRun) -> str:
    return f"run {run.pk} ({run.name})"
