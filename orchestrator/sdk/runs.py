"""A run as its own process sees it: what hooks and `runtime` show, and what the engine keeps about it."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from orchestrator.sdk.callables import Kind
    from orchestrator.sdk.capture import Partial
    from orchestrator.sdk.flows import Flow
    from orchestrator.sdk.futures import Submitted
    from orchestrator.sdk.inputs import Upstream
    from orchestrator.sdk.reuse import Reuse
    from orchestrator.sdk.runners.base import TaskRunner
    from orchestrator.sdk.tasks import Task


class Run:
    """What flow runs and task runs share.

    Attributes:
        id: UUIDv7 as text.
        name: For people.
        parameters: The arguments by the name of the parameter.
        tags: Those of the flow or task and of the enclosing `tags(…)` blocks.
        inputs: Parameter → ids of the runs that its value came from.
        state: The latest state; None before the first.
        start_us: When the first attempt began, in microseconds since the Unix epoch; 0 before.
    """

    __slots__ = (
        "arguments",
        "call_parameters",
        "function",
        "id",
        "inputs",
        "keywords",
        "kind",
        "log_prints",
        "name",
        "partial_lines",
        "start_us",
        "state",
        "tags",
        "timeout_seconds",
        "upstreams",
        "wait_for",
    )

    id: str
    name: str
    tags: frozenset[str]
    inputs: dict[str, list[str]]

    def __init__(
        self,
        function: Callable[..., Any],
        kind: Kind,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        wait_for: Any,
        timeout_seconds: float | None,
        log_prints: bool,
    ) -> None:
        self.function = function
        self.kind = kind
        self.arguments = arguments
        self.keywords = keywords
        self.wait_for = wait_for
        self.timeout_seconds = timeout_seconds
        self.log_prints = log_prints
        self.call_parameters: dict[str, Any] | None = None
        self.partial_lines: dict[tuple[str, int], Partial] | None = None  #: what was printed without a newline yet
        self.upstreams: list[Upstream] | None = None
        self.inputs = {}
        self.state: State | None = None
        self.start_us = 0

    @property
    def state_type(self) -> str | None:
        """The state's type, None before the first state."""
        return None if self.state is None else self.state.type

    @property
    def state_name(self) -> str | None:
        """The state's name, None before the first state."""
        return None if self.state is None else self.state.name

    @property
    def start_time(self) -> datetime | None:
        """When the first attempt began, in UTC."""
        from datetime import UTC, datetime  # 3 ms at import, and few scripts ask

        return datetime.fromtimestamp(self.start_us / 1_000_000, UTC) if self.start_us else None

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments by the name of the parameter, defaults included; a call that does not fit shows what fits."""
        if self.call_parameters is None:
            from orchestrator.sdk.parameters import bound_arguments  # inspect costs 17 ms at import

            self.call_parameters = bound_arguments(self.function, self.arguments, self.keywords)
        return self.call_parameters

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, name={self.name!r}, state={self.state!r})"


class FlowRun(Run):
    """One run of a flow: of a script, of a deployment, or as a subflow.

    Attributes:
        flow: The flow.
        attempt: Which attempt of the run this is, from 1.
        claimed: Whether a worker started it; the server then has a row for it already.
        parent: The flow run that called it as a subflow.
        parent_task_run_id: The task run that stands for it in its parent.
        deployment_id, deployment: Of the deployment, empty without one.
        scheduled_for: When a schedule or a person wanted it to start; None for a script.
        task_runner: The runner that its deployment chose, by name; empty: the flow's own.
        on_concluded: Called just before its final state is recorded: from then on, its hooks are this process's.
    """

    __slots__ = (
        "attempt",
        "calls",
        "claimed",
        "deadline",
        "deployment",
        "deployment_id",
        "flow",
        "on_concluded",
        "parent",
        "parent_task_run_id",
        "reuse",
        "runner",
        "scheduled_for",
        "submitted",
        "task_runner",
    )

    def __init__(
        self,
        flow: Flow[Any, Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        *,
        id: str,
        name: str,
        tags: frozenset[str],
        wait_for: Any = None,
        parent: FlowRun | None = None,
    ) -> None:
        log_prints = flow.log_prints
        if log_prints is None:
            log_prints = parent.log_prints if parent is not None else _logs_prints_by_default()
        super().__init__(flow.fn, flow.kind, arguments, keywords, wait_for, flow.timeout_seconds, log_prints)
        self.flow = flow
        self.id = id
        self.name = name
        self.tags = tags
        self.parent = parent
        self.attempt = 1
        self.claimed = False
        self.deadline: float | None = None  #: by time.monotonic, of the attempt under way
        self.parent_task_run_id = ""
        self.deployment_id = ""
        self.deployment = ""
        self.scheduled_for: datetime | None = None
        self.on_concluded: Callable[[], None] | None = None
        self.calls: dict[str, Iterator[int]] = {}  #: a task's key → how often it was called in this attempt
        self.runner: TaskRunner | None = None
        self.task_runner = ""
        self.submitted: Submitted | None = None
        self.reuse: Reuse | None = None

    @property
    def flow_run(self) -> FlowRun:
        """This run: what runs of both kinds answer."""
        return self

    @property
    def task_run(self) -> None:
        """None: what runs of both kinds answer."""
        return

    @property
    def flow_name(self) -> str:
        """The flow's name."""
        return self.flow.name

    @property
    def run_count(self) -> int:
        """Which attempt this is, from 1."""
        return self.attempt

    @property
    def label(self) -> str:
        """How log lines call it."""
        return f"Flow run '{self.name}'"

    def begin_attempt(self, attempt: int) -> None:
        """Forget what belongs to the attempt before."""
        self.attempt = attempt
        self.calls = {}
        self.submitted = None
        if self.reuse is not None:
            self.reuse.begin_attempt()

    def count_call(self, key: str) -> int:
        """Return how often the task of this key was called before in this attempt, and count this call."""
        # A counter in C and setdefault: several threads may call the same task.
        return next(self.calls.get(key) or self.calls.setdefault(key, count()))


