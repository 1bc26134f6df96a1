"""REST: slots of limited tags, as running processes ask for them and give them back."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema, inline_serializer
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiView
from orchestrator.bodies import StrictSerializer
from orchestrator.problems import Conflict
from runs import slots
from runs.api.access import visible_flow_runs
from runs.models import Attempt, ConcurrencyLimit, FlowRun, Slot
from runs.slots import Ask, RunEnded, UnknownRun
from teams.acting import acting_team
from teams.models import Team
from teams.rights import Level, require

_MAX_TAGS = 1_000
_MAX_NUMBER = 2**31 - 1


class AskSerializer(StrictSerializer):
    """A task run that wants to begin."""

    run = serializers.UUIDField(help_text="Its flow run.")
    attempt = serializers.IntegerField(min_value=1, max_value=_MAX_NUMBER, help_text="The flow run's attempt.")
    task_run = serializers.UUIDField()
    name = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, default="", help_text="The task run's name."
    )
    tags = serializers.ListField(
        child=serializers.CharField(allow_blank=True), max_length=_MAX_TAGS, help_text="All its tags, limited or not."
    )
    listener = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="Of the stream on which it is told; null: none."
    )
    journal = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="With `sequence`: the fact that has to be here first."
    )
    sequence = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**53)


class SlotHolderSerializer(serializers.Serializer[Any]):
    """A task run that holds a slot."""

    task_run = serializers.UUIDField()
    name = serializers.CharField()
    flow_run = serializers.UUIDField()
    flow_run_name = serializers.CharField()


class SlotWaitSerializer(serializers.Serializer[Any]):
    """A full limit that is waited for."""

    tag = serializers.CharField()
    limit = serializers.IntegerField()
    position = serializers.IntegerField(help_text="In the line, from 1.")
    holders = SlotHolderSerializer(many=True, help_text="The first three.")


_GRANTED = inline_serializer(
    "SlotGranted",
    {
        "granted": serializers.BooleanField(help_text="True."),
        "limits": serializers.ListField(child=serializers.CharField(), help_text="The tags that limit it."),
    },
)
_WAITS = inline_serializer(
    "SlotWaits",
    {"granted": serializers.BooleanField(help_text="False."), "waits_for": SlotWaitSerializer(many=True)},
)


class SlotsView(ApiView):
    """Asking for slots."""

    own_keys = unrated = frozenset({"post"})

    @extend_schema(
        summary="Ask for a task run's slots",
        description="All slots of its limited tags at once, or it waits for them. Asking again says how it stands."
        " 409 `unknown_run`: its facts are on the way; ask again in a moment. 409 `run_ended`: it gets none any more.",
        request=AskSerializer,
        responses={200: _GRANTED, 202: _WAITS},
    )
    def post(self, request: Request) -> Response:
        """Answer whether the task run may begin."""
        serializer = AskSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        question = Ask(flow_run=values.pop("run"), **values)
        try:
            answer = slots.ask(question, _team_of(request, question.flow_run))
        except UnknownRun:
            raise Conflict("The facts about this run are on the way. Ask again in a moment.", "unknown_run") from None
        except RunEnded:
            raise Conflict("This flow run, or this attempt of it, has ended.", "run_ended") from None
        if answer.granted:
            return Response({"granted": True, "limits": answer.limits})
        waits_for = [asdict(wait) for wait in answer.waits_for]
        return Response({"granted": False, "waits_for": waits_for}, status.HTTP_202_ACCEPTED)


class SlotView(ApiView):
    """The slots of one task run."""

    unrated = frozenset({"delete"})

    @extend_schema(summary="Give a task run's slots back, or stop waiting for them", responses={204: None})
    def delete(self, request: Request, task_run: UUID) -> Response:
        """Grant them to the next. Nothing to give back is fine; for a person it takes the role operator on its run."""
        runs = visible_flow_runs(request)
        for slot in Slot.objects.filter(task_run=task_run, flow_run__in=runs).select_related("flow_run__team"):
            _require_speaking_for(request, slot.flow_run)
        slots.give_back(task_run, runs)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SlotTagsView(ApiView):
    """Which tags are limited."""

    @extend_schema(
        summary="List the limited tags of the team",
        responses=inline_serializer("LimitedTags", {"tags": serializers.ListField(child=serializers.CharField())}),
    )
    def get(self, request: Request) -> Response:
        """Return every tag for which slots have to be asked for."""
        limits = ConcurrencyLimit.objects.filter(team=_own_team(request)).order_by("tag")
        return Response({"tags": list(limits.values_list("tag", flat=True))})


class SlotStreamView(ApiView):
    """The stream of grants, where it cannot be served; `runs.slot_stream` serves it."""

    elsewhere = frozenset({"get"})

    @extend_schema(
        summary="Hear of granted slots",
        description='Server-sent events: `ready` once grants are heard, then `granted` with `{"task_run": id}` for'
        " each task run that was asked for under this listener; a comment every 15 seconds.",
        parameters=[OpenApiParameter("listener", UUID, required=True)],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> Response:
        """Say that this server runs without ASGI."""
        message = "This server runs under WSGI, which has no streams. Run it under ASGI, or ask again."
        return Response({"code": "no_stream", "message": message}, status.HTTP_501_NOT_IMPLEMENTED)


def _own_team(request: Request) -> Team:
    if isinstance(request.auth, Attempt):
        return request.auth.flow_run.team
    return acting_team(request)


def _team_of(request: Request, run_id: UUID) -> Team:
    """Return the team whose limits count for a run, known or not yet. Raises NotFound for a run of others."""
    own = request.auth.flow_run if isinstance(request.auth, Attempt) else None
    if own is not None and own.pk == run_id:
        return own.team
    run = FlowRun.objects.select_related("team").only("team", "flow", "deployment").filter(pk=run_id).first()
    if run is None:
        return _own_team(request)
    if not visible_flow_runs(request).filter(pk=run_id).exists():
        raise exceptions.NotFound("There is none with this id that you may see.")
    _require_speaking_for(request, run)
    return run.team


def _require_speaking_for(request: Request, run: FlowRun) -> None:
    """Raise Refused unless the caller may act for a run that they see: as an operator, or by the run's own token."""
    if not isinstance(request.auth, Attempt):
        require(request.user, Level.RUN, run)
