"""Deployments: declare, change, pause, duplicate and run them, and set their schedules."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from flows.declarations import Declaration, set_elsewhere
from flows.models import IN_WORKER, PROCESS, Deployment, Isolation, Schedule
from flows.schedules import Spec
from flows.year import year_ahead
from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import StrictSerializer
from orchestrator.paging import KeysetPagination
from runs import actions, applying
from runs.api.deployment_serializers import (
    AppliedSerializer,
    ApplySerializer,
    BackfillRequestSerializer,
    BackfillSerializer,
    DeclarationSerializer,
    DeclaredDeploymentSerializer,
    DeploymentChangesSerializer,
    DeploymentSerializer,
    DuplicateSerializer,
    NewFlowRunSerializer,
    SchedulePreviewSerializer,
    ScheduleSerializer,
    SpecSerializer,
    TriedScheduleSerializer,
    UndoneSerializer,
    UndoSerializer,
)
from runs.api.filters import DeploymentFilter
from runs.api.serializers import FlowRunSerializer
from runs.api.specs import stored_fields, tried
from runs.api.versions import VersionActions
from runs.api.webhooks import WebhookActions
from runs.models import Trigger
from teams.acting import acting_team
from teams.models import ApiToken, Team


class ByName(KeysetPagination):
    """Alphabetical, as people look for them."""

    ordering = ("flow__slug", "slug", "id")


@extend_schema_view(
    list=extend_schema(summary="List deployments"), retrieve=extend_schema(summary="Inspect a deployment")
)
class DeploymentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, VersionActions, WebhookActions):
    """Deployments of the teams that the user is a member of."""

    serializer_class = DeploymentSerializer
    pagination_class = ByName
    lookup_value_converter = "uuid"
    filterset_class = DeploymentFilter
    own_keys = frozenset({"runs"})

    def filter_queryset(self, queryset: QuerySet[Deployment]) -> QuerySet[Deployment]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_queryset(self) -> QuerySet[Deployment]:
        """Deployments that the request may see, with what their rows show (two queries; one to run one)."""
        if getattr(self, "swagger_fake_view", False):
            return Deployment.objects.none()
        deployments = Deployment.objects.visible_to(self.request.user).select_related("flow", "queue", "infrastructure")
        if self.action == "runs":
            return deployments
        schedules = Prefetch("schedules", Schedule.objects.select_related("deployment", "calendar").order_by("id"))
        return deployments.prefetch_related(schedules)

    @extend_schema(
        summary="Declare a deployment: make it, or update it",
        request=DeclarationSerializer,
        responses={201: DeclaredDeploymentSerializer, 200: DeclaredDeploymentSerializer},
    )
    def create(self, request: Request) -> Response:
        """201 when it was made, 200 when it was there.

        Compared with what was declared last, only what differs is changed, so that what was set in the browser
        meanwhile is kept. `changes` says what this call changed, `kept` what is not as it is declared.
        """
        said = _valid(DeclarationSerializer, request.data)
        paused = said.pop("paused", False)
        team = acting_team(request)
        with transaction.atomic():
            declaration = _declaration(said, team, request.user)
            deployment, changes = actions.deploy(team=team, user=request.user, declaration=declaration)
            is_new = "name" in changes
            if is_new and paused:
                actions.pause_deployment(deployment, user=request.user)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        kept = set_elsewhere(deployment)
        return Response({**self._shown(deployment), "changes": changes, "kept": kept}, status=code)

    @extend_schema(
        summary="Declare all deployments of a project at once", request=ApplySerializer, responses=AppliedSerializer
    )
    @action(detail=False, methods=["post"], pagination_class=None)
    def apply(self, request: Request) -> Response:
        """In one transaction: all of it, or nothing where one cannot be.

        Each is declared as by itself. `deployments` says of each what changed, and of those that an earlier call of the
        same project named and this one does not.
        """
        said = _valid(ApplySerializer, request.data)
        team, each = acting_team(request), said.pop("deployments")
        with transaction.atomic():
            paused = [one.pop("paused", False) for one in each]
            declarations = [_declaration(one, team, request.user) for one in each]
            applied = applying.apply(team, declarations, paused, user=request.user, **said)
            if said["dry_run"]:  # what was made for it too: calendars
                transaction.set_rollback(True)
        return Response(AppliedSerializer({"dry_run": said["dry_run"], "deployments": applied}).data)

    @extend_schema(summary="Change a deployment", request=DeploymentChangesSerializer, responses=DeploymentSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Only the fields that are given. They stay when the same thing is declared again."""
        deployment = self.get_object()
        changes = _valid(DeploymentChangesSerializer, request.data)
        paused = changes.pop("paused", None)
        isolation = changes.pop("isolation", deployment.isolation)
        if isolation != deployment.isolation:
            changes.setdefault("infrastructure", IN_WORKER if isolation == Isolation.WORKER else PROCESS)
        with transaction.atomic():
            if changes:
                deployment = actions.update_deployment(deployment, user=request.user, **changes)
            if paused is not None and paused != deployment.paused:
                verb = actions.pause_deployment if paused else actions.resume_deployment
                verb(deployment, user=request.user)
        return Response(self._shown(deployment))

    @extend_schema(summary="Delete a deployment", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Its schedules go with it, and so do runs that did not begin; runs that did stay."""
        actions.delete_deployment(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Run a deployment",
        request=NewFlowRunSerializer,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="At most 200 characters. The same key again answers the run that the first call made,"
                " with the header `Idempotency-Replayed: true`; with another deployment it answers 409.",
            )
        ],
        responses={201: FlowRunSerializer},
    )
    @action(detail=True, methods=["post"])
    def runs(self, request: Request, pk: UUID) -> Response:
        """Make a run with the deployment's parameters and those given; workers are told at once."""
        deployment = self.get_object()
        key = request.headers.get("Idempotency-Key", "").strip() or None
        asked = _valid(NewFlowRunSerializer, request.data)
        trigger = Trigger.API if isinstance(request.auth, ApiToken) else Trigger.PERSON
        run, created = actions.create_flow_run(
            deployment, trigger=trigger, user=request.user, idempotency_key=key, **asked
        )
        run.flow = deployment.flow  # which was read with it
        headers = {} if created else {"Idempotency-Replayed": "true"}
        return Response(FlowRunSerializer(run).data, status=status.HTTP_201_CREATED, headers=headers)

    @extend_schema(summary="Pause a deployment", request=None, responses=DeploymentSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        """Its schedules make no runs until it is resumed. It can still be run."""
        return Response(self._shown(actions.pause_deployment(self.get_object(), user=request.user)))

    @extend_schema(summary="Resume a deployment", request=None, responses=DeploymentSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        """Its schedules make runs again, from now on."""
        return Response(self._shown(actions.resume_deployment(self.get_object(), user=request.user)))

    @extend_schema(summary="Duplicate a deployment", request=DuplicateSerializer, responses={201: DeploymentSerializer})
    @action(detail=True, methods=["post"])
    def duplicate(self, request: Request, pk: UUID) -> Response:
        """Make a copy under another name, with some parameters replaced. Its schedules are copied inactive."""
        deployment, asked = self.get_object(), _valid(DuplicateSerializer, request.data)
        copy = actions.duplicate_deployment(deployment, user=request.user, **asked)
        return Response(self._shown(copy), status=status.HTTP_201_CREATED)

    @extend_schema(summary="List a deployment's schedules", responses=ScheduleSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def schedules(self, request: Request, pk: UUID) -> Response:
        """All of them, in the order they were made."""
        return self._schedules()

    @extend_schema(
        summary="Replace a deployment's schedules",
        request=SpecSerializer(many=True),
        responses=ScheduleSerializer(many=True),
        filters=False,
    )
    @schedules.mapping.put
    def replace_schedules(self, request: Request, pk: UUID) -> Response:
        """One that is there already keeps its runs. An empty list leaves the deployment without a schedule."""
        deployment, said = self.get_object(), _valid(SpecSerializer, request.data, many=True)
        with transaction.atomic():
            specs = [Spec(**stored_fields(one, deployment.team, request.user)) for one in said]
            actions.set_schedules(deployment, specs, user=request.user)
        return self._schedules()

    @extend_schema(summary="Add a schedule", request=SpecSerializer, responses={201: ScheduleSerializer})
    @schedules.mapping.post
    def add_schedule(self, request: Request, pk: UUID) -> Response:
        """One more schedule for a deployment."""
        deployment = self.get_object()
        said = _valid(SpecSerializer, request.data)
        with transaction.atomic():
            spec = Spec(**stored_fields(said, deployment.team, request.user))
            schedule = actions.add_schedule(deployment, spec, user=request.user)
        return Response(ScheduleSerializer(schedule).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        summary="Backfill a window of the past",
        request=BackfillRequestSerializer,
        responses={200: BackfillSerializer, 201: BackfillSerializer},
    )
    @action(detail=True, methods=["post"])
    def backfill(self, request: Request, pk: UUID) -> Response:
        """Make runs for the schedules' times in a window that have none yet, at most 1,000 a call, oldest first.

        A run that was Skipped is brought back. Asked for twice, nothing is made twice. Answers 200 to a dry run and
        where there was nothing to make.
        """
        deployment = self.get_object()
        said = _valid(BackfillRequestSerializer, request.data)
        if said.pop("dry_run"):
            planned, made = actions.plan_backfill(deployment, **said), []
        else:
            planned, made = actions.backfill(deployment, user=request.user, **said)
        answer = {
            "count": len(planned.slots),
            "there": planned.there,
            "more_from": planned.more_from,
            "tag": planned.tag,
            "times": [slot.time for slot in planned.slots],
            "flow_runs": [run.pk for run in made],
        }
        code = status.HTTP_201_CREATED if made else status.HTTP_200_OK
        return Response(BackfillSerializer(answer).data, status=code)

    @extend_schema(summary="Undo a backfill", request=UndoSerializer, responses=UndoneSerializer)
    @action(detail=True, methods=["post"], url_path="backfill/undo")
    def undo_backfill(self, request: Request, pk: UUID) -> Response:
        """Leave out what has not begun of it; what began goes on."""
        deployment, said = self.get_object(), _valid(UndoSerializer, request.data)
        count = actions.undo_backfill(deployment, said["tag"], user=request.user)
        return Response(UndoneSerializer({"count": count}).data)

    def _schedules(self) -> Response:
        return Response(ScheduleSerializer(self.get_object().schedules.all(), many=True).data)

    def _shown(self, deployment: Deployment) -> dict[str, Any]:
        """The deployment as it is read; read again, since what was prefetched may have changed."""
        return dict(DeploymentSerializer(self.get_queryset().get(pk=deployment.pk)).data)


class ScheduleViewSet(ApiViewSet):
    """Schedules by their own id."""

    serializer_class = ScheduleSerializer
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Schedule]:
        """Schedules of the deployments that the request may see."""
        if getattr(self, "swagger_fake_view", False):
            return Schedule.objects.none()
        visible = Deployment.objects.visible_to(self.request.user)
        return Schedule.objects.filter(deployment__in=visible).select_related("deployment", "calendar")

    @extend_schema(summary="Inspect a schedule", responses=ScheduleSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """With its next times."""
        return Response(ScheduleSerializer(self.get_object()).data)

    @extend_schema(summary="Change a schedule", request=SpecSerializer(partial=True), responses=ScheduleSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Only the fields that are given."""
        schedule, said = self.get_object(), _valid(SpecSerializer, request.data, partial=True)
        with transaction.atomic():
            changes = stored_fields(said, schedule.deployment.team, request.user)
            schedule = actions.change_schedule(schedule, user=request.user, **changes)
        return Response(ScheduleSerializer(schedule).data)

    @extend_schema(summary="Delete a schedule", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Runs that it made and that did not begin go with it."""
        actions.delete_schedule(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Try a schedule out",
        request=TriedScheduleSerializer,
        responses=SchedulePreviewSerializer,
        filters=False,
    )
    @action(detail=False, methods=["post"], pagination_class=None)
    def preview(self, request: Request) -> Response:
        """What a schedule means in words, its next times and its year ahead; nothing is kept."""
        said = _valid(TriedScheduleSerializer, request.data)
        count, wants_year = said.pop("count"), said.pop("year")
        now = timezone.now()
        spec = tried(said, acting_team(request)).clean(now)
        days = [day for day in year_ahead(spec, now) if day.runs or day.left_out] if wants_year else None
        answer = {
            "description": spec.describe(),
            "expression": spec.expression,
            "next_times": spec.next_times(now, count),
            "year": days,
        }
        return Response(SchedulePreviewSerializer(answer).data)


def _declaration(said: dict[str, Any], team: Team, user: Any) -> Declaration:
    """Return what was said as a declaration; calendars of its schedules are made where they are missing."""
    if (isolation := said.pop("isolation", None)) is not None:
        said.setdefault("infrastructure", IN_WORKER if isolation == Isolation.WORKER else PROCESS)
    if "schedules" in said:
        said["schedules"] = [Spec(**stored_fields(one, team, user)) for one in said["schedules"]]
    return Declaration(flow_name=said.pop("flow"), **said)


def _valid(kind: type[StrictSerializer], data: Any, **options: Any) -> Any:
    """Return the values of a request's body. Raises ValidationError by field."""
    serializer = kind(data=data, **options)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data
