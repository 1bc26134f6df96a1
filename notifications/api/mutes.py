"""Mutes: deployments of which nothing is told for a time."""

from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from flows.models import Deployment
from notifications import actions
from notifications.api.answers import MuteSerializer
from notifications.api.bodies import NewMuteSerializer, valid
from notifications.models import Mute
from orchestrator.api_views import ApiViewSet
from orchestrator.paging import KeysetPagination
from runs.api.filters import deployment_condition


class EndingFirst(KeysetPagination):
    """Those that end soonest first."""

    ordering = ("until", "deployment__id")


class MuteFilter(filters.FilterSet):
    """Narrows the list of mutes."""

    deployment = filters.CharFilter(method="by_deployment", help_text="flow-name/deployment-name, or an id.")

    class Meta:
        model = Mute
        fields = ("deployment",)

    def by_deployment(self, mutes: QuerySet[Mute], _field: str, value: str) -> QuerySet[Mute]:
        """Keep the mute of a deployment."""
        return mutes.filter(deployment_condition(value, "deployment__"))


@extend_schema_view(list=extend_schema(summary="List muted deployments"))
class MuteViewSet(mixins.ListModelMixin, ApiViewSet):
    """Deployments that are muted now, each known by the deployment's id."""

    serializer_class = MuteSerializer
    pagination_class = EndingFirst
    filterset_class = MuteFilter
    lookup_field = "deployment"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Mute]:
        """Mutes that last, of deployments that the request may see (one query)."""
        if getattr(self, "swagger_fake_view", False):
            return Mute.objects.none()
        here = Deployment.objects.visible_to(self.request.user)
        mutes = Mute.objects.filter(until__gt=timezone.now(), deployment__in=here)
        return mutes.select_related("deployment__flow", "created_by")

    def check_object_permissions(self, request: Request, obj: Mute) -> None:
        """Rights on a mute are those on its deployment."""
        super().check_object_permissions(request, obj.deployment)

    def filter_queryset(self, queryset: QuerySet[Mute]) -> QuerySet[Mute]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    @extend_schema(summary="Mute a deployment", request=NewMuteSerializer, responses={201: MuteSerializer})
    def create(self, request: Request) -> Response:
        """Nothing is told of its runs until then; a second time sets another end."""
        asked = valid(NewMuteSerializer, request.data)
        until = asked["until"] if "until" in asked else timezone.now() + timedelta(seconds=asked["seconds"])
        deployment = self._deployment(asked["deployment"])
        mute = actions.mute(deployment, user=request.user, until=until, reason=asked.get("reason", ""))
        return Response(MuteSerializer(mute).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Unmute a deployment", responses={204: None})
    def destroy(self, request: Request, deployment: UUID) -> Response:
        """What happens from now on is told again; what happened meanwhile is not."""
        actions.unmute(self.get_object().deployment, user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _deployment(self, text: str) -> Deployment:
        found = Deployment.objects.visible_to(self.request.user).filter(deployment_condition(text))
        matching = list(found.select_related("flow")[:2])
        if not matching:
            raise ValidationError({"deployment": [f"There is no deployment {text!r} that you may see."]})
        if len(matching) > 1:
            raise ValidationError({"deployment": [f"{text!r} may be several. Write flow-name/deployment-name."]})
        return matching[0]
