"""REST: the versions of a deployment, what differs between two, and going back to one."""

from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from flows.models import Deployment
from flows.version_actions import version_of
from flows.version_diff import difference
from flows.versions import DeploymentVersion
from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from runs import actions
from runs.code_access import why_unread

MAX_NUMBER = 2**31 - 1


class VersionSerializer(ReadSerializer):
    """What a deploy, or a rollback, made of a deployment. Reads `created_by`: select it."""

    created_by = serializers.CharField(source="created_by.username", read_only=True, default=None, allow_null=True)
    source = serializers.SerializerMethodField(help_text="Where its code is.")
    settings = serializers.DictField(source="state", read_only=True, help_text="Every field as it was then.")
    is_current = serializers.SerializerMethodField(help_text="Whether it is the newest.")

    class Meta:
        model = DeploymentVersion
        fields = ("number", "created_at", "created_by", "rolled_back_to", "source", "settings", "is_current")
        read_only_fields = fields

    def get_source(self, version: DeploymentVersion) -> dict[str, Any]:
        """Return its source; a path where it says nothing."""
        return version.state.get("source") or {"kind": "path"}

    def get_is_current(self, version: DeploymentVersion) -> bool:
        """Compare with the deployment's number."""
        return version.number == self.context["deployment"].code_version


class FileDiffSerializer(serializers.Serializer[Any]):
    """A file that differs."""

    path = serializers.CharField()
    change = serializers.ChoiceField(choices=["added", "removed", "changed"])
    text = serializers.CharField(help_text="A unified diff; empty where `why` says why there is none.")
    why = serializers.CharField(help_text="`binary`, `large`, or what else differs.")


class DifferenceSerializer(serializers.Serializer[Any]):
    """What differs between two versions."""

    before = serializers.IntegerField()
    after = serializers.IntegerField()
    settings = serializers.DictField(help_text="field → [before, after]")
    files = FileDiffSerializer(many=True)
    more = serializers.IntegerField(help_text="How many files differ that are not shown.")
    unread = serializers.CharField(help_text="Why files could not be compared; empty where they were.")


class RollbackSerializer(StrictSerializer):
    """Where to go back to."""

    to = serializers.IntegerField(min_value=1, max_value=MAX_NUMBER, help_text="The number of a version.")


class VersionActions(ApiViewSet):
    """What can be done with a deployment's versions."""

    @extend_schema(summary="List a deployment's versions", responses=VersionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def versions(self, request: Request, pk: Any) -> Response:
        """The newest first; the last hundred are kept."""
        deployment = self.get_object()
        rows = deployment.versions.select_related("created_by").order_by("-number")
        return Response(VersionSerializer(rows, many=True, context={"deployment": deployment}).data)

    @extend_schema(
        summary="Compare two versions of a deployment",
        parameters=[
            OpenApiParameter("before", int, description="A version's number; the one before `after` by default."),
            OpenApiParameter("after", int, description="A version's number; the newest by default."),
        ],
        responses=DifferenceSerializer,
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def diff(self, request: Request, pk: Any) -> Response:
        """Settings; for members, files of snapshots line by line: at most 500 and about 1 MB."""
        deployment: Deployment = self.get_object()
        after = version_of(deployment, _number(request, "after", deployment.code_version))
        before = version_of(deployment, _number(request, "before", after.number - 1))
        found = difference(deployment, before, after, unread=why_unread(request.user, deployment.team_id))
        answer = {name: getattr(found, name) for name in ("settings", "files", "more", "unread")}
        return Response(DifferenceSerializer({**answer, "before": before.number, "after": after.number}).data)

    @extend_schema(
        summary="Go back to a version of a deployment", request=RollbackSerializer, responses=VersionSerializer
    )
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, pk: Any) -> Response:
        """Its code, and parameters with their schema, become a new version; queue, limits and schedules stay."""
        deployment, serializer = self.get_object(), RollbackSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        deployment = actions.roll_back_deployment(deployment, user=request.user, **serializer.validated_data)
        version = deployment.versions.select_related("created_by").get(number=deployment.code_version)
        return Response(VersionSerializer(version, context={"deployment": deployment}).data)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and int(text[:11]) <= MAX_NUMBER):
        raise ValidationError({name: f"{text[:50]!r} is no version's number."})
    return int(text[:11]) if text else default
