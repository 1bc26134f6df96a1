"""One run: its state in context, its timeline, its log, what made it and what became of it."""

from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet
from django.http import Http404

from orchestrator.sdk.states import StateType
from runs.live import run_group
from runs.log_window import LogFilter, LogWindow, last_lines, window
from runs.models import Attempt, FlowRun, TaskRun
from runs.presentation import duration, seconds_between
from runs.reads import rows, usual_duration
from runs.resources import resources
from runs.time_marks import marks
from runs.timeline import Timeline, timeline
from runs.views.live_page import LivePage, Reader
from runs.why import told_to, why

TABS = {"logs": "Logs", "tasks": "Task runs", "parameters": "Parameters", "attempts": "Attempts"}
LEVELS = {10: "Debug", 20: "Info", 30: "Warning", 40: "Error"}
TRACEBACK_CHARACTERS = 20_000
TASK_RUNS = 50
SUBFLOWS = 8
ATTEMPTS = 50
SHOWN_ATTEMPTS = 6  # to choose from above the timeline


class RunPage(LivePage):
    """A run as its reader sees it."""

    template = "runs/run.html"
    grid = (20, 40, 60, 80)  #: where the timeline's lines stand, in percent

    def __init__(self, reader: Reader, run_id: UUID) -> None:
        """Read the run (one query)."""
        super().__init__(reader)
        wanted = FlowRun.objects.visible_to(reader.user).filter(id=run_id)
        run = wanted.select_related(
            "flow", "deployment", "schedule", "queue", "parent", "rerun_of", "created_by"
        ).first()
        if run is None:
            raise Http404
        self.run = run
        tab = reader.query.get("tab", "")
        self.tab = tab if tab in TABS else "logs"

    @property
    def regions(self) -> dict[str, str]:  # type: ignore[override]
        """The log streams by itself; other tabs are replaced."""
        parts = {
            name: f"runs/_run_{name}.html"
            for name in ("head", "problem", "why", "timeline", "resources", "tabs", "about")
        }
        return parts if self.tab == "logs" else parts | {"tab": f"runs/_run_{self.tab}.html"}

    @property
    def revision(self) -> int:
        """The run's own."""
        return self.run.revision

    @property
    def sweep_seconds(self) -> float:  # type: ignore[override]
        """Bars grow while a run goes on."""
        return 30 if self.run.is_final else 2

    def groups(self) -> list[str]:
        """This run's."""
        return [run_group(self.run.id)]

    def log(self) -> tuple[FlowRun, LogFilter] | None:
        """The log, when it is on the page."""
        return (self.run, self.log_filter) if self.tab == "logs" else None

    @property
    def log_filter(self) -> LogFilter:
        """Which lines the reader wants."""
        query = self.reader.query
        level = query.get("level", "")
        return LogFilter(int(level) if level in map(str, LEVELS) else 0, self.task_run_id, query.get("q", "")[:200])

    @property
    def task_run_id(self) -> UUID | None:
        """The task run that the reader looks at."""
        try:
            return UUID(self.reader.query.get("task_run", ""))
        except ValueError:
            return None

    def context(self) -> dict[str, Any]:
        """All parts; what only the first answer needs is read when its template asks."""
        run, now = self.run, self.reader.now
        return {
            "run": run,
            "tab": self.tab,
            "tabs": [
                (name, title, self.reader.link(tab=None if name == "logs" else name)) for name, title in TABS.items()
            ],
            "counts": self._counts(),
            "seconds": seconds_between(run.start_time, run.end_time or now),
            "usual": usual_duration(run),
            "attempts": self.attempts,
            "attempt": self.attempt,
            "attempt_links": self._attempt_links(),
            "subflows": list(rows(run.subflow_runs.all()).order_by("id")[: SUBFLOWS + 1]),
            "can_cancel": not run.is_final and run.state_type != StateType.CANCELLING,
            "can_retry": run.is_final and run.deployment_id and run.state_type != StateType.COMPLETED,
            "can_delete": run.is_final and run.parent_id is None,
            "can_rerun": run.is_final and run.deployment_id,
            "late_seconds": self._late_words(),
            "waited": self._late_words(at_least=1) if run.deployment_id else "",
            "traceback": self._traceback(),
            "last_lines": last_lines(run),
            "resources": resources(run, self.shown_attempt),
            "marks": marks(run),
            "why": None if run.is_final else told_to(self.reader.user, why(run, now, self.attempts)),
            "timeline": self._timeline(),
            "task_run": self._task_run(),
            "task_runs": self._task_runs,
            "log_window": self._log_window,
            "log_filter": self.log_filter,
            "levels": LEVELS.items(),
        }

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Its attempts, newest first (one query)."""
        return list(self.run.attempts.select_related("worker").order_by("-number")[:ATTEMPTS])

    @property
    def attempt(self) -> int | None:
        """The attempt whose task runs are shown: the newest, or the one asked for; None where there was but one."""
        if self.run.attempt <= 1:
            return None
        wanted = self.reader.query.get("attempt", "")
        return int(wanted) if wanted.isdecimal() and 0 < int(wanted) <= self.run.attempt else self.run.attempt

    @property
    def shown_attempt(self) -> Attempt | None:
        """The attempt that is looked at; None before the first."""
        wanted = self.attempt or self.run.attempt
        return next((attempt for attempt in self.attempts if attempt.number == wanted), None)

    def _attempt_links(self) -> list[tuple[int, str]]:
        if self.attempt is None:
            return []
        numbers = sorted(attempt.number for attempt in self.attempts[:SHOWN_ATTEMPTS])
        newest = self.run.attempt
        return [(number, self.reader.link(attempt=None if number == newest else number)) for number in numbers]

    def _task_runs_of_attempt(self) -> QuerySet[TaskRun]:
        runs = self.run.task_runs.all()
        return runs if self.attempt is None else runs.filter(flow_attempt=self.attempt)

    def _counts(self) -> dict[str, Any]:
        counted = self._task_runs_of_attempt().order_by().values_list("state_type").annotate(Count("id"))
        by_type = dict(sorted(counted))
        return {
            "all": sum(by_type.values()),
            "completed": by_type.get(StateType.COMPLETED, 0),
            "failed": by_type.get(StateType.FAILED, 0) + by_type.get(StateType.CRASHED, 0),
            "by_type": by_type,
        }

    def _late_words(self, at_least: float = 0) -> str:
        """How long after its time the run began; empty for later attempts, which are not about its time."""
        seconds = seconds_between(self.run.scheduled_for or self.run.expected_start, self.run.start_time)
        return duration(seconds) if seconds is not None and seconds >= at_least and self.run.attempt <= 1 else ""

    def _traceback(self) -> str:
        error = self.run.error or {}
        return str(error.get("traceback", ""))[-TRACEBACK_CHARACTERS:]

    def _timeline(self) -> Timeline:
        times = next((attempt for attempt in self.attempts if attempt.number == self.attempt), self.run)
        opened = self.reader.query.getlist("open")
        return timeline(self._task_runs_of_attempt(), times.start_time, times.end_time, self.reader.now, opened)

    def _task_run(self) -> TaskRun | None:
        if self.task_run_id is None:
            return None
        return self.run.task_runs.filter(id=self.task_run_id).prefetch_related("earlier_attempts").first()

    def _task_runs(self) -> dict[str, Any]:
        """A page of task runs, in the order of their creation."""
        query = self.reader.query
        found = self._task_runs_of_attempt().defer("inputs", "error").order_by("id")
        if (state := query.get("state", "")) in StateType.__members__:
            found = found.filter(state_type=state)
        if key := query.get("key"):
            found = found.filter(key=key)
        try:
            found = found.filter(id__gt=UUID(query.get("after", "")))
        except ValueError:
            pass
        page = list(found[: TASK_RUNS + 1])
        after = page[TASK_RUNS - 1].id if len(page) > TASK_RUNS else None
        for task_run in page:
            ended = task_run.end_time or (self.reader.now if task_run.state_type == StateType.RUNNING else None)
            task_run.seconds = seconds_between(task_run.start_time, ended)
        return {"rows": page[:TASK_RUNS], "state": state, "key": key, "next": after and self.reader.link(after=after)}

    def _log_window(self) -> LogWindow:
        return window(self.run, self.log_filter)
