"""REST: people and service accounts."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from orchestrator.links import absolute_page
from orchestrator.paging import KeysetPagination
from teams import actions, reads
from teams.api_access import role_field, team_named, valid
from teams.models import Membership, Role, SignInLink, Team, User


class MembershipSerializer(ReadSerializer):
    """A role in a team."""

    id = serializers.UUIDField(source="team_id", read_only=True, help_text="The team's.")
    name = serializers.CharField(source="team.name", read_only=True, help_text="The team's.")

    class Meta:
        model = Membership
        fields = ("id", "name", "role")
        read_only_fields = fields


class UserSerializer(ReadSerializer):
    """A person, with their roles in those teams that the caller may see."""

    is_admin = serializers.BooleanField(
        source="is_superuser", read_only=True, help_text="Whether they administer the whole site."
    )
    teams = MembershipSerializer(source="memberships", many=True, read_only=True)

    class Meta:
        model = User
        fields = ("id", "username", "email", "is_active", "is_admin", "teams", "date_joined", "last_login")
        read_only_fields = fields


class CreatedUserSerializer(UserSerializer):
    """A person as they are answered once, when they are made."""

    sign_in_link = serializers.CharField(
        read_only=True, allow_null=True, help_text="Signs them in once, for a day; null where a password was given."
    )

    class Meta(UserSerializer.Meta):
        fields = (*UserSerializer.Meta.fields, "sign_in_link")
        read_only_fields = fields


class NewUserSerializer(StrictSerializer):
    """What a person is made from."""

    username = serializers.CharField(max_length=150, help_text="Letters, digits and @ . + - _")
    email = serializers.EmailField(required=False, allow_blank=True, max_length=254)
    password = serializers.CharField(
        required=False, max_length=200, write_only=True, trim_whitespace=False, help_text="Without it: a sign-in link."
    )
    team = serializers.CharField(
        required=False,
        max_length=100,
        help_text="Name or id; left out, the default one, which takes a site administrator.",
    )
    role = role_field(required=False, default=Role.VIEWER)
    is_admin = serializers.BooleanField(
        required=False, help_text="Administers the whole site; only such may ask for it."
    )


class ServiceAccountSerializer(ReadSerializer):
    """An account of a team that has tokens and cannot sign in."""

    team = serializers.CharField(source="service_of.name", read_only=True)
    role = serializers.SerializerMethodField(help_text="In its team.")

    class Meta:
        model = User
        fields = ("id", "username", "team", "role", "is_active", "date_joined")
        read_only_fields = fields

    def get_role(self, account: User) -> str | None:
        """Null once it was taken out of its team."""
        return next((one.role for one in account.memberships.all() if one.team_id == account.service_of_id), None)


class NewServiceAccountSerializer(StrictSerializer):
    """What a service account is made from."""

    team = serializers.CharField(max_length=100, help_text="Name or id of its team.")
    name = serializers.CharField(max_length=50, help_text="Its user name is name@team.")
    role = role_field(required=False, default=Role.OPERATOR)


class ByUsername(KeysetPagination):
    """Alphabetical."""

    ordering = ("username",)


class UserFilter(filters.FilterSet):
    """Narrows the list of people."""

    username = filters.CharFilter(help_text="The whole user name.")
    team = filters.CharFilter(method="by_team", help_text="The name of a team they are in, which the caller may see.")
    is_active = filters.BooleanFilter(help_text="Whether they may sign in.")

    class Meta:
        model = User
        fields = ("username", "team", "is_active")

    def by_team(self, people: QuerySet[User], _field: str, name: str) -> QuerySet[User]:
        """Keep the members of a team that the caller may see."""
        return people.filter(memberships__team__in=Team.objects.visible_to(self.request.user).filter(name=name))


class Accounts(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """What people and service accounts have in common."""

    pagination_class = ByUsername
    filterset_class = UserFilter
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[User]:
        """Those whom the caller may see, with their roles in teams that the caller may see (three queries)."""
        if getattr(self, "swagger_fake_view", False):
            return User.objects.none()
        roles = Membership.objects.filter(team__in=Team.objects.visible_to(self.request.user)).select_related("team")
        people = reads.people_for(self.request.user).select_related("service_of")
        return people.prefetch_related(Prefetch("memberships", roles.order_by("team__name")))

    def filter_queryset(self, queryset: QuerySet[User]) -> QuerySet[User]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def _again(self, person: User) -> dict[str, Any]:
        return dict(self.get_serializer(self.get_queryset().get(pk=person.pk)).data)


@extend_schema_view(
    list=extend_schema(summary="List people, by user name"), retrieve=extend_schema(summary="Show a person")
)
class UserViewSet(Accounts):
    """People of one's teams; for a site administrator, all."""

    serializer_class = UserSerializer

    def get_queryset(self) -> QuerySet[User]:
        """Service accounts have a list of their own."""
        return super().get_queryset().filter(service_of=None)

    @extend_schema(summary="Make a user", request=NewUserSerializer, responses={201: CreatedUserSerializer})
    def create(self, request: Request) -> Response:
        """Make somebody a user and a member of a team. Takes an administrator of that team."""
        asked = valid(NewUserSerializer, request.data)
        if team := asked.pop("team", None):
            asked["team"] = team_named(request, team)
        person = actions.create_user(**asked, user=request.user)
        link = None
        if not asked.get("password"):
            link = absolute_page(request, "sign-in-link", SignInLink.issue(person))
        answer = {**self._again(person), "sign_in_link": link}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    @extend_schema(summary="Deactivate a user", request=None, responses=UserSerializer)
    @action(detail=True, methods=["post"])
    def deactivate(self, request: Request, pk: int) -> Response:
        """Sessions and tokens stop at once; what they made stays. Takes a site administrator."""
        return Response(self._again(actions.deactivate_user(self.get_object(), user=request.user)))

    @extend_schema(summary="Reactivate a user", request=None, responses=UserSerializer)
    @action(detail=True, methods=["post"])
    def reactivate(self, request: Request, pk: int) -> Response:
        """Let them in again, with their roles and tokens. Takes a site administrator."""
        return Response(self._again(actions.reactivate_user(self.get_object(), user=request.user)))


