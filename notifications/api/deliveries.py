"""Deliveries: what was told of which run, where, and what the service said."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from notifications import actions
from notifications.api.answers import DeliveryDetailSerializer, DeliverySerializer
from notifications.api.viewing import OwnedViewSet
from notifications.models import Delivery
from orchestrator.paging import KeysetPagination
from orchestrator.problems import Conflict
from runs.api.filters import by_id_prefix


class DeliveryFilter(filters.FilterSet):
    """Narrows the list of deliveries."""

    policy = filters.UUIDFilter(field_name="policy_id", help_text="The id of a policy.")
    destination = filters.UUIDFilter(field_name="destination_id", help_text="The id of a destination.")
    flow_run = filters.UUIDFilter(field_name="flow_run_id", help_text="The id of a run.")
    status = filters.ChoiceFilter(choices=Delivery.Status.choices, method="by_status", help_text="What became of it.")
    id_prefix = filters.CharFilter(method="by_id_prefix", help_text="How the id begins, 8 characters or more.")

    class Meta:
        model = Delivery
        fields = ("policy", "destination", "flow_run", "status", "id_prefix")

    def by_status(self, deliveries: Any, _field: str, value: str) -> QuerySet[Delivery]:
        """Keep deliveries of which this became."""
        return deliveries.with_status(value)

    def by_id_prefix(self, deliveries: QuerySet[Delivery], _field: str, value: str) -> QuerySet[Delivery]:
        """Keep deliveries whose id begins so."""
        return by_id_prefix(deliveries, value)


@extend_schema_view(
    list=extend_schema(summary="List deliveries, newest first"),
    retrieve=extend_schema(summary="Inspect a delivery", responses=DeliveryDetailSerializer),
)
class DeliveryViewSet(OwnedViewSet):
    """A row for each policy, destination and event."""

    serializer_class = DeliverySerializer
    pagination_class = KeysetPagination
    filterset_class = DeliveryFilter

    def rows(self) -> QuerySet[Delivery]:
        """Deliveries with what their rows show (one query)."""
        rows = Delivery.objects.select_related(
            "policy", "destination", "message", "flow_run__flow", "flow_run__deployment"
        )
        unread = ["flow_run__error", "flow_run__parameters", "destination__config"]
        return rows.defer(*unread, *(["message__content"] if self.action == "list" else []))

    def get_serializer_class(self) -> type[DeliverySerializer]:
        """One delivery is shown with more than a list shows."""
        return DeliverySerializer if self.action == "list" else DeliveryDetailSerializer

    @extend_schema(summary="Send a delivery's message again", request=None, responses=DeliveryDetailSerializer)
    @action(detail=True, methods=["post"], url_path="send-again")
    def send_again(self, request: Request, pk: UUID) -> Response:
        """The whole message, with everything that was gathered in it. 409 where nothing was sent yet."""
        delivery = self.get_object()
        if delivery.message is None:
            raise Conflict(_not_sent(delivery))
        actions.send_again(delivery.message, user=request.user)
        return Response(DeliveryDetailSerializer(self.get_queryset().get(pk=delivery.pk)).data)


def _not_sent(delivery: Delivery) -> str:
    if delivery.muted:
        return "Its deployment was muted: no message was made of it."
    return "It was not sent yet: it waits for its destination, or is gathered with others. It is sent by itself."
