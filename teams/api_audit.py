"""REST: the audit log."""

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer
from orchestrator.paging import KeysetPagination
from teams import audit_log, reads
from teams.models import AuditEntry, Via
from teams.rights import Refused

NO_ADMIN = "Reading the audit log takes the role admin in a team."


class AuditEntrySerializer(ReadSerializer):
    """Who did what to which object, from where, and what changed."""

    user = serializers.CharField(source="actor_name", read_only=True, help_text="Who: a user name, or a run.")
    user_id = serializers.IntegerField(source="actor_id", read_only=True, allow_null=True)
    object_type = serializers.CharField(source="subject_type", read_only=True, help_text="deployment, team, …")
    object_id = serializers.CharField(source="subject_id", read_only=True)
    object_name = serializers.CharField(source="subject_name", read_only=True, help_text="As it was called then.")
    team = serializers.CharField(source="team.name", read_only=True, default=None)
    changes = serializers.DictField(
        child=serializers.ListField(), read_only=True, help_text="By field: what was before, and after."
    )

    class Meta:
        model = AuditEntry
        fields = audit_log.FIELDS
        read_only_fields = fields


_TEXTS = {
    "user": "The user name of who did it.",
    "verb": "What was done (`deployment.pause`), or to which kind of object (`deployment`).",
    "object": "Part of the object's name.",
    "object_type": "The kind of object: `deployment`, `team`, …",
    "object_id": "The object's id.",
    "team": "The name or id of the team in whose log it is.",
}
_QUERY = [
    *(OpenApiParameter(name, OpenApiTypes.STR, description=words) for name, words in _TEXTS.items()),
    OpenApiParameter("via", OpenApiTypes.STR, enum=Via.values, description="The way that it came in."),
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="Then or later."),
    OpenApiParameter("until", OpenApiTypes.DATETIME, description="Before then."),
]


@extend_schema_view(list=extend_schema(summary="List entries of the audit log, newest first", parameters=_QUERY))
class AuditViewSet(mixins.ListModelMixin, ApiViewSet):
    """The log of the teams that one administers; for a site administrator, all of it. A token that reads is enough."""

    serializer_class = AuditEntrySerializer
    pagination_class = KeysetPagination
    filter_backends = ()
    queryset = AuditEntry.objects.none()

    def get_queryset(self) -> QuerySet[AuditEntry]:
        """Entries that the caller may read, of those that the query names."""
        if getattr(self, "swagger_fake_view", False):
            return AuditEntry.objects.none()
        if not reads.reads_audit(self.request.user):
            raise Refused(NO_ADMIN)
        return audit_log.narrowed(self.request.user, self.request.query_params)

    @extend_schema(
        summary="Export the audit log",
        parameters=[
            *_QUERY,
            OpenApiParameter("as", OpenApiTypes.STR, enum=list(audit_log.FORMATS), default="jsonl",
                             description="JSON Lines, or CSV with a line of titles."),
        ],
        responses={(200, kind.partition(";")[0]): OpenApiResponse(OpenApiTypes.STR, "All entries, newest first.")
                   for kind in audit_log.FORMATS.values()},
        filters=False,
    )  # fmt: skip
    @action(detail=False, pagination_class=None)
    def export(self, request: Request) -> StreamingHttpResponse:
        """All entries that the query names, streamed as one file."""
        kind: Any = request.query_params.get("as", "jsonl")
        if kind not in audit_log.FORMATS:
            raise ValidationError({"as": [f"{kind!r} is none of {', '.join(audit_log.FORMATS)}."]})
        return audit_log.exported(self.get_queryset(), kind)
