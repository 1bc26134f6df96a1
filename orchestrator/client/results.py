"""What calls answer. Fields that a newer server adds are left out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """An answer's values."""


class Schedule(Result, frozen=True, kw_only=True):
    """When a deployment runs."""

    id: UUID
    kind: str
    expression: str
    timezone: str
    active: bool
    description: str
    calendar: str
    parameters: dict[str, Any]
    next_times: list[datetime]


class Deployment(Result, frozen=True, kw_only=True):
    """A flow that can be run by the server; `name` is flow-name/deployment-name."""

    id: UUID
    name: str
    flow: str
    paused: bool
    tags: list[str]
    queue: str
    parameters: dict[str, Any]
    parameter_schema: dict[str, Any]
    entrypoint: str
    directory: str
    version: str
    description: str
    limit: int | None
    schedules: list[Schedule]
    created_at: datetime
    updated_at: datetime


class RunError(Result, frozen=True, kw_only=True):
    """What ended a run."""

    type: str
    message: str
    traceback: str


class FlowRun(Result, frozen=True, kw_only=True):
    """A flow run as lists show it."""

    id: UUID
    name: str
    flow: str
    deployment: str | None
    state_type: str
    state_name: str
    state_message: str
    start_time: datetime | None
    end_time: datetime | None
    expected_start: datetime | None
    attempt: int
    tags: list[str]
    trigger: str
    duration_seconds: float | None

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.state_type in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


class FlowRunDetail(FlowRun, frozen=True, kw_only=True):
    """A flow run, inspected."""

    parameters: dict[str, Any]
    task_run_counts: dict[str, int]
    error: RunError | None
    queue: str | None


class Log(Result, frozen=True, kw_only=True):
    """A line of a run's log."""

    id: UUID
    time: datetime
    level: int
    level_name: str
    logger: str
    message: str
    task_run: UUID | None
    task_run_name: str | None


class WorkQueue(Result, frozen=True, kw_only=True):
    """A queue of runs, and how much goes on there."""

    id: UUID
    name: str
    description: str
    paused: bool
    limit: int | None
    priority: int
    in_progress: int
    waiting: int


class ConcurrencyLimit(Result, frozen=True, kw_only=True):
    """How many task runs with a tag may run at once, and how many do."""

    id: UUID
    tag: str
    limit: int
    used: int
    waiting: int


class Token(Result, frozen=True, kw_only=True):
    """An API token as it is listed: its prefix only."""

    id: UUID
    name: str
    team: str
    prefix: str
    scope: str | None = None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class MadeToken(Token, frozen=True, kw_only=True):
    """A token as it is answered once, when it is made."""

    token: str