@extend_schema_view(
    list=extend_schema(summary="List service accounts, by name"),
    retrieve=extend_schema(summary="Show a service account"),
)
class ServiceAccountViewSet(Accounts):
    """Accounts that no person signs in to, of one's teams; for a site administrator, all."""

    serializer_class = ServiceAccountSerializer

    def get_queryset(self) -> QuerySet[User]:
        """People have a list of their own."""
        return super().get_queryset().exclude(service_of=None)

    @extend_schema(
        summary="Make a service account",
        request=NewServiceAccountSerializer,
        responses={201: ServiceAccountSerializer},
    )
    def create(self, request: Request) -> Response:
        """Takes an administrator of the team. `POST /api/tokens/` with its `user` makes it a token."""
        asked = valid(NewServiceAccountSerializer, request.data)
        team = team_named(request, asked["team"])
        account = actions.create_service_account(team, asked["name"], role=asked["role"], user=request.user)
        return Response(self._again(account), status=status.HTTP_201_CREATED)

    @extend_schema(summary="Deactivate a service account", request=None, responses=ServiceAccountSerializer)
    @action(detail=True, methods=["post"])
    def deactivate(self, request: Request, pk: int) -> Response:
        """Its tokens stop at once. Takes an administrator of its team."""
        return Response(self._again(actions.deactivate_user(self.get_object(), user=request.user)))

    @extend_schema(summary="Reactivate a service account", request=None, responses=ServiceAccountSerializer)
    @action(detail=True, methods=["post"])
    def reactivate(self, request: Request, pk: int) -> Response:
        """Its tokens work again. Takes an administrator of its team."""
        return Response(self._again(actions.reactivate_user(self.get_object(), user=request.user)))
