"""Folding a batch: many facts about one run become one row. No database here; `runs.ingest` loads and writes.

Who may say what about which attempt:

- An attempt belongs to the journal of its process. Only that journal moves its state, or begins the next attempt (a
  retry within the process). Once a supervisor or the lease ended the attempt, another journal may still bring the run's
  own ending: a process that outlived the closing of its journal goes on in a new one.
- Other journals (a forked child's) may record task runs and log lines of it.
- A journal of a superseded attempt changes nothing but that attempt's row, its task runs and its log lines. So it is
  from the moment when somebody decides that a run which ended is to run again, or that one which waits for that is not.
"""

import signal
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import UUID

from flows.models import slug_of
from orchestrator.sdk.causes import Cause
from orchestrator.sdk.events import (
    AnyFact,
    CodeFound,
    Ended,
    Exited,
    Fact,
    FlowRunCreated,
    FlowRunSnapshot,
    FlowRunState,
    Header,
    Log,
    Resources,
    TaskRunCreated,
    TaskRunState,
)
from orchestrator.sdk.states import StateType
from runs import bounds, resource_rows, task_rows
from runs.models import Attempt, FlowRun, ResourceSample, Trigger
from runs.task_rows import EarlierAttempt, TaskRow
from runs.tracking import NewFlow, Tracked
from runs.transitions import (
    FINAL_VALUES,
    SUSPENDED,
    Report,
    Source,
    accepts,
    as_cancelled,
    cause_of,
    crash,
    is_cancelling,
    known_cause,
)

_TYPES: Final = frozenset(type_.value for type_ in StateType)
_MAX_SMALL_INTEGER: Final = 32_767

LogRow = tuple[str, str, str | None, int, int, int, int, str, str]


