"""Whether the server is up, and, for those signed in, its parts."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator._version import __version__
from orchestrator.api_views import ApiView
from orchestrator.sdk.states import StateType
from runs.models import FlowRun, Worker


class PartsSerializer(serializers.Serializer[Any]):
    """How the parts behind the web site are."""

    workers = serializers.IntegerField(help_text="Workers heard of in the last 30 s.")
    places = serializers.IntegerField(help_text="How many runs they can run at once.")
    deaf = serializers.IntegerField(help_text="How many of them bells do not reach: runs start there a bit later.")
    waiting_seconds = serializers.FloatField(help_text="For how long the run that waits longest has been due.")


class HealthSerializer(serializers.Serializer[Any]):
    """The answer."""

    status = serializers.CharField()
    version = serializers.CharField()
    parts = PartsSerializer(required=False, help_text="For those signed in.")


class HealthView(ApiView):
    """Open to everybody, and without a query for them."""

    permission_classes = [AllowAny]

    @extend_schema(summary="Is the server up?", responses=HealthSerializer, auth=[{}])
    def get(self, request: Request) -> Response:
        """`{"status": "ok", "version": …}`, and `parts` for those signed in."""
        answer: dict[str, Any] = {"status": "ok", "version": __version__}
        if request.user.is_authenticated:
            answer["parts"] = _parts()
        return Response(answer)


def _parts() -> dict[str, Any]:
    """Two queries (index `flow_run_due`)."""
    now = timezone.now()
    workers = list(Worker.objects.alive(now).only("places", "heard_at", "started_at"))
    due = FlowRun.objects.filter(state_type=StateType.SCHEDULED, expected_start__lte=now).order_by("expected_start")
    oldest = due.values_list("expected_start", flat=True).first()
    waiting = (now - oldest).total_seconds() if oldest else 0.0
    return {
        "workers": len(workers),
        "places": sum(worker.places for worker in workers),
        "deaf": sum(not worker.hears(now) for worker in workers),
        "waiting_seconds": waiting,
    }
