"""REST: the work queues of a user's teams. Changing one wakes its waiting runs, so they live beside runs."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from flows.actions import MAX_LIMIT
from flows.api import ByName
from flows.models import WorkQueue
from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from runs import limits, queues, serving
from runs.clock import database_now
from runs.models import FlowRun
from teams.acting import acting_team

MAX_HOLDERS = 50


class WorkQueueValuesSerializer(StrictSerializer):
    """A queue, as it is written."""

    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    limit = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_LIMIT, help_text="Runs in progress at once."
    )
    priority = serializers.IntegerField(
        required=False, min_value=-1000, max_value=1000, help_text="Of queues with waiting runs, the highest is first."
    )


class WorkQueueSerializer(ReadSerializer):
    """A queue that workers serve, with how much goes on there."""

    in_progress = serializers.SerializerMethodField(help_text="How many of its runs are in progress.")
    waiting = serializers.SerializerMethodField(help_text="How many are due and wait.")

    class Meta:
        model = WorkQueue
        fields = ("id", "name", "description", "paused", "limit", "priority", "in_progress", "waiting", "created_at")
        read_only_fields = fields

    def get_in_progress(self, queue: WorkQueue) -> int:
        """Those counted for the page, as a claim counts them against the limit."""
        return int(self.context["in_progress"].get(queue.pk, 0))

    def get_waiting(self, queue: WorkQueue) -> int:
        """Those counted for the page, which a worker could claim but for pauses and limits."""
        return int(self.context["waiting"].get(queue.pk, 0))


class HolderSerializer(serializers.Serializer[FlowRun]):
    """A run in progress."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(read_only=True)


class InspectedWorkQueueSerializer(WorkQueueSerializer):
    """A queue with what holds its places, and who serves it (two queries)."""

    workers = serializers.SerializerMethodField(help_text="Names of the living workers that serve it.")
    holders = serializers.SerializerMethodField(help_text="The runs in progress, the oldest first, at most 50.")

    class Meta(WorkQueueSerializer.Meta):
        fields = (*WorkQueueSerializer.Meta.fields, "workers", "holders")
        read_only_fields = fields

    def get_workers(self, queue: WorkQueue) -> list[str]:
        """By name."""
        return [worker.name for worker in serving.serving(queue, timezone.now())]

    def get_holders(self, queue: WorkQueue) -> list[dict[str, Any]]:
        """Return who holds the places."""
        return list(HolderSerializer(limits.holders(FlowRun.objects.filter(queue=queue), MAX_HOLDERS), many=True).data)


class WorkQueueFilter(filters.FilterSet):
    """Narrows the list of work queues."""

    name = filters.CharFilter(help_text="The queue's name.")

    class Meta:
        model = WorkQueue
        fields = ("name",)


@extend_schema_view(list=extend_schema(summary="List work queues"))
class WorkQueueViewSet(mixins.ListModelMixin, ApiViewSet):
    """Work queues of the teams that the user is a member of."""

    serializer_class = WorkQueueSerializer
    pagination_class = ByName
    filterset_class = WorkQueueFilter
    lookup_value_converter = "uuid"

    def filter_queryset(self, queryset: QuerySet[WorkQueue]) -> QuerySet[WorkQueue]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_queryset(self) -> QuerySet[WorkQueue]:
        """Queues that the request may see."""
        if getattr(self, "swagger_fake_view", False):
            return WorkQueue.objects.none()
        return WorkQueue.objects.visible_to(self.request.user)

    def paginate_queryset(self, queryset: QuerySet[WorkQueue]) -> Any:
        """Keep the page for what is counted with it."""
        self.page = super().paginate_queryset(queryset)
        return self.page

    def get_serializer_context(self) -> dict[str, Any]:
        """Add what goes on on this page's queues (two queries)."""
        return {**super().get_serializer_context(), **_counts(getattr(self, "page", []))}

    @extend_schema(summary="Inspect a work queue", responses=InspectedWorkQueueSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """With what is in progress and what waits."""
        return _shown(self.get_object())

    @extend_schema(
        summary="Make a work queue", request=WorkQueueValuesSerializer, responses={201: InspectedWorkQueueSerializer}
    )
    def create(self, request: Request) -> Response:
        """The workers of a server serve it within a second."""
        queue = queues.create_queue(acting_team(request), user=request.user, **_valid(request.data))
        return _shown(queue, status.HTTP_201_CREATED)

    @extend_schema(
        summary="Change a work queue",
        request=WorkQueueValuesSerializer(partial=True),
        responses=InspectedWorkQueueSerializer,
    )
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Only the fields that are given. What is in progress over a lower limit goes on."""
        changes = _valid(request.data, partial=True)
        return _shown(queues.change_queue(self.get_object(), user=request.user, **changes))

    @extend_schema(summary="Delete a work queue", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Refused for the default one, and while a deployment or a waiting run has it."""
        queues.delete_queue(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Pause a work queue", request=None, responses=InspectedWorkQueueSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        """Its runs wait; what is in progress goes on."""
        return _shown(queues.pause_queue(self.get_object(), user=request.user))

    @extend_schema(summary="Resume a work queue", request=None, responses=InspectedWorkQueueSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        """Its runs start again at once."""
        return _shown(queues.resume_queue(self.get_object(), user=request.user))


def _shown(queue: WorkQueue, code: int = status.HTTP_200_OK) -> Response:
    return Response(InspectedWorkQueueSerializer(queue, context=_counts([queue])).data, status=code)


def _counts(page: list[WorkQueue]) -> dict[str, Any]:
    """Return what goes on on these queues (two queries)."""
    return {
        "in_progress": serving.in_progress_on(page),
        "waiting": serving.waiting_on(page, database_now()),
    }


def _valid(data: Any, **options: Any) -> dict[str, Any]:
    serializer = WorkQueueValuesSerializer(data=data, **options)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