class Fold:
    """The state of the runs that a batch names, and what the batch makes of it.

    Args:
        header: Of the batch's journal.
        journal: The journal's id.
        tracked: The runs that exist, by id.
        tasks: The task runs that exist, by 32 hexadecimal digits.
        clock: The latest time that the journal named before, in microseconds: ids of log lines never go back.
        bounded: Whether new runs have to be subflow runs of those that exist.
    """

    def __init__(
        self,
        header: Header,
        journal: UUID,
        tracked: dict[UUID, Tracked],
        tasks: dict[str, TaskRow],
        clock: int = 0,
        *,
        bounded: bool = False,
    ) -> None:
        self._bounded = bounded
        self.header = header
        self.journal = journal
        self.runs = tracked
        self.tasks = tasks
        self.flows: dict[str, NewFlow] = {}
        self.new_tasks: dict[str, TaskRow] = {}
        self.changed_tasks: dict[str, TaskRow] = {}
        self.earlier: dict[tuple[str, int], EarlierAttempt] = {}
        self.logs: list[LogRow] = []
        self.samples: list[ResourceSample] = []
        self.clock = clock
        self.late = 0  #: facts that came too late to change anything
        self.unknown = 0  #: facts about runs that are not there (deleted, or not brought in yet)
        self.ended = False
        self._by_text: dict[str, Tracked | None] = {}
        self._log_tail = 0x8000_0000_0000_0000 | (journal.int & 0xFFFF_FFFF)
        self._handlers: dict[type[Fact], Callable[[Any], None]] = {
            TaskRunState: self._task_state,
            TaskRunCreated: self._task_created,
            Log: self._log,
            Resources: self._resources,
            FlowRunState: self._flow_state,
            FlowRunCreated: self._flow_created,
            FlowRunSnapshot: self._snapshot,
            CodeFound: self._code,
            Exited: self._exited,
            Ended: self._end,
        }

    def take(self, facts: Iterable[AnyFact]) -> None:
        """Fold facts in, in their order."""
        handlers = self._handlers
        for fact in facts:
            handlers[type(fact)](fact)
            if fact.t > self.clock:
                self.clock = bounds.microseconds(fact.t)

    def end_all(self, report: Report) -> None:
        """Report every attempt of this journal that has not ended; a suspended run outlives its process."""
        for tracked in self.runs.values():
            for number in sorted(tracked.owned):
                attempt = tracked.attempts[number]
                if attempt.state_type not in FINAL_VALUES and attempt.state_name != SUSPENDED:
                    self._report(tracked, attempt, report)

    # Flow runs

    def _flow_created(self, fact: FlowRunCreated) -> None:
        run_id = bounds.uuid_hex(fact.run)
        if not run_id:
            self.unknown += 1
            return
        tracked = self.runs.get(UUID(run_id))
        if tracked is not None:
            return
        parent = self._parent_of(fact)
        if parent is None and self._bounded:
            self.unknown += not fact.parent  # else it is counted already
            return
        time = bounds.moment(fact.t)
        slug = slug_of(bounds.text(fact.flow, 200))
        self.flows.setdefault(slug, NewFlow(bounds.text(fact.flow, 200), bounds.text(fact.description, 10_000)))
        run = FlowRun(
            id=UUID(run_id),
            name=bounds.text(fact.name, 200),
            version=bounds.text(fact.version, 200),
            entrypoint=bounds.text(fact.entrypoint, 1000),
            parameters=bounds.json_value(fact.parameters, "Parameters"),
            tags=bounds.tags(fact.tags),
            trigger=Trigger.SUBFLOW if fact.parent else Trigger.SCRIPT,
            state_type=StateType.PENDING.value,
            state_name="Pending",
            state_time=time,
            expected_start=time,
            parent_id=parent,
        )
        tracked = Tracked(run, {}, set(), flow_slug=slug, is_new=True)
        self.runs[run.id] = tracked
        self._by_text.pop(fact.run, None)
        self._begin(tracked, max(1, bounds.integer(fact.attempt)), fact.t)

    def _parent_of(self, fact: FlowRunCreated) -> UUID | None:
        if not fact.parent:
            return None
        parent = self._tracked(fact.parent)
        if parent is None:
            self.unknown += 1
            return None
        return parent.run.id

    def _begin(self, tracked: Tracked, number: int, time: int) -> Attempt:
        """Make the next attempt of a run, of this journal's process."""
        run = tracked.run
        before = tracked.attempts.get(run.attempt)
        if before is not None and before.state_type not in FINAL_VALUES:
            before.state_type, before.state_name = StateType.FAILED.value, "Failed"
            before.ended_by = Source.RUN.value
            before.end_time = before.end_time or bounds.moment(time)
            tracked.changed.add(before)
        attempt = Attempt(
            flow_run=run,
            number=number,
            worker_id=before.worker_id if before is not None else None,
            outlives_worker=before.outlives_worker if before is not None else None,
            journal=self.journal,
            source=before.source if before is not None and before.journal == self.journal else {},
            host=bounds.text(self.header.host, 200),
            pid=bounds.integer(self.header.pid) or None,
            state_type=StateType.PENDING.value,
            state_name="Pending",
            created_at=bounds.moment(time),
        )
        run.attempt = number
        run.error, run.end_time, run.ended_by = None, None, ""
        tracked.attempts[number] = attempt
        tracked.owned.add(number)
        tracked.changed.add(attempt)
        tracked.closes = tracked.touched = True
        tracked.renew()
        return attempt

    def _flow_state(self, fact: FlowRunState) -> None:
        tracked = self._tracked(fact.run)
        if tracked is None or fact.type not in _TYPES:
            self.unknown += 1
            return
        attempt = self._own_attempt(tracked, fact)
        if attempt is None:
            self.late += 1
            return
        if fact.pid:
            attempt.pid = bounds.integer(fact.pid)
        if fact.run_name and attempt.number == tracked.run.attempt:
            tracked.run.name = bounds.text(fact.run_name, 200)
        self._report(
            tracked,
            attempt,
            Report(
                # A process that waits for its own retry holds its place: SCHEDULED would let a worker claim it again.
                StateType.RUNNING.value if fact.type == StateType.SCHEDULED else fact.type,
                bounds.text(fact.name, 32),
                bounds.microseconds(fact.t),
                Source.RUN,
                bounds.text(fact.message, bounds.MAX_MESSAGE),
                bounds.error_value(fact.error),
                known_cause(fact.cause),
            ),
        )

    def _own_attempt(self, tracked: Tracked, fact: FlowRunState) -> Attempt | None:
        """The attempt whose state this journal may report; a retry within the process begins here."""
        if fact.attempt in tracked.owned:
            return tracked.attempts[fact.attempt]
        attempt = tracked.attempts.get(fact.attempt)
        if attempt is None:
            # Any higher number of the process of the current attempt: gaps (facts lost to a full disk) are fine.
            if fact.attempt > tracked.run.attempt and tracked.may_begin:
                return self._begin(tracked, bounds.integer(fact.attempt), fact.t)
            return None
        if attempt.journal is None:
            self._adopt(tracked, attempt)
            return attempt
        outlived = attempt.ended_by in (Source.EXIT, Source.LAPSE) and fact.type in FINAL_VALUES
        return attempt if outlived and not tracked.owned else None

    def _adopt(self, tracked: Tracked, attempt: Attempt) -> None:
        attempt.journal = self.journal
        attempt.host = bounds.text(self.header.host, 200)
        tracked.owned.add(attempt.number)
        tracked.changed.add(attempt)
        tracked.renew()

    def _report(self, tracked: Tracked, attempt: Attempt, report: Report) -> None:
        """Take a report on an attempt, and on the run where the attempt is the current one."""
        run = tracked.run
        current = attempt.number == run.attempt and not tracked.is_decided
        cancelling = current and is_cancelling(run.state_type, run.ended_by)
        if cancelling:
            report = as_cancelled(report)
        if not accepts(attempt.state_type, attempt.ended_by, report):
            self.late += 1
            return
        self._enter(attempt, report)
        tracked.changed.add(attempt)
        tracked.touched = True
        if not current:
            return
        if report.type == StateType.RUNNING and run.start_time is None:
            run.start_time = bounds.moment(report.time)
        if cancelling and not report.is_final:
            # It goes on until it has heard of it (or lives on after it was given up).
            report = Report(StateType.CANCELLING.value, "Cancelling", report.time, message=run.state_message)
        revived = run.state_type in FINAL_VALUES and not report.is_final
        self._enter(run, report)
        run.state_time = bounds.moment(report.time)
        if report.is_final:
            run.lease_expires_at = None
            tracked.closes = True
        elif revived:
            tracked.revived = True

    @staticmethod
    def _enter(row: FlowRun | Attempt, report: Report) -> None:
        time = bounds.moment(report.time)
        row.state_type, row.state_name, row.state_message = report.type, report.name, report.message
        row.error = report.error
        row.ended_by = report.source.value if report.is_final else ""
        row.end_time = time if report.is_final else None
        if isinstance(row, Attempt):
            row.cause = cause_of(report)
        if report.type == StateType.RUNNING and row.start_time is None:
            row.start_time = time

    def _snapshot(self, fact: FlowRunSnapshot) -> None:
        tracked = self._tracked(fact.run)
        if tracked is None:
            self.unknown += 1
            return
        if fact.attempt != tracked.run.attempt or fact.attempt not in tracked.owned:
            self.late += 1
            return
        if fact.run_name:
            tracked.run.name = bounds.text(fact.run_name, 200)
        if fact.parameters is not None:
            tracked.run.parameters = bounds.json_value(fact.parameters, "Parameters")
            tracked.snapshot = True
        tracked.touched = True

    def _code(self, fact: CodeFound) -> None:
        tracked = self._tracked(fact.run)
        attempt = tracked.attempts.get(fact.attempt) if tracked is not None else None
        if tracked is None or attempt is None:
            self.unknown += 1
            return
        if fact.attempt in tracked.owned or attempt.journal == self.journal:
            attempt.source = {**attempt.source, "commit": bounds.text(fact.commit, 64)}
            tracked.changed.add(attempt)
            tracked.touched = True
        else:
            self.late += 1

    def _exited(self, fact: Exited) -> None:
        tracked = self._tracked(fact.run)
        if tracked is None:
            self.unknown += 1
            return
        attempt = tracked.attempts.get(fact.attempt)
        if attempt is not None and attempt.journal is None:
            self._adopt(tracked, attempt)
        if fact.attempt not in tracked.owned or attempt is None:
            self.late += 1
            return
        # The supervisor knows the attempt it started; the process may have begun others since.
        attempt = tracked.attempts[max(tracked.owned)]
        attempt.exit_code = None if fact.exit_code is None else max(-(2**31), min(fact.exit_code, bounds.MAX_INTEGER))
        attempt.signal = bounds.integer(fact.signal, _MAX_SMALL_INTEGER)
        resource_rows.keep_peak(attempt, fact)
        tracked.changed.add(attempt)
        tracked.touched = True
        message = bounds.text(fact.message, bounds.MAX_MESSAGE) or exit_cause(fact.exit_code, fact.signal)
        cause = known_cause(fact.cause) or (Cause.SIGNAL if fact.signal else Cause.EXIT)
        self._report(tracked, attempt, crash(bounds.microseconds(fact.t), message, Source.EXIT, cause))

    def _end(self, fact: Ended) -> None:
        self.ended = True
        self.end_all(crash(bounds.microseconds(fact.t), "the process ended without an ending of the run", Source.EXIT))

    # Task runs and log lines

    def _task_created(self, fact: TaskRunCreated) -> None:
        tracked = self._writable(fact)
        if tracked is None:
            return
        row_id = fact.id.replace("-", "").lower()
        known = self.tasks.get(row_id)
        if known is not None:
            if known.flow_run_id != tracked.hex or fact.attempt <= known.flow_attempt:
                self.late += 1
                return
        elif not bounds.uuid_hex(fact.id):
            self.unknown += 1
            return
        row = task_rows.created(fact, row_id, tracked.hex)
        if row is None:
            self.unknown += 1
            return
        self.tasks[row_id] = row
        if known is None or row_id in self.new_tasks:
            self.new_tasks[row_id] = row
        else:
            self.changed_tasks[row_id] = row

    def _task_state(self, fact: TaskRunState) -> None:
        tracked = self._writable(fact)
        if tracked is None:
            return
        row_id = fact.id.replace("-", "").lower()
        row = self.tasks.get(row_id)
        if row is None or row.flow_run_id != tracked.hex:
            self.unknown += 1
            return
        if fact.attempt < row.flow_attempt:
            self.late += 1
            return
        counted, left_behind = task_rows.follow(row, fact)
        if not counted:
            self.late += 1
            return
        row.flow_attempt = fact.attempt
        if left_behind is not None:
            self.earlier[row_id, left_behind.number] = left_behind
        if row_id not in self.new_tasks:
            self.changed_tasks[row_id] = row

    def _log(self, fact: Log) -> None:
        tracked = self._writable(fact)
        if tracked is None:
            return
        time = bounds.microseconds(fact.t)
        self.logs.append(
            (
                self._log_id(max(time, self.clock), fact.n),
                tracked.hex,
                (bounds.uuid_hex(fact.task_run) or None) if fact.task_run else None,
                fact.attempt,
                bounds.integer(fact.task_attempt),
                time,
                bounds.integer(fact.level, _MAX_SMALL_INTEGER),
                bounds.text(fact.logger, 200),
                bounds.log_message(fact.message),
            )
        )

    def _resources(self, fact: Resources) -> None:
        tracked = self._writable(fact)
        if tracked is None:
            return
        self.samples.append(resource_rows.sample(fact, tracked.run.id))
        attempt = tracked.attempts.get(fact.attempt)
        if attempt is not None and fact.attempt in tracked.owned:
            resource_rows.keep_peak(attempt, fact)
            tracked.changed.add(attempt)

    def _log_id(self, time: int, number: int) -> str:
        """A UUIDv7 of the line's time; where times are equal the number orders, and the journal's id tells apart."""
        milliseconds, fraction = divmod(time, 1000)
        high = milliseconds << 16 | 0x7000 | (fraction << 12) // 1000
        return f"{high:016x}{self._log_tail | (number & 0x3FFF_FFFF) << 32:016x}"

    def _writable(self, fact: TaskRunCreated | TaskRunState | Log | Resources) -> Tracked | None:
        """The run that a task run or a log line belongs to; None when its journal may not speak of that attempt."""
        try:
            tracked = self._by_text[fact.run]
        except KeyError:
            tracked = self._tracked(fact.run)
        if tracked is None:
            self.unknown += 1
            return None
        if fact.attempt not in tracked.known and not self._begins(tracked, fact):
            self.late += 1
            return None
        tracked.touched = True
        run = tracked.run
        if run.state_type in FINAL_VALUES:
            self._after_the_end(tracked, fact)
        return tracked

    def _begins(self, tracked: Tracked, fact: TaskRunCreated | TaskRunState | Log | Resources) -> bool:
        if fact.attempt > tracked.run.attempt and tracked.may_begin:
            self._begin(tracked, bounds.integer(fact.attempt), fact.t)
            return True
        return False

    def _after_the_end(self, tracked: Tracked, fact: Fact) -> None:
        """A late thread's task run is closed again; a run that was given up and goes on is running."""
        tracked.closes = True
        run = tracked.run
        if run.ended_by != Source.LAPSE or run.attempt not in tracked.owned or run.end_time is None:
            return
        if bounds.moment(fact.t) > run.end_time:  # done after the lease lapsed: it lives
            report = Report(StateType.RUNNING.value, "Running", bounds.microseconds(fact.t))
            self._report(tracked, tracked.attempts[run.attempt], report)

    def _tracked(self, text: str) -> Tracked | None:
        try:
            return self._by_text[text]
        except KeyError:
            key = bounds.uuid_hex(text)
            found = self.runs.get(UUID(key)) if key else None
            self._by_text[text] = found
            return found


def exit_cause(exit_code: int | None, signal_number: int) -> str:
    """Return in words how a process ended: `killed by signal 9 (SIGKILL)`, `exit code 3`."""
    if signal_number:
        return f"killed by signal {signal_number}{_signal_name(signal_number)}"
    if not exit_code:
        return "the process ended without an ending of the run"
    return f"exit code {exit_code}"


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
