"""REST: a user's own API tokens."""

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.bodies import ReadSerializer, StrictSerializer
from orchestrator.paging import KeysetPagination
from teams.acting import acting_team
from teams.models import ApiToken

MAX_LIFETIME_SECONDS = 10 * 366 * 24 * 3600


class ApiTokenSerializer(ReadSerializer):
    """A token as it is listed: its prefix only."""

    team = serializers.CharField(source="team.name", read_only=True)

    class Meta:
        model = ApiToken
        fields = ("id", "name", "team", "prefix", "created_at", "expires_at", "last_used_at")
        read_only_fields = fields


class NewApiTokenSerializer(StrictSerializer):
    """What a token is made from."""

    name = serializers.CharField(max_length=100, help_text="What it is for.")
    expires_in = serializers.IntegerField(
        min_value=1,
        max_value=MAX_LIFETIME_SECONDS,
        required=False,
        allow_null=True,
        help_text="Seconds until it expires; left out, it does not.",
    )


class IssuedApiTokenSerializer(ApiTokenSerializer):
    """A token as it is answered once, when it is made."""

    token = serializers.CharField(read_only=True, help_text="The secret. It is not kept and not shown again.")

    class Meta(ApiTokenSerializer.Meta):
        fields = (*ApiTokenSerializer.Meta.fields, "token")
        read_only_fields = fields


@extend_schema_view(
    list=extend_schema(summary="List your API tokens, newest first"),
    destroy=extend_schema(summary="Revoke an API token"),
)
class ApiTokenViewSet(mixins.ListModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[ApiToken]):
    """The user's own tokens. Each acts as that user, for the team it was made in."""

    serializer_class = ApiTokenSerializer
    pagination_class = KeysetPagination
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Tokens of the user alone."""
        if getattr(self, "swagger_fake_view", False):
            return ApiToken.objects.none()
        return ApiToken.objects.filter(user=self.request.user).select_related("team")

    @extend_schema(
        summary="Make an API token", request=NewApiTokenSerializer, responses={201: IssuedApiTokenSerializer}
    )
    def create(self, request: Request) -> Response:
        """Make a token and answer its secret, this once."""
        asked = NewApiTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        seconds = asked.validated_data.get("expires_in")
        expires_at = timezone.now() + timedelta(seconds=seconds) if seconds else None
        name = asked.validated_data["name"]
        token, secret = ApiToken.issue(name=name, user=request.user, team=acting_team(request), expires_at=expires_at)
        answer = {**ApiTokenSerializer(token).data, "token": secret}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
