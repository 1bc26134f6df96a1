"""REST: the limits that a user's teams set on tags."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view, inline_serializer
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from flows.actions import MAX_LIMIT
from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer, UTCDateTimeField
from orchestrator.paging import KeysetPagination
from runs import tag_limits
from runs.models import ConcurrencyLimit, Slot
from runs.slots import counted
from teams.acting import acting_team

MAX_SHOWN = 200


class ConcurrencyLimitValuesSerializer(StrictSerializer):
    """A limit, as it is made."""

    tag = serializers.CharField(max_length=200)
    limit = serializers.IntegerField(min_value=0, max_value=MAX_LIMIT, help_text="Task runs at once; 0: none may run.")


class ConcurrencyLimitChangeSerializer(StrictSerializer):
    """What can be changed of a limit."""

    limit = serializers.IntegerField(min_value=0, max_value=MAX_LIMIT, help_text="Task runs at once; 0: none may run.")


class ConcurrencyLimitSerializer(ReadSerializer):
    """How many task runs with a tag may run at once, and how many do."""

    used = serializers.IntegerField(read_only=True, help_text="Slots that are held.")
    waiting = serializers.IntegerField(read_only=True, help_text="Task runs that wait for one.")

    class Meta:
        model = ConcurrencyLimit
        fields = ("id", "tag", "limit", "used", "waiting", "created_at")
        read_only_fields = fields


class SlotSerializer(ReadSerializer):
    """A slot that is held or waited for."""

    name = serializers.CharField(source="task_name", read_only=True, help_text="The task run's.")
    flow_run_name = serializers.CharField(source="flow_run.name", read_only=True)
    asked_at = UTCDateTimeField(read_only=True)

    class Meta:
        model = Slot
        fields = ("task_run", "name", "flow_run", "flow_run_name", "asked_at", "granted_at")
        read_only_fields = fields


class InspectedConcurrencyLimitSerializer(ConcurrencyLimitSerializer):
    """A limit with its holders and those that wait (two queries)."""

    holders = serializers.SerializerMethodField(help_text="Those that were granted first, at most 200.")
    waiters = serializers.SerializerMethodField(help_text="In the order of the line, at most 200.")

    class Meta(ConcurrencyLimitSerializer.Meta):
        fields = (*ConcurrencyLimitSerializer.Meta.fields, "holders", "waiters")
        read_only_fields = fields

    def get_holders(self, limit: ConcurrencyLimit) -> list[dict[str, Any]]:
        """Return who holds slots."""
        held = limit.slots.filter(granted_at__isnull=False).order_by("granted_at", "pk")
        return _slots(held)

    def get_waiters(self, limit: ConcurrencyLimit) -> list[dict[str, Any]]:
        """Return who waits."""
        return _slots(limit.slots.filter(granted_at=None).order_by("pk"))


def _slots(found: QuerySet[Slot]) -> list[dict[str, Any]]:
    rows = found.select_related("flow_run").only(*_SLOT_COLUMNS)[:MAX_SHOWN]
    return list(SlotSerializer(rows, many=True).data)


_SLOT_COLUMNS = ("limit", "task_run", "task_name", "flow_run__name", "asked_at", "granted_at")


class ByTag(KeysetPagination):
    """Alphabetical."""

    ordering = ("tag", "id")


class ConcurrencyLimitFilter(filters.FilterSet):
    """Narrows the list of limits."""

    tag = filters.CharFilter(help_text="The limited tag.")

    class Meta:
        model = ConcurrencyLimit
        fields = ("tag",)


@extend_schema_view(list=extend_schema(summary="List concurrency limits"))
class ConcurrencyLimitViewSet(mixins.ListModelMixin, ApiViewSet):
    """Limits of tags of the teams that the user is a member of."""

    serializer_class = ConcurrencyLimitSerializer
    pagination_class = ByTag
    filterset_class = ConcurrencyLimitFilter
    lookup_value_converter = "uuid"

    def filter_queryset(self, queryset: QuerySet[ConcurrencyLimit]) -> QuerySet[ConcurrencyLimit]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_queryset(self) -> QuerySet[ConcurrencyLimit]:
        """Limits that the request may see, with how many slots are held and waited for."""
        if getattr(self, "swagger_fake_view", False):
            return ConcurrencyLimit.objects.none()
        return counted(ConcurrencyLimit.objects.visible_to(self.request.user))

    @extend_schema(summary="Inspect a concurrency limit", responses=InspectedConcurrencyLimitSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """With who holds its slots and who waits."""
        return self._shown(pk)

    @extend_schema(
        summary="Limit a tag",
        request=ConcurrencyLimitValuesSerializer,
        responses={201: InspectedConcurrencyLimitSerializer},
    )
    def create(self, request: Request) -> Response:
        """Task runs that run already go on, uncounted. 409 when the tag is limited already."""
        values = ConcurrencyLimitValuesSerializer(data=request.data)
        values.is_valid(raise_exception=True)
        limit = tag_limits.create_limit(acting_team(request), user=request.user, **values.validated_data)
        return self._shown(limit.pk, status.HTTP_201_CREATED)

    @extend_schema(
        summary="Change a concurrency limit",
        request=ConcurrencyLimitChangeSerializer,
        responses=InspectedConcurrencyLimitSerializer,
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Who holds a slot over a lower limit goes on; a higher one starts who waits."""
        limit, values = self.get_object(), ConcurrencyLimitChangeSerializer(data=request.data)
        values.is_valid(raise_exception=True)
        tag_limits.change_limit(limit, value=values.validated_data["limit"], user=request.user)
        return self._shown(pk)

    @extend_schema(
        summary="Reset a concurrency limit",
        request=None,
        responses=inline_serializer("ConcurrencyLimitReset", {"freed": serializers.IntegerField()}),
    )
    @action(detail=True, methods=["post"])
    def reset(self, request: Request, pk: UUID) -> Response:
        """Free every slot that is held and start who waits. Task runs that held one go on, uncounted."""
        return Response({"freed": tag_limits.reset_limit(self.get_object(), user=request.user)})

    @extend_schema(summary="Delete a concurrency limit", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Who waits for it alone starts at once."""
        tag_limits.delete_limit(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _shown(self, pk: UUID, code: int = status.HTTP_200_OK) -> Response:
        self.kwargs["pk"] = pk
        return Response(InspectedConcurrencyLimitSerializer(self.get_object()).data, status=code)
