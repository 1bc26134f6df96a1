"""Which policies watch an event of a run: rules as values, and the two reads that bring them what they need."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db.models import TextField
from django.db.models.functions import Cast

from flows.models import slug_of
from notifications.models import Policy, Subscription
from runs.models import FlowRun, Trigger

logger = logging.getLogger(__name__)

_KEPT_RULES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Subject:
    """What policies look at in a run.

    Attributes:
        flow: Its flow's slug.
        deployment: `flow-slug/deployment-slug`; empty without one.
        tags: Its own.
        inherited_tags: Of a subflow run: those that its parent has too.
        is_subflow: It was called by another run, in that run's process.
        muted_until: When its deployment's mute ends; None where it has none.
    """

    flow: str = ""
    deployment: str = ""
    tags: frozenset[str] = frozenset()
    inherited_tags: frozenset[str] = frozenset()
    is_subflow: bool = False
    muted_until: datetime | None = None


class Rule(msgspec.Struct, frozen=True):
    """What one policy watches. Names are patterns of slugs; an empty field matches everything."""

    events: frozenset[str] = frozenset()
    flows: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()

    @property
    def is_narrow(self) -> bool:
        """Whether it looks at more of a run than its team and its state."""
        return bool(self.flows or self.deployments or self.tags)

    def matches(self, subject: Subject) -> bool:
        """Whether it watches this run. Flows and deployments widen each other, tags narrow what they let through.

        A subflow run's failure is its parent's story too. So that one failure is not told twice, a subflow run takes a
        pattern that names flows (not `*`), or a tag that its parent has not.
        """
        tags = subject.tags
        if subject.is_subflow and not any(pattern.strip("*") for pattern in self.flows):
            if not self.tags:
                return False
            tags = tags - subject.inherited_tags
        return self._names(subject) and (not self.tags or not self.tags.isdisjoint(tags))

    def _names(self, subject: Subject) -> bool:
        if not self.flows and not self.deployments:
            return True
        return any(fnmatchcase(subject.flow, pattern) for pattern in self.flows) or (
            bool(subject.deployment) and any(fnmatchcase(subject.deployment, pattern) for pattern in self.deployments)
        )


@dataclass(frozen=True, slots=True)
class Watch:
    """A policy that is not paused, with its rule and its destinations, each with whether it is paused."""

    policy_id: UUID
    team_id: UUID
    rule: Rule
    long_running_seconds: int | None = None
    destinations: dict[UUID, bool] = field(default_factory=dict)


def rule_of(policy: Policy) -> Rule:
    """Return what a policy watches; it need not be saved. Raises ValueError for fields that hold no lists of texts."""
    listed = (policy.events, policy.flows, policy.deployments, policy.tags)
    return _decoded(*(msgspec.json.encode(value).decode() for value in listed))


def watches(team_ids: Collection[UUID] | None = None, event: str = "") -> list[Watch]:
    """Return the policies that are not paused and have destinations (one query).

    A policy whose fields cannot be read is logged and left out: it must not keep the others from being heard.

    Args:
        team_ids: Of these teams; None: of all.
        event: Only those that watch it, where given.
    """
    found: dict[UUID, Watch] = {}
    subscriptions = Subscription.objects.filter(policy__paused=False)
    if team_ids is not None:
        subscriptions = subscriptions.filter(policy__team__in=team_ids)
    texts = {
        f"{name}_text": Cast(f"policy__{name}", TextField()) for name in ("events", "flows", "deployments", "tags")
    }
    subscriptions = subscriptions.annotate(**texts)
    if event:
        subscriptions = subscriptions.filter(events_text__contains=f'"{event}"')
    columns = (
        "policy_id",
        "policy__team_id",
        "policy__long_running_seconds",
        "destination_id",
        "destination__paused_at",
    )
    for policy_id, team_id, seconds, destination_id, paused_at, *sources in subscriptions.values_list(*columns, *texts):
        watch = found.get(policy_id)
        if watch is None:
            rule = _read(policy_id, *sources)
            if rule is None:
                continue
            watch = found[policy_id] = Watch(policy_id, team_id, rule, seconds)
        watch.destinations[destination_id] = paused_at is not None
    return [watch for watch in found.values() if not event or event in watch.rule.events]


def subjects(run_ids: Iterable[UUID]) -> dict[UUID, Subject]:
    """Return what policies look at in these runs (one query)."""
    columns = ("id", "trigger", "tags", "parent__tags", "flow__slug", "deployment__slug", "deployment__mute__until")
    rows = FlowRun.objects.filter(id__in=list(run_ids)).values_list(*columns)
    return {
        run_id: Subject(
            flow=flow,
            deployment=f"{flow}/{deployment}" if deployment else "",
            tags=_texts(tags),
            inherited_tags=_texts(tags) & _texts(parent_tags),
            is_subflow=trigger == Trigger.SUBFLOW,
            muted_until=muted_until,
        )
        for run_id, trigger, tags, parent_tags, flow, deployment, muted_until in rows
    }


def _texts(value: Any) -> frozenset[str]:
    return frozenset(tag for tag in value if isinstance(tag, str)) if isinstance(value, list) else frozenset()


@lru_cache(_KEPT_RULES)
def _read(policy_id: UUID, events: str, flows: str, deployments: str, tags: str) -> Rule | None:
    """A policy's rule, decoded once for as long as its texts stay what they are; None, said once, where that fails."""
    try:
        return _decoded(events, flows, deployments, tags)
    except ValueError as error:
        logger.error("Notification policy %s is passed over; save it anew: %s", policy_id, error)
        return None


def _decoded(events: str, flows: str, deployments: str, tags: str) -> Rule:
    listed = [msgspec.json.decode(text, type=tuple[str, ...]) for text in (events, flows, deployments, tags)]
    return Rule(
        frozenset(listed[0]),
        tuple(map(slug_of, listed[1])),
        tuple(map(slug_of, listed[2])),
        frozenset(listed[3]),
    )
