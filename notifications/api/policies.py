"""Notification policies: make, change, try, preview, pause and delete them."""

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view, inline_serializer
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from notifications import actions, composing
from notifications.api.answers import (
    ContentSerializer,
    DestinationNameSerializer,
    MadePolicySerializer,
    PolicyAnswerSerializer,
    PolicySerializer,
    of_answer,
    of_content,
)
from notifications.api.bodies import (
    NewPolicySerializer,
    PolicyChangesSerializer,
    PreviewSerializer,
    TestedRunSerializer,
    valid,
)
from notifications.api.destinations import NOT_STORED
from notifications.api.viewing import OwnedViewSet, said_of
from notifications.events import DEFAULT_EVENTS
from notifications.models import Destination, Policy
from notifications.policy_fields import checked
from runs.api.access import visible_flow_runs
from runs.api.filters import as_uuid
from runs.models import FlowRun
from teams.acting import acting_team
from teams.models import Team

Shown = list[dict[str, str]]


@extend_schema_view(
    list=extend_schema(summary="List notification policies"),
    retrieve=extend_schema(summary="Inspect a notification policy"),
)
class PolicyViewSet(OwnedViewSet):
    """Which events of which runs are told where, and in which words."""

    serializer_class = PolicySerializer
    own_transactions = frozenset({"test"})

    def rows(self) -> QuerySet[Policy]:
        """Policies with their destinations (two queries)."""
        return Policy.objects.prefetch_related("destinations")

    @extend_schema(
        summary="Make a notification policy", request=NewPolicySerializer, responses={201: MadePolicySerializer}
    )
    def create(self, request: Request) -> Response:
        """Destinations that are named by an address are made along; nothing is made where a part is refused."""
        asked = valid(NewPolicySerializer, request.data)
        team = acting_team(request)
        with transaction.atomic():
            asked["destinations"], shown = self._destinations(team, asked["destinations"])
            made = actions.create_policy(team, user=request.user, **asked)
        answer = {**self.again(made), "shown_once": shown}
        return Response(answer, status=status.HTTP_201_CREATED, headers=NOT_STORED)

    @extend_schema(
        summary="Change a notification policy", request=PolicyChangesSerializer, responses=MadePolicySerializer
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Only the fields that are given."""
        policy = self.get_object()
        changes = valid(PolicyChangesSerializer, request.data)
        shown: Shown = []
        with transaction.atomic():
            if "destinations" in changes:
                changes["destinations"], shown = self._destinations(policy.team, changes["destinations"])
            actions.update_policy(policy, user=request.user, **changes)
        return Response({**self.again(policy), "shown_once": shown}, headers=NOT_STORED)

    @extend_schema(summary="Delete a notification policy", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """What waits under it is dropped; what was sent stays listed. Its destinations stay."""
        actions.delete_policy(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Pause a notification policy", request=None, responses=PolicySerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        """What happens until it is resumed is not told by it."""
        policy = self.get_object()
        actions.pause_policy(policy, user=request.user)
        return Response(self.again(policy))

    @extend_schema(summary="Resume a notification policy", request=None, responses=PolicySerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        """What happens from now on is told again."""
        policy = self.get_object()
        actions.resume_policy(policy, user=request.user)
        return Response(self.again(policy))

    @extend_schema(
        summary="Send a test to every destination of a policy",
        request=TestedRunSerializer,
        responses=inline_serializer("PolicyTest", {"results": PolicyAnswerSerializer(many=True)}),
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: UUID) -> Response:
        """Sent at once: what it says of a past run, marked as a test; answers what each service said."""
        policy = self.get_object()
        asked = valid(TestedRunSerializer, request.data)
        run = self._run(asked["flow_run"]) if "flow_run" in asked else None
        with said_of("run", "flow_run"):
            said = actions.test_policy(policy, user=request.user, run=run)
        results = [
            {"destination": DestinationNameSerializer(destination).data, **of_answer(answer)}
            for destination, answer in said
        ]
        return Response({"results": results})

    @extend_schema(
        summary="Preview a policy's text on a past run", request=PreviewSerializer, responses=ContentSerializer
    )
    @action(detail=False, methods=["post"], pagination_class=None)
    def preview(self, request: Request) -> Response:
        """What would be sent; nothing is kept, nothing is sent."""
        asked = valid(PreviewSerializer, request.data)
        run_id = asked.pop("flow_run", None)
        policy = self._policy(asked.pop("policy", None))
        for name, value in asked.items():
            setattr(policy, name, checked(name, value, policy.team, getattr(policy, name)))
        run = self._run(run_id) if run_id else actions.matching_run(policy, visible_flow_runs(request))
        return Response(of_content(composing.preview(policy, run)))

    def _policy(self, found: UUID | None) -> Policy:
        """The policy of this id, else one as it would be made with nothing said."""
        if found is None:
            return Policy(team=acting_team(self.request), name="preview", events=list(DEFAULT_EVENTS))
        policy = self.get_queryset().filter(pk=found).first()
        if policy is None:
            raise ValidationError({"policy": ["There is no policy with this id that you may see."]})
        return policy

    def _run(self, found: UUID) -> FlowRun:
        run = visible_flow_runs(self.request).filter(pk=found).select_related("flow", "deployment", "team").first()
        if run is None:
            raise ValidationError({"flow_run": ["There is no run with this id that you may see."]})
        return run

    def _destinations(self, team: Team, words: list[str]) -> tuple[list[Destination], Shown]:
        """Return the destinations that these ids, names and addresses mean, each once; and the secrets of new ones."""
        found: dict[UUID, Destination] = {}
        shown: Shown = []
        for word in words:
            destination, secret = self._destination(team, word)
            found[destination.pk] = destination
            if secret:
                shown.append({"destination": destination.name, "secret": secret})
        return list(found.values()), shown

    def _destination(self, team: Team, word: str) -> tuple[Destination, str]:
        if id_ := as_uuid(word):
            if destination := Destination.objects.filter(team=team, pk=id_).first():
                return destination, ""
            raise ValidationError({"destinations": [f"There is no destination {word} in team {team.name}."]})
        with said_of("to", "destinations"):
            return actions.destination_for(team, user=self.request.user, to=word)
