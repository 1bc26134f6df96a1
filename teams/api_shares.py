"""REST: single flows and deployments shared with people and with other teams."""

from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status, viewsets
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiView
from orchestrator.bodies import StrictSerializer
from teams import shares, sharing
from teams.api_access import shared_row, valid
from teams.models import Team, User
from teams.rights import Level, require

_ID = "kind.id.user-or-team.id, as a share's `id` says it"


class ShareSerializer(serializers.Serializer[Any]):
    """One object shared with one person or team."""

    id = serializers.CharField(read_only=True, allow_null=True, help_text="Null where it is not yours to take back.")
    object_type = serializers.ChoiceField(choices=["flow", "deployment"], read_only=True)
    object_id = serializers.UUIDField(read_only=True)
    object_name = serializers.CharField(read_only=True, help_text="A flow's name, or flow/deployment.")
    team = serializers.CharField(read_only=True, help_text="The team that owns the object.")
    with_user = serializers.CharField(read_only=True, allow_null=True)
    with_team = serializers.CharField(read_only=True, allow_null=True)
    level = serializers.ChoiceField(choices=list(shares.LEVELS), read_only=True)


class SharesSerializer(serializers.Serializer[Any]):
    """The shares that were asked for: all of them."""

    results = ShareSerializer(many=True, read_only=True)
    next = serializers.CharField(read_only=True, allow_null=True, help_text="Always null.")


class NewShareSerializer(StrictSerializer):
    """What is shared with whom: a flow or a deployment, with a user or a team."""

    flow = serializers.CharField(required=False, max_length=200, help_text="A flow's name or id.")
    deployment = serializers.CharField(required=False, max_length=400, help_text="flow/deployment, or an id.")
    user = serializers.CharField(required=False, max_length=254, help_text="A user name or e-mail address.")
    team = serializers.CharField(required=False, max_length=100, help_text="A team's name.")
    level = serializers.ChoiceField(
        choices=list(shares.LEVELS), help_text="What they may do, each including those before it."
    )


class ShareViewSet(ApiView, viewsets.ViewSet):
    """Objects shared beyond their team. Sharing takes an administrator of the owning team."""

    lookup_value_converter = "str"

    @extend_schema(
        summary="List shares",
        parameters=[
            OpenApiParameter("flow", OpenApiTypes.STR, description="Of this flow: its name or id."),
            OpenApiParameter("deployment", OpenApiTypes.STR, description="Of this one: flow/deployment, or an id."),
        ],
        responses=forced_singular_serializer(SharesSerializer),
        operation_id="shares_list",
    )
    def list(self, request: Request) -> Response:
        """With whom one object of your teams is shared; without one, what of other teams is shared with you."""
        asked = {kind: request.query_params[kind] for kind in sharing.names() if request.query_params.get(kind)}
        if asked:
            row = _row(request, asked)
            require(request.user, Level.READ, row.team)
            found = [_shown(row, one) for one in shares.shares_on(row)]
        else:
            found = [_shown(one["row"], one | {"id": None}) for one in shares.shared_to(request.user)]
        return Response({"results": found, "next": None})

    @extend_schema(summary="Share an object", request=NewShareSerializer, responses={201: ShareSerializer})
    def create(self, request: Request) -> Response:
        """At a level, in place of the one before."""
        asked = valid(NewShareSerializer, request.data)
        row = _row(request, {kind: asked[kind] for kind in sharing.names() if kind in asked})
        require(request.user, Level.ADMIN, row.team)  # before whoever asks learns who there is
        holder = shares.holder_named(asked.get("user", ""), asked.get("team", ""))
        shares.share_with(row, holder, asked["level"], user=request.user)
        made = next(one for one in shares.shares_on(row) if one["holder"] == holder)
        return Response(_shown(row, made), status=status.HTTP_201_CREATED)

    @extend_schema(
        summary="Take a share back",
        parameters=[OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH, description=_ID)],
        responses={204: None},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        """It holds no longer, at once."""
        kind, _, rest = pk.partition(".")
        row_id, _, who = rest.partition(".")
        try:
            row = get_object_or_404(sharing.model_of(kind).objects.visible_to(request.user), pk=UUID(row_id))
        except (KeyError, ValueError):
            raise Http404 from None
        held = next((one for one in shares.shares_on(row) if one["id"] == f"{kind}.{row.pk}.{who}"), None)
        if held is None:
            raise Http404
        shares.take_back(row, held["holder"], user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _row(request: Request, asked: dict[str, str]) -> Any:
    """The one object that was asked for. Raises ValidationError."""
    if len(asked) != 1:
        raise ValidationError({"deployment": ["Name one flow or one deployment."]})
    ((kind, text),) = asked.items()
    return shared_row(request, kind, text)


def _shown(row: Any, share: dict[str, Any]) -> dict[str, Any]:
    holder = share.get("holder")
    return {
        "id": share["id"],
        "object_type": row._meta.model_name,
        "object_id": row.pk,
        "object_name": getattr(row, "full_name", str(row)),
        "team": row.team.name,
        "with_user": holder.username if isinstance(holder, User) else None,
        "with_team": holder.name if isinstance(holder, Team) else None,
        "level": share["level"],
    }
