"""REST: the flows of a user's teams."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins

from flows.models import Flow, slug_of
from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer
from orchestrator.paging import KeysetPagination


class FlowSerializer(ReadSerializer):
    """A flow: made by its first deployment or its first run."""

    class Meta:
        model = Flow
        fields = ("id", "name", "description", "created_at")
        read_only_fields = fields


class ByName(KeysetPagination):
    """Alphabetical."""

    ordering = ("name", "id")


class FlowFilter(filters.FilterSet):
    """Narrows the list of flows."""

    name = filters.CharFilter(method="by_name", help_text="The flow's name; `_` and `-` are alike.")

    class Meta:
        model = Flow
        fields = ("name",)

    def by_name(self, flows: QuerySet[Flow], _field: str, value: str) -> QuerySet[Flow]:
        """Keep the flow of this name."""
        return flows.filter(slug=slug_of(value))


class _Owned(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """Rows of the teams that the user is a member of."""

    pagination_class = ByName
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Any]:
        """Rows that the request may see."""
        rows = self.serializer_class.Meta.model.objects
        return rows.none() if getattr(self, "swagger_fake_view", False) else rows.visible_to(self.request.user)


@extend_schema_view(list=extend_schema(summary="List flows"), retrieve=extend_schema(summary="Inspect a flow"))
class FlowViewSet(_Owned):
    """Flows."""

    serializer_class = FlowSerializer
    filterset_class = FlowFilter
