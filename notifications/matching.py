"""Which policies watch an event of a run: rules as values, and the two reads that bring them what they need."""

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db import connection

from flows.models import slug_of
from notifications.models import Destination, Policy, Subscription
from runs.models import FlowRun, Trigger

logger = logging.getLogger(__name__)

_KEPT: Final = 1_024
_KEPT_READS: Final = 64  # a few sets of teams, whose policies seldom change

# Read at each run's end. As a queryset it took 1 ms with 50 policies, a tenth of what ingest takes for a run, and most
# of that for making this text and decoding lists that had not changed (`python -m benchmarks.outbox`).
_WATCHES: Final = f"""
SELECT policy.id, policy.team_id, policy.long_running_seconds, destination.id, destination.paused_at IS NOT NULL,
       CAST(policy.events AS text), CAST(policy.flows AS text), CAST(policy.deployments AS text),
       CAST(policy.tags AS text)
FROM {Subscription._meta.db_table} subscription
JOIN {Policy._meta.db_table} policy ON policy.id = subscription.policy_id
JOIN {Destination._meta.db_table} destination ON destination.id = subscription.destination_id
WHERE NOT policy.paused"""


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


@dataclass(frozen=True, slots=True)
class Rule:
    """What one policy watches. Names are patterns of slugs; an empty field matches everything."""

    events: frozenset[str] = frozenset()
    flows: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()

    def matches(self, subject: Subject) -> bool:
        """Whether it watches this run. Flows and deployments widen each other, tags narrow what they let through.

        A subflow run's failure is its parent's story too. So that one failure is not told twice, a subflow run takes a
        pattern that names flows (not `*`), or a tag that its parent has not.
        """
        if (self.flows or self.deployments) and not (
            _any_matches(self.flows, subject.flow)
            or (subject.deployment and _any_matches(self.deployments, subject.deployment))
        ):
            return False
        tags = subject.tags
        if subject.is_subflow and not any(pattern.strip("*") for pattern in self.flows):
            if not self.tags:
                return False
            tags = tags - subject.inherited_tags
        return not self.tags or not self.tags.isdisjoint(tags)


@dataclass(frozen=True, slots=True, eq=False)
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


def watches(team_ids: Collection[UUID] | None = None, event: str = "") -> tuple[Watch, ...]:
    """Return the policies that are not paused and have destinations (one query).

    A policy whose fields cannot be read is logged and left out: it must not keep the others from being heard.

    Args:
        team_ids: Of these teams; None: of all.
        event: Only those that watch it, where given.
    """
    condition, parameters = "", []
    if team_ids is not None:
        condition += f" AND policy.team_id IN ({', '.join(['%s'] * len(team_ids))})"
        parameters += [team_id.hex for team_id in team_ids]
    if event:
        condition += " AND CAST(policy.events AS text) LIKE %s"
        parameters.append(f'%"{event}"%')
    with connection.cursor() as cursor:
        cursor.execute(_WATCHES + condition, parameters)
        rows = cursor.fetchall()
    found = _read(tuple(rows))
    return of_team(found, None, event) if event else found


@lru_cache(_KEPT)
def of_team(among: tuple[Watch, ...], team_id: UUID | None, *events: str) -> tuple[Watch, ...]:
    """Return the policies of a team (None: of all) that watch one of these events."""
    return tuple(
        watch for watch in among if team_id in (None, watch.team_id) and not watch.rule.events.isdisjoint(events)
    )


@lru_cache(_KEPT)
def matching(among: tuple[Watch, ...], subject: Subject) -> tuple[Watch, ...]:
    """Return the policies that watch this run; flows have the same subjects again and again."""
    return tuple(watch for watch in among if watch.rule.matches(subject))


def subjects(run_ids: Iterable[UUID]) -> dict[UUID, Subject]:
    """Return what policies look at in these runs (one query; none for none)."""
    ids = list(run_ids)
    if not ids:
        return {}  # a queryset that finds out by itself that nothing is asked takes 0.3 ms for it
    columns = ("id", "trigger", "tags", "parent__tags", "flow__slug", "deployment__slug", "deployment__mute__until")
    rows = FlowRun.objects.filter(id__in=ids).values_list(*columns)
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


def subject_in_memory(run: FlowRun) -> Subject | None:
    """Return what policies look at in a run where everything is at hand: a script's that was made just now."""
    at_hand = "tags" in run.__dict__ and FlowRun.flow.is_cached(run)
    if not at_hand or run.deployment_id is not None or run.trigger == Trigger.SUBFLOW:
        return None
    return Subject(flow=run.flow.slug, tags=_texts(run.tags))


def _any_matches(patterns: tuple[str, ...], name: str) -> bool:
    return bool(patterns) and _expression(patterns).match(name) is not None


@lru_cache(_KEPT)
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for several shell patterns, as `fnmatch.fnmatchcase` reads each."""
    return re.compile("|".join(map(translate, patterns)))


def _texts(value: Any) -> frozenset[str]:
    return frozenset(tag for tag in value if isinstance(tag, str)) if isinstance(value, list) else frozenset()


@lru_cache(_KEPT_READS)
def _read(rows: tuple[tuple[Any, ...], ...]) -> tuple[Watch, ...]:
    """What `_WATCHES` gave, as policies: worked out once for as long as nothing of it changes."""
    found: dict[Any, Watch | None] = {}
    for policy_id, team_id, seconds, destination_id, is_paused, *texts in rows:
        if policy_id not in found:
            rule = _rule(policy_id, *texts)
            found[policy_id] = rule and Watch(_uuid(policy_id), _uuid(team_id), rule, seconds)
        watch = found[policy_id]
        if watch is not None:
            watch.destinations[_uuid(destination_id)] = bool(is_paused)
    return tuple(watch for watch in found.values() if watch is not None)


def _uuid(value: UUID | str) -> UUID:
    """An id as its database gives it (SQLite: 32 hexadecimal digits), as a UUID."""
    return value if isinstance(value, UUID) else UUID(value)


def _rule(policy_id: UUID | str, *texts: str) -> Rule | None:
    try:
        return _decoded(*texts)
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
