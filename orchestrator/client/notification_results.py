"""What calls about notifications answer. Fields that a newer server adds are left out."""

from datetime import datetime
from uuid import UUID

from orchestrator.client.results import Named, Result


class DestinationName(Named, frozen=True, kw_only=True):
    """A destination, in short."""

    kind: str
    summary: str


class Policy(Result, frozen=True, kw_only=True):
    """What is told of which runs, where."""

    id: UUID
    name: str
    events: list[str]
    flows: list[str]
    deployments: list[str]
    tags: list[str]
    destinations: list[DestinationName]
    message: str
    log_lines: int
    timezone: str
    burst_limit: int
    long_running_seconds: int | None
    paused: bool
    created_at: datetime
    updated_at: datetime


class ShownOnce(Result, frozen=True, kw_only=True):
    """The secret that a destination made along signs with."""

    destination: str
    secret: str


class MadePolicy(Policy, frozen=True, kw_only=True):
    """A policy as it is answered once, when it is made or changed."""

    shown_once: list[ShownOnce]


class Destination(Result, frozen=True, kw_only=True):
    """Where is told, without its address."""

    id: UUID
    name: str
    kind: str
    summary: str
    paused: bool
    paused_at: datetime | None
    gave_up: bool
    failures: int
    failing_since: datetime | None
    retry_at: datetime | None
    last_answer: str
    last_answer_at: datetime | None
    policies: list[str]
    created_at: datetime


class MadeDestination(Destination, frozen=True, kw_only=True):
    """A destination as it is answered once; `shown_once` is what it signs with, if anything new."""

    shown_once: str


class Answer(Result, frozen=True, kw_only=True):
    """What a service said to a test."""

    ok: bool
    text: str


class PolicyAnswer(Answer, frozen=True, kw_only=True):
    """What the service of one destination said."""

    destination: DestinationName


class Content(Result, frozen=True, kw_only=True):
    """A message as it would be told."""

    event: str
    tone: str
    title: str
    text: str
    log_lines: list[str]
    url: str


class ToldRun(Named, frozen=True, kw_only=True):
    """The run that was told of."""

    flow: str
    deployment: str | None


class Delivery(Result, frozen=True, kw_only=True):
    """That a run's event was told, or not, to one destination."""

    id: UUID
    event: str
    status: str
    policy: Named | None
    destination: DestinationName | None
    flow_run: ToldRun
    attempt: int
    occurred_at: datetime
    state_name: str
    reason: str
    muted: bool
    due_at: datetime | None
    created_at: datetime
    last_answer: str


class Tried(Result, frozen=True, kw_only=True):
    """What a service said, once."""

    ok: bool
    text: str
    at: datetime
    seconds: float


class Message(Result, frozen=True, kw_only=True):
    """What was sent, and every answer to it."""

    id: UUID
    kind: str
    count: int
    state: str
    tries: int
    created_at: datetime
    sent_at: datetime | None
    title: str
    text: str
    answers: list[Tried]


class DeliveryDetail(Delivery, frozen=True, kw_only=True):
    """A delivery, inspected."""

    message: Message | None


class Mute(Result, frozen=True, kw_only=True):
    """A deployment of which nothing is told until a time."""

    deployment: Named
    until: datetime
    reason: str
    created_at: datetime
    by: str | None
