"""Destinations: make, change, try, pause and delete them. Their addresses go in and never come out."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from notifications import actions
from notifications.api.answers import AnswerSerializer, DestinationSerializer, MadeDestinationSerializer, of_answer
from notifications.api.bodies import DestinationChangesSerializer, NewDestinationSerializer, valid
from notifications.api.viewing import OwnedViewSet, said_of
from notifications.models import Destination
from teams.acting import acting_team

NOT_STORED = {"Cache-Control": "no-store"}


@extend_schema_view(
    list=extend_schema(summary="List destinations"), retrieve=extend_schema(summary="Inspect a destination")
)
class DestinationViewSet(OwnedViewSet):
    """Where messages go: a channel, a mailbox, a web address."""

    serializer_class = DestinationSerializer
    own_transactions = frozenset({"test"})

    def rows(self) -> QuerySet[Destination]:
        """Destinations with their policies (two queries)."""
        return Destination.objects.prefetch_related("policies")

    @extend_schema(
        summary="Make a destination", request=NewDestinationSerializer, responses={201: MadeDestinationSerializer}
    )
    def create(self, request: Request) -> Response:
        """`shown_once` is a webhook's signing secret; it is answered here alone."""
        asked = valid(NewDestinationSerializer, request.data)
        if "kind" not in asked:
            with said_of("to", "address"):
                asked["kind"], asked["address"] = actions.parse_to(asked["address"])
        made, shown_once = actions.create_destination(acting_team(request), user=request.user, **asked)
        answer = {**self.again(made), "shown_once": shown_once}
        return Response(answer, status=status.HTTP_201_CREATED, headers=NOT_STORED)

    @extend_schema(
        summary="Change a destination", request=DestinationChangesSerializer, responses=MadeDestinationSerializer
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Only the fields that are given."""
        changes = valid(DestinationChangesSerializer, request.data)
        changed, shown_once = actions.change_destination(self.get_object(), user=request.user, **changes)
        return Response({**self.again(changed), "shown_once": shown_once}, headers=NOT_STORED)

    @extend_schema(summary="Delete a destination", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """What waits to be sent there is dropped; what was sent stays listed."""
        actions.delete_destination(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Send a test to a destination", request=None, responses=AnswerSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: UUID) -> Response:
        """Sent at once; the answer is the service's own, also where it refused."""
        return Response(of_answer(actions.test_destination(self.get_object(), user=request.user)))

    @extend_schema(summary="Pause a destination", request=None, responses=DestinationSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        """Nothing is sent there until it is resumed; what comes meanwhile waits."""
        return self._done(actions.pause_destination)

    @extend_schema(summary="Resume a destination", request=None, responses=DestinationSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        """What waited is sent, and it starts without failures."""
        return self._done(actions.resume_destination)

    def _done(self, verb: Any) -> Response:
        destination = self.get_object()
        verb(destination, user=self.request.user)
        return Response(self.again(destination))
