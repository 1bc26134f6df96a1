"""REST: workers. People look at them; a worker that has no database lives by these addresses (`runs.supervision`)."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from orchestrator.paging import KeysetPagination
from orchestrator.sdk.infrastructure.base import Placement
from runs import claims, serving, taking_over, workers
from runs.announcements import announce_on_commit
from runs.calls.signing import public_keys
from runs.models import Worker
from runs.supervision.base import MAX_REQUESTS, Assignment, Leases
from runs.supervision.database import assignments_of
from teams.acting import acting_team
from teams.rights import Level

MAX_PLACES = 1_000
NO_CREDENTIALS = (
    "Block {block!r} names credentials ({names}), which are given to workers with an administrator's token alone. Start"
    " this worker with one, or have others run this."
)
NO_SOURCE_CREDENTIALS = (
    "Its code is read with credentials (block {block!r}), which are given to workers with an administrator's token"
    " alone. Start this worker with one, or have others run this."
)
MAX_HELD = 2 * MAX_PLACES


class SignOnSerializer(StrictSerializer):
    """What a worker says of itself."""

    id = serializers.UUIDField(help_text="Made by the worker; the same one again changes its row.")
    name = serializers.CharField(max_length=200)
    host = serializers.CharField(max_length=200)
    pid = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    places = serializers.IntegerField(min_value=1, max_value=MAX_PLACES, help_text="How many runs it has at once.")
    calls_key = serializers.RegexField(
        r"\A[0-9a-f]{64}\Z", required=False, default="",
        help_text="Its public key (Ed25519, in hexadecimal), by which it signs what task runs say.",
    )  # fmt: skip
    queues = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, default=list, max_length=100,
        help_text="Names of the queues that it serves; none: every one of the team's.",
    )  # fmt: skip


class ClaimSerializer(StrictSerializer):
    """A claim has an id, so that it can be asked for again where the answer was lost."""

    requests = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MAX_REQUESTS,
        help_text="A UUIDv7 for each run that is wanted at most. The same ones are answered with the same runs.",
    )  # fmt: skip


class RenewSerializer(StrictSerializer):
    """What a worker runs, and how it is."""

    held = serializers.DictField(child=serializers.IntegerField(min_value=1), help_text="Attempts by id of their run.")
    load = serializers.FloatField(required=False, allow_null=True, min_value=0)
    heard_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_held(self, held: dict[str, int]) -> dict[UUID, int]:
        """Return the attempts by id."""
        if len(held) > MAX_HELD:
            raise serializers.ValidationError(f"At most {MAX_HELD:,} runs.")
        try:
            return {UUID(run_id): attempt for run_id, attempt in held.items()}
        except ValueError:
            raise serializers.ValidationError("Each run is named by its id.") from None


class ReleaseSerializer(StrictSerializer):
    """A claim that never reached a run host."""

    run = serializers.UUIDField()
    attempt = serializers.IntegerField(min_value=1)


class SignOffSerializer(StrictSerializer):
    """A worker's last word."""

    requests = serializers.ListField(
        child=serializers.UUIDField(), required=False, default=list, max_length=MAX_REQUESTS,
        help_text="Of claims whose answer never came: they are given back.",
    )  # fmt: skip


