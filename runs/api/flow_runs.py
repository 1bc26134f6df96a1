"""Flow runs: read them, their logs and their task runs; cancel, retry and rerun them."""

from typing import Any
from uuid import UUID

import msgspec
from django.core.exceptions import ValidationError as Refusal
from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view, inline_serializer
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orchestrator.api_views import ApiViewSet
from orchestrator.paging import KeysetPagination, read_limit
from runs import actions, deleting
from runs.api.access import visible_flow_runs
from runs.api.filters import STATES_HELP, FlowRunFilter, asks_for_scheduled_alone, state_condition
from runs.api.serializers import (
    FlowRunDetailSerializer,
    FlowRunSerializer,
    LogSerializer,
    ResourceSampleSerializer,
    TaskRunSerializer,
)
from runs.api.why import WhySerializer
from runs.claims import Claim
from runs.launch import start_away
from runs.models import Attempt, FlowRun, Log, TaskRun
from runs.resources import samples_of
from runs.why import told_to, why

_ANY_TIME = {"state", "name", "id_prefix", "parent"}  # filters that ask for upcoming runs too
MAX_LOGS = 1000
MAX_LOG_PAGE_BYTES = 4 * 1024 * 1024


class NewestFirst(KeysetPagination):
    """The order of every list of runs but that of what is to come; the indexes of FlowRun serve it both ways."""

    ordering = ("-expected_start", "-id")

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: APIView | None = None) -> list[Any]:
        """Begin with what comes next where only runs that wait for their time are asked for."""
        if asks_for_scheduled_alone(request.query_params.getlist("state")):
            self.ordering = ("expected_start", "id")
        return super().paginate_queryset(queryset, request, view)


class InOrderOfCreation(KeysetPagination):
    """The order of a run's timeline."""

    ordering = ("id",)
    default_limit = 200
    max_limit = 1000


