"""REST: blocks, and the types of them."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view, inline_serializer
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from flows import block_actions
from flows.block_types import block_types
from flows.models import Block, Deployment, slug_of
from orchestrator.api_views import ApiView, ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from orchestrator.paging import KeysetPagination
from runs import actions, bounds
from runs.block_preview import block_preview
from teams.acting import acting_team

MAX_DEPLOYMENTS = 1_000


class BlockFieldSerializer(serializers.Serializer[Any]):
    """A field of a block type."""

    name = serializers.CharField()
    title = serializers.CharField()
    help = serializers.CharField()
    shape = serializers.CharField(help_text="How its value is written: text, integer, list, mapping …")
    required = serializers.BooleanField()
    choices = serializers.ListField(child=serializers.CharField())
    unit = serializers.CharField()
    secret = serializers.BooleanField(help_text="Stored encrypted and shown to nobody.")
    opened = serializers.BooleanField(help_text="Whether a new block lets deployments and runs override it.")
    block = serializers.CharField(help_text="The type of the block that its value names; empty: it names none.")


class BlockTypeSerializer(serializers.Serializer[Any]):
    """What a block can be."""

    name = serializers.CharField()
    label = serializers.CharField()
    summary = serializers.CharField()
    risk = serializers.CharField(help_text="What whoever chooses it has to know.")
    is_infrastructure = serializers.BooleanField(help_text="Whether deployments execute there.")
    schema = serializers.DictField(help_text="JSON schema of its values.")

    def get_fields(self) -> dict[str, Any]:
        """With the fields of the type, of which DRF has a name of its own."""
        return {**super().get_fields(), "fields": BlockFieldSerializer(many=True)}


class BlockSerializer(ReadSerializer):
    """A block, without its secrets."""

    values = serializers.DictField(read_only=True, help_text="Those that are set, without secrets.")
    secrets_set = serializers.SerializerMethodField(help_text="Names of the secret fields that have a value.")
    opened = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Fields that deployments and runs may override."
    )
    deployments = serializers.IntegerField(
        source="used_by", read_only=True, help_text="How many deployments execute there."
    )

    class Meta:
        model = Block
        fields = (
            "id", "type", "name", "description", "values", "secrets_set", "opened", "version", "deployments",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_secrets_set(self, block: Block) -> list[str]:
        """Those that the type has are needed, so where any is stored all are."""
        kind = block_types().get(block.type)
        return sorted(kind.secrets) if kind and block.secrets else []


class BlockChangesSerializer(StrictSerializer):
    """What can be changed of a block."""

    name = serializers.CharField(max_length=block_actions.MAX_NAME, required=False)
    description = serializers.CharField(required=False, allow_blank=True)
    values = serializers.DictField(required=False, help_text="By field; null takes one back to its default.")
    opened = serializers.ListField(child=serializers.CharField(max_length=100), required=False, max_length=100)


class NewBlockSerializer(BlockChangesSerializer):
    """A block, as it is made."""

    type = serializers.CharField(max_length=50, help_text="One of /api/block-types/.")
    name = serializers.CharField(max_length=block_actions.MAX_NAME)


class ChosenDeploymentsSerializer(StrictSerializer):
    """Which deployments are to execute there."""

    deployments = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=MAX_DEPLOYMENTS)


class ByName(KeysetPagination):
    """Alphabetical."""

    ordering = ("name", "id")


class BlockFilter(filters.FilterSet):
    """Narrows the list of blocks."""

    type = filters.CharFilter(help_text="Of this type.")
    name = filters.CharFilter(method="by_name", help_text="The block's name; `_` and `-` are alike.")

    class Meta:
        model = Block
        fields = ("type", "name")

    def by_name(self, blocks: QuerySet[Block], _field: str, value: str) -> QuerySet[Block]:
        """Keep the block of this name."""
        return blocks.filter(slug=slug_of(value))


class BlockTypesView(ApiView):
    """The types of blocks."""

    @extend_schema(summary="List the types of blocks", responses=BlockTypeSerializer(many=True), filters=False)
    def get(self, request: Request) -> Response:
        """All of them, infrastructure first."""
        return Response(BlockTypeSerializer(list(block_types().values()), many=True).data)


@extend_schema_view(list=extend_schema(summary="List blocks"), retrieve=extend_schema(summary="Inspect a block"))
class BlockViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """Blocks of the teams that the user is a member of."""

    serializer_class = BlockSerializer
    pagination_class = ByName
    filterset_class = BlockFilter
    lookup_value_converter = "uuid"

    def filter_queryset(self, queryset: QuerySet[Block]) -> QuerySet[Block]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def get_queryset(self) -> QuerySet[Block]:
        """Blocks that the request may see, with how many deployments execute there."""
        if getattr(self, "swagger_fake_view", False):
            return Block.objects.none()
        return counted(Block.objects.visible_to(self.request.user))

    @extend_schema(summary="Make a block", request=NewBlockSerializer, responses={201: BlockSerializer})
    def create(self, request: Request) -> Response:
        """Secrets are stored encrypted, and never shown again. 409 when the name is taken."""
        block = block_actions.create_block(
            acting_team(request), user=request.user, **_valid(NewBlockSerializer, request.data)
        )
        return self._shown(block.pk, status.HTTP_201_CREATED)

    @extend_schema(summary="Change a block", request=BlockChangesSerializer, responses=BlockSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Only what is given. What runs goes on; runs that are claimed from now on find it changed."""
        changes = _valid(BlockChangesSerializer, request.data)
        block_actions.update_block(self.get_object(), user=request.user, **changes)
        return self._shown(pk)

    @extend_schema(summary="Delete a block", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """409 while deployments, or other blocks, use it."""
        block_actions.delete_block(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Have deployments execute there", request=ChosenDeploymentsSerializer, responses=BlockSerializer
    )
    @action(detail=True, methods=["post"])
    def deployments(self, request: Request, pk: UUID) -> Response:
        """Their next runs do; all of them, or none where one may not be changed."""
        block = self.get_object()
        ids = _valid(ChosenDeploymentsSerializer, request.data)["deployments"]
        found = list(Deployment.objects.visible_to(request.user).filter(pk__in=ids))
        if missing := set(ids) - {one.pk for one in found}:
            raise ValidationError({"deployments": [f"There is no deployment {min(map(str, missing))}."]})
        with transaction.atomic():
            for one in sorted(found, key=lambda one: one.pk):
                actions.update_deployment(one, infrastructure=block, user=request.user)
        return self._shown(pk)

    @extend_schema(
        summary="What a worker asks of an engine",
        description="The Job's manifest of a Kubernetes block, what a container is made of for a Docker block; null for"
        " kinds that ask no engine. As JSON and, to read, as YAML. It holds no secret.",
        parameters=[OpenApiParameter("deployment", UUID, description="One that executes there: with its overrides.")],
        responses=inline_serializer(
            "BlockPreview",
            {"preview": serializers.DictField(allow_null=True), "yaml": serializers.CharField(allow_blank=True)},
        ),
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def preview(self, request: Request, pk: UUID) -> Response:
        """Of a run that is not there."""
        deployment = None
        if asked := request.query_params.get("deployment"):
            visible = Deployment.objects.visible_to(request.user).select_related("infrastructure", "flow")
            deployment = visible.filter(pk=bounds.uuid_hex(asked) or None).first()
            if deployment is None:
                raise ValidationError({"deployment": [f"There is no deployment {asked[:100]}."]})
        preview = block_preview(self.get_object(), deployment)
        return Response({"preview": preview.value, "yaml": preview.yaml})

    def _shown(self, pk: UUID, code: int = status.HTTP_200_OK) -> Response:
        self.kwargs["pk"] = pk
        return Response(BlockSerializer(self.get_object()).data, status=code)


def counted(blocks: QuerySet[Block]) -> QuerySet[Block]:
    """Return blocks with `used_by`, how many execute there."""
    return blocks.annotate(used_by=Count("deployments"))


def _valid(kind: type[StrictSerializer], data: Any) -> dict[str, Any]:
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