class WorkerSerializer(ReadSerializer):
    """A worker."""

    alive = serializers.SerializerMethodField(help_text="Heard of in the last 30 s, and not signed off.")
    hears = serializers.SerializerMethodField(help_text="Whether bells reach it through the broker.")
    running = serializers.SerializerMethodField(help_text="How many runs it has now.")
    queues = serializers.SerializerMethodField(help_text="Names of the queues that it serves; empty: every one.")

    class Meta:
        model = Worker
        fields = (
            "id", "name", "host", "pid", "team", "queues", "places", "running", "load", "alive", "hears",
            "started_at", "heartbeat_at", "heard_at", "stopped_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_alive(self, worker: Worker) -> bool:
        """Judge by the heartbeat."""
        return worker.is_alive(timezone.now())

    def get_hears(self, worker: Worker) -> bool:
        """Judge by the last bell to itself."""
        return worker.hears(timezone.now())

    def get_running(self, worker: Worker) -> int:
        """Those counted for the page, in one query."""
        return int(self.context["running"].get(worker.pk, 0))

    def get_queues(self, worker: Worker) -> list[str]:
        """By name; a queue that was deleted is left out."""
        return [self.context["names"][queue] for queue in worker.queues if queue in self.context["names"]]


class RunOfWorkerSerializer(serializers.Serializer[Any]):
    """A run that a worker has."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    flow = serializers.CharField(source="flow.name")
    state_type = serializers.CharField()
    state_name = serializers.CharField()
    start_time = serializers.DateTimeField(allow_null=True)


class InspectedWorkerSerializer(WorkerSerializer):
    """A worker with what it runs."""

    runs = serializers.SerializerMethodField(help_text="The runs that it has now, the oldest first, at most 100.")

    class Meta(WorkerSerializer.Meta):
        fields = (*WorkerSerializer.Meta.fields, "runs")
        read_only_fields = fields

    def get_runs(self, worker: Worker) -> list[dict[str, Any]]:
        """One query."""
        return list(RunOfWorkerSerializer(serving.runs_of(worker, self.context["user"]), many=True).data)


class WorkerFilter(filters.FilterSet):
    """Narrows the list of workers."""

    name = filters.CharFilter(help_text="The worker's name.")
    alive = filters.BooleanFilter(method="by_life", help_text="Only those that are there, or only those that are gone.")

    class Meta:
        model = Worker
        fields = ("name",)

    def by_life(self, rows: QuerySet[Worker], _field: str, value: bool) -> QuerySet[Worker]:
        """Keep the living or the gone."""
        alive = Worker.objects.alive(timezone.now())
        return rows.filter(pk__in=alive) if value else rows.exclude(pk__in=alive)


class NewestWorkerFirst(KeysetPagination):
    """Those that started last come first: ids are made of time."""

    ordering = ("-id",)


@extend_schema_view(list=extend_schema(summary="List workers, the newest first"))
class WorkerViewSet(mixins.ListModelMixin, ApiViewSet):
    """Workers that serve the teams of the user."""

    serializer_class = WorkerSerializer
    pagination_class = NewestWorkerFirst
    filterset_class = WorkerFilter
    own_keys = unrated = frozenset({"create", "claim", "renew", "release", "sign_off"})
    lookup_value_converter = "uuid"

    def filter_queryset(self, queryset: QuerySet[Worker]) -> QuerySet[Worker]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_queryset(self) -> QuerySet[Worker]:
        """Workers that the request may see; what a worker says of itself, only of its own team."""
        if getattr(self, "swagger_fake_view", False):
            return Worker.objects.none()
        workers = Worker.objects.visible_to(self.request.user)
        if self.request.method != "POST" or self.request.user.confinement.deployment is not None:
            return workers  # for a token of one deployment: none
        return workers.filter(team=acting_team(self.request))

    def paginate_queryset(self, queryset: QuerySet[Worker]) -> Any:
        """Keep the page for what is counted and named with it."""
        self.page = super().paginate_queryset(queryset)
        return self.page

    def get_serializer_context(self) -> dict[str, Any]:
        """Add the runs and the queues' names of this page's workers (two queries)."""
        return {**super().get_serializer_context(), **_context(getattr(self, "page", []))}

    @extend_schema(summary="Inspect a worker", responses=InspectedWorkerSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """With the runs that it has."""
        worker = self.get_object()
        return Response(InspectedWorkerSerializer(worker, context={"user": request.user, **_context([worker])}).data)

    @extend_schema(summary="A worker signs on", request=SignOnSerializer, responses={201: dict})
    def create(self, request: Request) -> Response:
        """The answer says by which times leases are held, and on which Celery queues its bells are rung.

        Also the public keys by which the server signs task runs (`call_keys`).
        """
        values = _valid(SignOnSerializer, request)
        team = acting_team(request)
        worker = workers.sign_on_remote(team, values.pop("id"), **values)
        leases = Leases(settings.LEASE_SECONDS, settings.LEASE_RENEW_SECONDS, settings.CANCEL_GRACE_SECONDS)
        answer = {"id": str(worker.pk), "team": team.name, "leases": asdict(leases), **_celery_queues(worker)}
        answer["call_keys"] = public_keys()
        return Response(answer, status=status.HTTP_201_CREATED)

    @extend_schema(summary="A worker claims runs", request=ClaimSerializer, responses=dict)
    @action(detail=True, methods=["post"])
    def claim(self, request: Request, pk: UUID) -> Response:
        """`assignments` is empty when nothing is due; else it says what to run, each with the run's own token.

        Fewer may come than are due: ask again until none comes.
        """
        worker, requests = self.get_object(), _valid(ClaimSerializer, request)["requests"]
        taken = taking_over.take_over_some(worker, len(requests))
        more = requests[len(taken) :]
        claimed = [*taken, *(claims.claim_some(worker, len(more), requests=more) if more else [])]
        announce_on_commit([claim.run.pk for claim in claimed])
        trusted = request.user.level_on(worker) >= Level.ADMIN
        assignments = [_written(one, trusted) for one in assignments_of(claimed)]
        return Response({"assignments": assignments, **_celery_queues(worker)})

    @extend_schema(summary="A worker extends its leases", request=RenewSerializer, responses=dict)
    @action(detail=True, methods=["post"])
    def renew(self, request: Request, pk: UUID) -> Response:
        """The answer names the runs to `cancel`, and those that were `lost`: both have to stop. Also the heartbeat.

        Also the public keys by which the server signs task runs now (`call_keys`).
        """
        worker, values = self.get_object(), _valid(RenewSerializer, request)
        renewal = workers.renew(worker, values["held"])
        workers.beat(worker, load=values.get("load"), heard_at=values.get("heard_at"))
        answer = {"cancel": sorted(map(str, renewal.cancel)), "lost": sorted(map(str, renewal.lost))}
        return Response({**answer, "call_keys": public_keys()})

    @extend_schema(summary="A worker gives a claim back", request=ReleaseSerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: UUID) -> Response:
        """Its run waits again, as if it had not been claimed."""
        worker, values = self.get_object(), _valid(ReleaseSerializer, request)
        workers.release(worker, values["run"], values["attempt"])
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="A worker signs off", request=SignOffSerializer, responses={204: None})
    @action(detail=True, methods=["post"], url_path="sign-off")
    def sign_off(self, request: Request, pk: UUID) -> Response:
        """It claims no more."""
        workers.sign_off(self.get_object(), _valid(SignOffSerializer, request)["requests"])
        return Response(status=status.HTTP_204_NO_CONTENT)


def _context(page: list[Worker]) -> dict[str, Any]:
    return {"running": serving.running_on(page), "names": serving.queue_names(page)}


def _celery_queues(worker: Worker) -> dict[str, list[str]]:
    queues = claims.queues_of(claims.queue_ids_of(worker)).only("pk")
    return {"celery_queues": [queue.celery_queue for queue in queues]}


def _written(assignment: Assignment, trusted: bool) -> dict[str, Any]:
    """Return an assignment as JSON; with credentials of blocks only where the worker's token is an administrator's.

    Whoever has a worker's token reads what its runs are given: editors have none of the secrets that administrators
    put into blocks.
    """
    started = assignment.start
    placement, problem = started.infrastructure or Placement(), ""
    if placement.credentials:
        problem = NO_CREDENTIALS.format(block=placement.block, names=", ".join(placement.credentials))
    elif started.source_credentials:
        problem = NO_SOURCE_CREDENTIALS.format(block=started.source["credentials"])
    if problem and not trusted:
        started.infrastructure = Placement(kind=placement.kind, block=placement.block, problem=problem)
        started.source_credentials = {}
    start = msgspec.to_builtins(started, enc_hook=str)
    return {"label": assignment.label, "reruns": assignment.reruns, "start": start}


def _valid(kind: type[StrictSerializer], request: Request) -> dict[str, Any]:
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