@extend_schema_view(
    list=extend_schema(
        summary="List flow runs, newest first",
        description="Runs that a schedule will start later are left out, unless `state=SCHEDULED` asks for them;"
        " that alone lists them soonest first.",
    ),
    retrieve=extend_schema(summary="Inspect a flow run", responses=FlowRunDetailSerializer),
)
class FlowRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """Flow runs of the teams that the user is a member of."""

    serializer_class = FlowRunSerializer
    pagination_class = NewestFirst
    filterset_class = FlowRunFilter
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[FlowRun]:
        """Runs that the request may see, with what their rows show (one query)."""
        if getattr(self, "swagger_fake_view", False):
            return FlowRun.objects.none()
        runs = visible_flow_runs(self.request).select_related("flow", "deployment")
        if self.action == "list" and not _ANY_TIME & self.request.query_params.keys():
            runs = runs.without_upcoming(timezone.now())
        if self.action == "why":
            runs = runs.select_related("queue", "schedule")
        if self.action == "retrieve":
            runs = runs.select_related("queue").prefetch_related("attempts")
        return runs

    def filter_queryset(self, queryset: QuerySet[FlowRun]) -> QuerySet[FlowRun]:
        """The list alone is narrowed by the query; elsewhere it is about the run's parts."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_serializer_class(self) -> type[FlowRunSerializer]:
        """One run is shown with more than a list shows."""
        return FlowRunDetailSerializer if self.action == "retrieve" else FlowRunSerializer

    @extend_schema(
        summary="Read a run's log, oldest line first",
        parameters=[
            OpenApiParameter("after", UUID, description="The id of the last line that is known already."),
            OpenApiParameter("limit", int, description=f"How many at most, up to {MAX_LOGS} (about 4 MB)."),
            OpenApiParameter("task_run", UUID, description="Only the lines of this task run."),
        ],
        filters=False,
        responses=inline_serializer(
            "LogPage", {"results": LogSerializer(many=True), "next": serializers.UUIDField(allow_null=True)}
        ),
    )
    @action(detail=True, pagination_class=None)
    def logs(self, request: Request, pk: UUID) -> Response:
        """Lines after a known one. `next` is the id to go on from, null when there is nothing more yet."""
        lines = Log.objects.filter(flow_run=self.get_object()).order_by("id")
        if after := _uuid_parameter(request, "after"):
            lines = lines.filter(id__gt=after)
        if task_run := _uuid_parameter(request, "task_run"):
            lines = lines.filter(task_run_id=task_run)
        page, more = _bounded(lines, read_limit(request, 200, MAX_LOGS))
        written_by = {line.task_run_id for line in page if line.task_run_id}
        names = dict(TaskRun.objects.filter(id__in=written_by).values_list("id", "name")) if written_by else {}
        results = LogSerializer(page, many=True, context={"task_run_names": names}).data
        return Response({"results": results, "next": str(page[-1].id) if more else None})

    @extend_schema(
        summary="List a run's task runs, oldest first",
        filters=False,
        parameters=[OpenApiParameter("state", str, many=True, description=STATES_HELP)],
        responses=TaskRunSerializer(many=True),
    )
    @action(detail=True, url_path="task-runs", pagination_class=InOrderOfCreation)
    def task_runs(self, request: Request, pk: UUID) -> Response:
        """Task runs with the attempts before their current one."""
        rows = TaskRun.objects.filter(flow_run=self.get_object()).prefetch_related("earlier_attempts")
        page = self.paginate_queryset(rows.filter(state_condition(request.query_params.getlist("state"))))
        return self.get_paginated_response(TaskRunSerializer(page, many=True).data)

    @extend_schema(
        summary="Read what a run used: memory and processors, oldest sample first",
        description="The pace halves as an attempt goes on; at most 2,000 samples. None for runs below a second.",
        filters=False,
        responses=inline_serializer("ResourceSamples", {"results": ResourceSampleSerializer(many=True)}),
    )
    @action(detail=True, pagination_class=None)
    def resources(self, request: Request, pk: UUID) -> Response:
        """The samples of all its attempts."""
        return Response({"results": ResourceSampleSerializer(samples_of(self.get_object()), many=True).data})

    @extend_schema(summary="Why is a run not running?", filters=False, responses=WhySerializer)
    @action(detail=True, pagination_class=None)
    def why(self, request: Request, pk: UUID) -> Response:
        """The gates that a waiting run has to pass, and the one that blocks; of others, what they do."""
        return Response(WhySerializer(told_to(request.user, why(self.get_object()))).data)

    @extend_schema(summary="Cancel a run", request=None, responses=FlowRunSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: UUID) -> Response:
        """Cancel a run: at once when it has not started, else it is asked to stop. 409 when it has ended."""
        return self._answer(actions.cancel_flow_run(self.get_object(), user=request.user))

    @extend_schema(summary="Retry a run", request=None, responses=FlowRunSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: UUID) -> Response:
        """Continue the same run as its next attempt, reusing what completed. 409 when it has not ended."""
        return self._answer(actions.retry_flow_run(self.get_object(), user=request.user))

    @extend_schema(summary="Rerun a run", request=None, responses={201: FlowRunSerializer})
    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, pk: UUID) -> Response:
        """Make a new run with the same parameters. 409 when the run belongs to no deployment."""
        return self._answer(actions.rerun_flow_run(self.get_object(), user=request.user), status.HTTP_201_CREATED)

    @extend_schema(summary="Delete a run that has ended")
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Delete it with its task runs, logs and all that belongs to it. 409 while it, or a subflow of it, goes on."""
        deleting.delete_flow_run(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="What the current attempt has to run",
        description="Asked by an attempt that executes away from its worker, by its run's own token: what its run host"
        " would be told, without tokens and without what its infrastructure is set up with. It was settled when the"
        " attempt was claimed. The first process that asks begins the attempt; others are answered 409.",
        parameters=[
            OpenApiParameter("process", UUID, description="Made by the process that asks; with a run's token needed.")
        ],
        filters=False,
        responses=dict,
    )
    @action(detail=True, pagination_class=None)
    def start(self, request: Request, pk: UUID) -> Response:
        """As `orchestrator.sdk.host_protocol.Start` has it. 404 while there was no attempt."""
        run = self.get_object()
        attempts = Attempt.objects.select_related("flow_run__flow", "flow_run__deployment__flow")
        if isinstance(request.auth, Attempt):
            attempt = get_object_or_404(attempts, flow_run=run, pk=request.auth.pk)
            _begin(attempt, _uuid_parameter(request, "process"))
        else:
            attempt = get_object_or_404(attempts, flow_run=run, number=run.attempt)
        return Response(msgspec.to_builtins(start_away(Claim(attempt.flow_run, attempt)), enc_hook=str))

    def _answer(self, run: FlowRun, code: int = status.HTTP_200_OK) -> Response:
        return Response(FlowRunSerializer(self.get_queryset().get(pk=run.pk)).data, status=code)


def _begin(attempt: Attempt, process: UUID | None) -> None:
    """Note which process begins an attempt: one does, which may ask again (one statement). Raises ValidationError."""
    if process is None:
        raise ValidationError({"process": ["Write an id that the process has made for itself."]})
    same = Q(begun_by__isnull=True) | Q(begun_by=process)
    if not Attempt.objects.filter(same, pk=attempt.pk).update(begun_by=process):
        message = "This attempt was begun by another process. It is not executed twice."
        raise Refusal({"process": Refusal(message, actions.CONFLICT)})


def _bounded(lines: QuerySet[Log], limit: int) -> tuple[list[Log], bool]:
    """Return at most `limit` lines and about 4 MB of them, and whether there are more (one query)."""
    page: list[Log] = []
    size = 0
    for line in lines[: limit + 1].iterator(chunk_size=100):
        if len(page) == limit or size > MAX_LOG_PAGE_BYTES:
            return page, True
        page.append(line)
        size += len(line.message)
    return page, False


def _uuid_parameter(request: Request, name: str) -> UUID | None:
    text: Any = request.query_params.get(name)
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise ValidationError({name: [f"{text!r} is no id."]}) from None
