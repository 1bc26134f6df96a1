"""Whether the server is up, and, for those signed in, its parts."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orchestrator._version import __version__
from runs.models import Worker

HEARD_WITHIN = timedelta(seconds=30)


class PartsSerializer(serializers.Serializer[Any]):
    """How the parts behind the web site are."""

    workers = serializers.IntegerField(help_text="Workers heard of in the last 30 s.")
    places = serializers.IntegerField(help_text="How many runs they can run at once.")
    last_tick = serializers.DateTimeField(allow_null=True, help_text="When beat last sent its tick.")


class HealthSerializer(serializers.Serializer[Any]):
    """The answer."""

    status = serializers.CharField()
    version = serializers.CharField()
    parts = PartsSerializer(required=False, help_text="For those signed in.")


class HealthView(APIView):
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
    """Two queries."""
    workers = Worker.objects.filter(stopped_at=None, heartbeat_at__gt=timezone.now() - HEARD_WITHIN)
    places = list(workers.values_list("places", flat=True))
    tick = PeriodicTask.objects.filter(task="runs.jobs.tick").values_list("last_run_at", flat=True).first()
    return {"workers": len(places), "places": sum(places), "last_tick": tick}
