"""REST: API tokens, a user's own and, for administrators, those of service accounts and of others."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from orchestrator.paging import KeysetPagination
from teams import actions, reads
from teams.acting import acting_team
from teams.api_access import deployment_names, person_named, shared_row, valid
from teams.models import ApiToken, Scope

MAX_LIFETIME_SECONDS = 10 * 366 * 24 * 3600


class ApiTokenSerializer(ReadSerializer):
    """A token as it is listed: its prefix only."""

    user = serializers.CharField(source="user.username", read_only=True, help_text="Whose rights it has.")
    team = serializers.CharField(source="team.name", read_only=True, help_text="For which it makes things.")
    scope = serializers.SerializerMethodField(help_text="What it may do at most; null: what its user may.")
    deployment = serializers.SerializerMethodField(
        help_text="The one that it reaches, flow-name/deployment-name; null: all that its user reaches."
    )
    created_by = serializers.CharField(source="created_by.username", read_only=True, default=None, allow_null=True)

    class Meta:
        model = ApiToken
        fields = (
            "id", "name", "user", "team", "scope", "deployment", "prefix", "created_by", "created_at", "expires_at",
            "last_used_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=Scope.choices, allow_null=True))
    def get_scope(self, token: ApiToken) -> str | None:
        """Null where it takes nothing away."""
        return token.scope or None

    def get_deployment(self, token: ApiToken) -> str | None:
        """By name; by id once it is deleted."""
        if token.deployment is None:
            return None
        return str(self.context["deployments"].get(token.deployment, token.deployment))


class NewApiTokenSerializer(StrictSerializer):
    """What a token is made from."""

    name = serializers.CharField(max_length=100, help_text="What it is for.")
    user = serializers.CharField(
        required=False, max_length=150, help_text="User name or id of another person or of a service account."
    )
    scope = serializers.ChoiceField(
        choices=Scope.choices,
        required=False,
        allow_null=True,
        help_text="What it may do at most, each including those before it; left out: as much as you may pass on.",
    )
    deployment = serializers.CharField(
        required=False, allow_null=True, max_length=400, help_text="The one that it reaches: flow/deployment, or an id."
    )
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


class ApiTokenFilter(filters.FilterSet):
    """Narrows the list of tokens."""

    user = filters.CharFilter(field_name="user__username", help_text="Whose: a user name. Without it, your own.")
    all = filters.BooleanFilter(method="by_all", help_text="All that you may see, not only your own.")

    class Meta:
        model = ApiToken
        fields = ("user", "all")

    def by_all(self, tokens: QuerySet[ApiToken], _field: str, value: bool) -> QuerySet[ApiToken]:
        """Taken note of by the view."""
        return tokens


@extend_schema_view(
    list=extend_schema(summary="List API tokens, newest first"),
    retrieve=extend_schema(summary="Show an API token, without its secret"),
)
class ApiTokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """The user's own tokens; for a team's administrators also those of its service accounts, for a site's all.

    Each acts as its user, and makes things for the team it was made in.
    """

    serializer_class = ApiTokenSerializer
    pagination_class = KeysetPagination
    filterset_class = ApiTokenFilter
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Tokens that the caller may see; in a list without a filter, the caller's own."""
        if getattr(self, "swagger_fake_view", False):
            return ApiToken.objects.none()
        tokens = reads.tokens_for(self.request.user).select_related("user__service_of", "team", "created_by")
        if self.action == "list" and not (self.request.query_params.get("user") or self._wants_all()):
            tokens = tokens.filter(user=self.request.user)
        return tokens

    def filter_queryset(self, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_serializer(self, *args: Any, **options: Any) -> Any:
        """Know the names of the deployments of what is answered (one query, if there are any)."""
        rows = args[0] if options.get("many") else args[:1]
        ids = {token.deployment for token in rows if isinstance(token, ApiToken) and token.deployment}
        options["context"] = {**self.get_serializer_context(), "deployments": deployment_names(ids)}
        return super().get_serializer(*args, **options)

    @extend_schema(
        summary="Make an API token", request=NewApiTokenSerializer, responses={201: IssuedApiTokenSerializer}
    )
    def create(self, request: Request) -> Response:
        """Make a token and answer its secret, this once.

        For oneself; for a service account, as an administrator of its team; for anybody, as one of the site. Made with
        a token, it may not do more, reach further or live longer than that one.
        """
        asked = valid(NewApiTokenSerializer, request.data)
        seconds = asked.get("expires_in")
        owner = person_named(request, asked["user"]) if "user" in asked else request.user
        deployment = shared_row(request, "deployment", asked["deployment"]) if asked.get("deployment") else None
        is_own = owner == request.user and deployment is None and request.user.confinement.deployment is None
        token, secret = actions.create_token(
            asked["name"],
            owner,
            user=request.user,
            team=acting_team(request) if is_own else None,
            scope=asked.get("scope"),
            deployment=deployment,
            expires_at=timezone.now() + timedelta(seconds=seconds) if seconds else None,
        )
        answer = {**self.get_serializer(token).data, "token": secret}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    @extend_schema(summary="Revoke an API token", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """It stops working at once."""
        actions.revoke_token(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _wants_all(self) -> bool:
        return self.request.query_params.get("all", "").lower() in {"true", "1"}