class TaskRun(Run):
    """One run of a task.

    Attributes:
        task: The task.
        flow_run: The flow run it belongs to; None where a task is called outside a flow, and then nothing is recorded.
        key: Module-qualified name of the function, by which the task is known across attempts.
        index: How often the task was called before in this attempt of the flow run.
        attempt: Which attempt of the task run this is, from 1.
        flow_attempt: The attempt of the flow run that it belongs to.
    """

    __slots__ = ("attempt", "flow_attempt", "flow_run", "index", "key", "task")

    def __init__(
        self,
        task: Task[Any, Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        *,
        id: str,
        tags: frozenset[str],
        wait_for: Any = None,
        flow_run: FlowRun | None = None,
    ) -> None:
        # Written out instead of super().__init__(…): 10 % of the time of a task call.
        self.function = task.fn
        self.kind = task.kind
        self.arguments = arguments
        self.keywords = keywords
        self.wait_for = wait_for
        self.timeout_seconds = task.timeout_seconds
        self.call_parameters = None
        self.partial_lines = None
        self.upstreams = None
        self.state = None
        self.start_us = 0
        self.task = task
        self.id = id
        self.tags = tags
        self.flow_run = flow_run
        self.key = key = task.key
        self.attempt = 1
        self.inputs = {}
        log_prints = task.log_prints
        if flow_run is None:
            self.index = 0
            self.flow_attempt = 1
            self.log_prints = _logs_prints_by_default() if log_prints is None else log_prints
        else:
            self.index = flow_run.count_call(key)
            self.flow_attempt = flow_run.attempt  # kept, since one that was left behind outlives the attempt
            self.log_prints = flow_run.log_prints if log_prints is None else log_prints
        self.name = f"{task.name}-{self.index}"

    @property
    def task_run(self) -> TaskRun:
        """This run: what runs of both kinds answer."""
        return self

    @property
    def flow_run_id(self) -> str | None:
        """The flow run's id, None outside a flow."""
        return None if self.flow_run is None else self.flow_run.id

    @property
    def task_name(self) -> str:
        """The task's name."""
        return self.task.name

    @property
    def task_key(self) -> str:
        """The task's key."""
        return self.key

    @property
    def run_count(self) -> int:
        """Which attempt this is, from 1."""
        return self.attempt

    @property
    def label(self) -> str:
        """How log lines call it."""
        return f"Task run '{self.name}'"


def _logs_prints_by_default() -> bool:
    return os.environ.get("ORCHESTRATOR_LOGGING_LOG_PRINTS", "").lower() in ("1", "true", "yes", "on")
