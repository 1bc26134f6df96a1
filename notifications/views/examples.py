"""Past runs on which a policy's message is previewed and tested."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import QueryDict

from flows.models import slug_of
from notifications.events import Event
from notifications.matching import rule_of, subjects
from notifications.models import Policy
from notifications.views.deliveries import uuid_of
from orchestrator.sdk.states import StateType
from runs.models import FlowRun

SHOWN = 8
LOOKED_AT = 100  # runs of each state, newest first
_STATES = {
    Event.FAILED: StateType.FAILED,
    Event.CRASHED: StateType.CRASHED,
    Event.CANCELLED: StateType.CANCELLED,
    Event.COMPLETED: StateType.COMPLETED,
    Event.RECOVERED: StateType.COMPLETED,
    Event.LONG_RUNNING: StateType.RUNNING,
    Event.LATE: StateType.SCHEDULED,
    Event.OVERRAN: StateType.RUNNING,
    Event.MISSED_DEADLINE: StateType.RUNNING,
}
_ENDED = (StateType.FAILED, StateType.CRASHED, StateType.COMPLETED)


@dataclass(frozen=True, slots=True)
class Examples:
    """Runs to choose from, newest first, and the one that is shown."""

    runs: list[FlowRun]
    chosen: FlowRun | None
    is_matching: bool  #: they are what the policy watches, not merely runs of the team


def examples(policy: Policy, data: QueryDict) -> Examples:
    """Return recent runs that a policy watches, else any of its team's; `run` of the data chooses one.

    At most one query for each state, and two. The policy need not be saved.
    """
    states = {_STATES[Event(event)] for event in policy.events if event in Event.values}
    found = _matching(policy, _newest(_runs(policy).filter(_named(policy)), sorted(states)))
    is_matching = bool(found)
    if not found:
        found = _newest(_runs(policy), _ENDED)
    shown, wanted = found[:SHOWN], uuid_of(data.get("run", ""))
    chosen = next((run for run in shown if run.id == wanted), shown[0] if shown else None)
    return Examples(shown, chosen, is_matching)


def chosen_run(policy: Policy, data: QueryDict) -> FlowRun | None:
    """Return the run that a test is about: the one asked for, else the newest that the policy watches."""
    return examples(policy, data).chosen


def _runs(policy: Policy) -> QuerySet[FlowRun]:
    return FlowRun.objects.filter(team=policy.team).select_related("flow", "deployment__flow", "team").defer("error")


def _newest(runs: QuerySet[FlowRun], states: tuple[StateType, ...] | list[StateType]) -> list[FlowRun]:
    """The newest of each state (one query a state, along its index), together newest first."""
    found = [run for state in states for run in runs.filter(state_type=state).newest_first()[:LOOKED_AT]]
    return sorted(found, key=lambda run: (run.expected_start, run.id), reverse=True)


def _matching(policy: Policy, runs: list[FlowRun]) -> list[FlowRun]:
    known, rule = _subjects([run.id for run in runs]), rule_of(policy)
    return [run for run in runs if rule.matches(known[run.id])]


def _subjects(ids: list[UUID]) -> dict[UUID, object]:
    return dict(subjects(ids)) if ids else {}


def _named(policy: Policy) -> Q:
    """Runs whose flow begins as a pattern does: what the database leaves out before the patterns are compared."""
    named = Q()
    for pattern in (slug_of(name).partition("/")[0] for name in [*policy.flows, *policy.deployments]):
        plain = pattern[: min((pattern.find(sign) for sign in "*?[" if sign in pattern), default=len(pattern))]
        named |= Q(flow__slug__startswith=plain)
    return named
