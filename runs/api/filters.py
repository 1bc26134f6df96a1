"""What lists of runs and deployments can be narrowed by."""

import re
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from flows.models import Deployment, Flow, WorkQueue, slug_of
from flows.tags import tagged
from orchestrator.sdk.states import NAMES, StateType
from runs.models import FlowRun, FlowRunQuerySet

_STATE_NAMES = {name.lower(): name for names in NAMES.values() for name in names}
STATES_HELP = "Types (FAILED) or names (Late) of states, comma-separated or repeated."
_ID_PREFIX = re.compile(r"[0-9a-f]{8,32}")


def as_uuid(text: str) -> UUID | None:
    """Return the id that this text is, None when it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def states_said(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the types and names of states that are given by type (`FAILED`) or name (`Late`), with commas or repeated.

    Raises:
        ValidationError: A word is neither.
    """
    types, names = [], []
    for word in (part.strip() for text in words for part in text.split(",") if part.strip()):
        if word.upper() in StateType.__members__:
            types.append(word.upper())
        elif word.lower() in _STATE_NAMES:
            names.append(_STATE_NAMES[word.lower()])
        else:
            raise ValidationError({"state": f"{word!r} is no state. Write one of {', '.join(StateType)}."})
    return types, names


def state_condition(words: list[str]) -> Q:
    """Return the condition for states, written as for `states_said`; the empty condition without any."""
    types, names = states_said(words)
    if not names:
        return Q(state_type__in=types) if types else Q()
    of_names = [type_.value for type_, known in NAMES.items() if set(known) & set(names)]  # it has the index
    return Q(state_type__in=types) | Q(state_type__in=of_names, state_name__in=names)


def asks_for_scheduled_alone(words: list[str]) -> bool:
    """Whether these states, written as for `state_condition`, are all of the type SCHEDULED, and there is one."""
    said = [word.strip().lower() for text in words for word in text.split(",") if word.strip()]
    names = {StateType.SCHEDULED.lower(), *(name.lower() for name in NAMES[StateType.SCHEDULED])}
    return bool(said) and names.issuperset(said)


def deployment_condition(text: str, prefix: str = "") -> Q:
    """Return the condition for a deployment given by id, by flow-name/deployment-name, or by its own name."""
    if found := as_uuid(text):
        return Q(**{f"{prefix}id": found})
    flow, slash, name = text.rpartition("/")
    condition = Q(**{f"{prefix}slug": slug_of(name)})
    return condition & Q(**{f"{prefix}flow__slug": slug_of(flow)}) if slash else condition


def flow_condition(text: str) -> Q:
    """Return the condition for a flow given by id or by name."""
    found = as_uuid(text)
    return Q(flow_id=found) if found else Q(flow__slug=slug_of(text))


def by_id_prefix(rows: QuerySet[Any], value: str) -> QuerySet[Any]:
    """Keep the rows whose id begins so (a range of the primary key). Raises ValidationError."""
    prefix = value.lower().replace("-", "")
    if not _ID_PREFIX.fullmatch(prefix):
        raise ValidationError({"id_prefix": "Write 8 to 32 hexadecimal digits."})
    return rows.filter(id__gte=UUID(prefix.ljust(32, "0")), id__lte=UUID(prefix.ljust(32, "f")))


class FlowRunFilter(filters.FilterSet):
    """Narrows the list of flow runs."""

    state = filters.CharFilter(method="by_state", help_text=STATES_HELP)
    flow = filters.CharFilter(method="by_flow", help_text="A flow's name or id.")
    deployment = filters.CharFilter(method="by_deployment", help_text="flow-name/deployment-name, or an id.")
    tag = filters.CharFilter(method="by_tag", help_text="A tag that the run has.")
    name = filters.CharFilter(help_text="The run's own name.")
    queue = filters.CharFilter(method="by_queue", help_text="A work queue's name or id.")
    since = filters.IsoDateTimeFilter(field_name="expected_start", lookup_expr="gte", help_text="Due then or later.")
    until = filters.IsoDateTimeFilter(field_name="expected_start", lookup_expr="lte", help_text="Due then or before.")
    q = filters.CharFilter(method="by_text", help_text="Part of the run's or its flow's name, or its id.")
    parent = filters.UUIDFilter(field_name="parent_id", help_text="The id of the run whose subflows are wanted.")
    id_prefix = filters.CharFilter(method="by_id_prefix", help_text="How the id begins, 8 characters or more.")

    class Meta:
        model = FlowRun
        fields = ("state", "flow", "deployment", "tag", "name", "queue", "since", "until", "q", "parent", "id_prefix")

    def by_state(self, runs: FlowRunQuerySet, _field: str, value: str) -> FlowRunQuerySet:
        """Keep runs in any of the states."""
        words = self.data.getlist("state") if hasattr(self.data, "getlist") else [value]
        types, names = states_said(words)
        return runs.in_states(types) if types and not names else runs.filter(state_condition(words))

    def by_flow(self, runs: FlowRunQuerySet, _field: str, value: str) -> FlowRunQuerySet:
        """Keep runs of a flow."""
        found = as_uuid(value)
        flows = Flow.objects.filter(Q(id=found) if found else Q(slug=slug_of(value)))
        return runs.of_owners("flow", flows)

    def by_deployment(self, runs: FlowRunQuerySet, _field: str, value: str) -> FlowRunQuerySet:
        """Keep runs of a deployment."""
        return runs.of_owners("deployment", Deployment.objects.filter(deployment_condition(value)))

    def by_tag(self, runs: FlowRunQuerySet, _field: str, value: str) -> FlowRunQuerySet:
        """Keep runs with a tag."""
        return runs.searching(tagged(value))

    def by_queue(self, runs: FlowRunQuerySet, _field: str, value: str) -> FlowRunQuerySet:
        """Keep runs of a work queue."""
        found = as_uuid(value)
        return runs.of_owners("queue", WorkQueue.objects.filter(Q(id=found) if found else Q(name=value)))

    def by_text(self, runs: FlowRunQuerySet, _field: str, value: str) -> FlowRunQuerySet:
        """Keep runs that are called so, as the search of the page does."""
        found = as_uuid(value)
        return runs.filter(id=found) if found else runs.called(value)

    def by_id_prefix(self, runs: FlowRunQuerySet, _field: str, value: str) -> FlowRunQuerySet:
        """Keep runs whose id begins so."""
        return by_id_prefix(runs, value)


class DeploymentFilter(filters.FilterSet):
    """Narrows the list of deployments."""

    name = filters.CharFilter(method="by_name", help_text="flow-name/deployment-name, or the second part alone.")
    flow = filters.CharFilter(method="by_flow", help_text="A flow's name or id.")
    tag = filters.CharFilter(method="by_tag", help_text="A tag that the deployment has.")
    paused = filters.BooleanFilter()

    class Meta:
        model = Deployment
        fields = ("name", "flow", "tag", "paused")

    def by_name(self, deployments: QuerySet[Deployment], _field: str, value: str) -> QuerySet[Deployment]:
        """Keep the deployment of this name; `_` and `-` are alike."""
        return deployments.filter(deployment_condition(value))

    def by_flow(self, deployments: QuerySet[Deployment], _field: str, value: str) -> QuerySet[Deployment]:
        """Keep deployments of a flow."""
        return deployments.filter(flow_condition(value))

    def by_tag(self, deployments: QuerySet[Deployment], _field: str, value: str) -> QuerySet[Deployment]:
        """Keep deployments with a tag."""
        return deployments.filter(tagged(value))
