"""What calls answer. Fields that a newer server adds are left out."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """An answer's values."""


class Named(Result, frozen=True, kw_only=True):
    """A thing, in short."""

    id: UUID
    name: str


class Flow(Named, frozen=True, kw_only=True):
    """A flow."""

    description: str
    created_at: datetime


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
    source: dict[str, Any]
    version: str
    description: str
    limit: int | None
    infrastructure: str
    infrastructure_overrides: dict[str, Any]
    schedules: list[Schedule]
    created_at: datetime
    updated_at: datetime


class AppliedDeployment(Result, frozen=True, kw_only=True):
    """What became of a deployment of a project: create, update, keep, delete or abandon."""

    id: UUID | None
    name: str
    action: str
    changes: dict[str, list[Any]]
    kept: list[str]


class DeploymentVersion(Result, frozen=True, kw_only=True):
    """What a deploy, or a rollback, made of a deployment; `settings` has every field as it was then."""

    number: int
    created_at: datetime
    created_by: str | None
    rolled_back_to: int | None
    source: dict[str, Any]
    settings: dict[str, Any]
    is_current: bool


class FileDiff(Result, frozen=True, kw_only=True):
    """A file that differs: a unified diff, or why there is none."""

    path: str
    change: str
    text: str
    why: str


class VersionDiff(Result, frozen=True, kw_only=True):
    """What differs between two versions: by field before and after, and the files."""

    before: int
    after: int
    settings: dict[str, list[Any]]
    files: list[FileDiff]
    more: int
    unread: str


class ScheduledDay(Result, frozen=True, kw_only=True):
    """A day of a schedule's year: how many runs, and what a calendar does to them."""

    date: date
    runs: int
    moved_here: int
    left_out: int
    day_off: str | None


class SchedulePreview(Result, frozen=True, kw_only=True):
    """What a schedule would mean."""

    description: str
    expression: str
    next_times: list[datetime]
    year: list[ScheduledDay] | None


class Backfill(Result, frozen=True, kw_only=True):
    """The runs of past times: how many are made, how many were there, and the tag that they have."""

    count: int
    there: int
    more_from: datetime | None
    times: list[datetime]
    tag: str
    flow_runs: list[UUID]


class Webhook(Result, frozen=True, kw_only=True):
    """A deployment's webhook, without its address."""

    prefix: str
    mapping: dict[str, str]
    created_by: str | None
    created_at: datetime
    last_used_at: datetime | None


class MadeWebhook(Webhook, frozen=True, kw_only=True):
    """A webhook as it is answered once, with its address."""

    url: str


class DayOff(Result, frozen=True, kw_only=True):
    """A day off of a calendar."""

    date: date
    name: str = ""


class Calendar(Named, frozen=True, kw_only=True):
    """A business calendar."""

    description: str
    country: str
    subdivision: str
    weekend: list[str]
    days_off: list[DayOff]
    working_days: list[date]
    created_at: datetime
    updated_at: datetime


class InspectedCalendar(Calendar, frozen=True, kw_only=True):
    """A calendar with its days off to come, and the deployments that use it."""

    special_days: list[dict[str, str]]
    used_by: list[str]


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


class TaskRun(Named, frozen=True, kw_only=True):
    """A task run."""

    task: str
    state_type: str
    state_name: str
    state_message: str
    error: RunError | None
    attempt: int
    max_retries: int
    created_at: datetime
    start_time: datetime | None
    end_time: datetime | None
    next_attempt_at: datetime | None
    duration_seconds: float | None
    tags: list[str]
    inputs: dict[str, list[str]]
    subflow_run: UUID | None
    flow_attempt: int


class ResourceSample(Result, frozen=True, kw_only=True):
    """Memory in bytes, and processors in use (1.0: one), at a time of a run."""

    time: datetime
    attempt: int
    cpu: float
    memory_bytes: int


class Gate(Result, frozen=True, kw_only=True):
    """One of the conditions on a run's start, and whether it is met."""

    name: str
    title: str
    open: bool
    blocks: bool
    sentence: str
    at: datetime | None


class Why(Named, frozen=True, kw_only=True):
    """Why a run does not start: the answer, and every gate."""

    state_type: str
    state_name: str
    waits: bool
    answer: str
    blocked_by: str | None
    gates: list[Gate]


class Refusal(Named, frozen=True, kw_only=True):
    """A run that a bulk verb left alone, and why."""

    reason: str


class BulkAnswer(Result, frozen=True, kw_only=True):
    """What a bulk verb did, or with `dry_run` would do; `next` continues it."""

    count: int = 0
    more: bool = False
    done: int = 0
    refused: list[Refusal] = []
    made: list[UUID] = []
    next: str | None = None


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


class BlockField(Result, frozen=True, kw_only=True):
    """A field of a block type; `shape` says how its value is written."""

    name: str
    title: str
    help: str
    shape: str
    required: bool
    secret: bool
    opened: bool
    block: str


class BlockType(Result, frozen=True, kw_only=True):
    """What a block can be: `docker`, `process` and so on; `schema` is that of its values."""

    name: str
    label: str
    summary: str
    risk: str
    is_infrastructure: bool
    fields: list[BlockField]
    schema: dict[str, Any]


class BlockPreview(Result, frozen=True, kw_only=True):
    """What a worker asks of an engine; None where the block's kind asks none. `yaml` is the same, to read."""

    preview: dict[str, Any] | None
    yaml: str


class Block(Result, frozen=True, kw_only=True):
    """Where runs execute, or what a worker needs to do that; secrets are never read back."""

    id: UUID
    type: str
    name: str
    description: str
    values: dict[str, Any]
    secrets_set: list[str]
    opened: list[str]
    version: int
    deployments: int
    created_at: datetime
    updated_at: datetime


class ConcurrencyLimit(Result, frozen=True, kw_only=True):
    """How many task runs with a tag may run at once, and how many do."""

    id: UUID
    tag: str
    limit: int
    used: int
    waiting: int


class Worker(Named, frozen=True, kw_only=True):
    """A worker, and how much goes on there."""

    host: str
    pid: int
    team: UUID | None
    queues: list[str]
    places: int
    running: int
    load: float | None
    alive: bool
    hears: bool
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None


class Parts(Result, frozen=True, kw_only=True):
    """What serves runs: workers, their places, those that hear no bell, and how long the first in line has waited."""

    workers: int
    places: int
    deaf: int
    waiting_seconds: float


class Health(Result, frozen=True, kw_only=True):
    """Whether the server works."""

    status: str
    version: str
    parts: Parts | None = None
