"""REST: teams, their members, invitations and mappings of single sign-on groups."""

from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiViewSet
from orchestrator.bodies import ReadSerializer, StrictSerializer
from orchestrator.links import absolute
from orchestrator.paging import KeysetPagination
from teams import mail, members
from teams.api_access import person_named, role_field, team_of, valid
from teams.models import GroupMapping, Invitation, Membership, Role, Team
from teams.rights import Level


class TeamSerializer(ReadSerializer):
    """A team, and what the caller is in it."""

    role = serializers.SerializerMethodField(help_text="Yours in it; null for a site administrator who is no member.")

    class Meta:
        model = Team
        fields = ("id", "name", "role", "created_at")
        read_only_fields = fields

    def get_role(self, team: Team) -> str | None:
        """The caller's."""
        role: str | None = self.context["request"].user.roles.get(team.pk)
        return role


class TeamValuesSerializer(StrictSerializer):
    """A team, as it is written."""

    name = serializers.CharField(max_length=100)


class MemberSerializer(ReadSerializer):
    """Somebody in a team."""

    id = serializers.IntegerField(source="user_id", read_only=True, help_text="The user's.")
    username = serializers.CharField(source="user.username", read_only=True)
    email = serializers.CharField(source="user.email", read_only=True)
    is_active = serializers.BooleanField(source="user.is_active", read_only=True)
    is_service_account = serializers.SerializerMethodField(help_text="Whether it is one of this team's accounts.")

    class Meta:
        model = Membership
        fields = ("id", "username", "email", "role", "is_active", "is_service_account")
        read_only_fields = fields

    def get_is_service_account(self, membership: Membership) -> bool:
        """Such accounts cannot sign in."""
        return membership.user.service_of_id is not None


class NewMemberSerializer(StrictSerializer):
    """Who becomes a member, or gets another role."""

    user = serializers.CharField(max_length=150, help_text="User name or id.")
    role = role_field()


class RoleSerializer(StrictSerializer):
    """Another role."""

    role = role_field()


class InvitationSerializer(ReadSerializer):
    """An invitation that nobody has redeemed yet."""

    created_by = serializers.CharField(source="created_by.username", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Invitation
        fields = ("id", "role", "email", "created_by", "created_at", "expires_at")
        read_only_fields = fields


class NewInvitationSerializer(StrictSerializer):
    """What an invitation is made from."""

    role = role_field(required=False, default=Role.VIEWER)
    email = serializers.EmailField(
        required=False, allow_blank=True, default="", help_text="The link is sent there, where the site sends mail."
    )


class MadeInvitationSerializer(InvitationSerializer):
    """An invitation as it is answered once, when it is made."""

    link = serializers.CharField(read_only=True, help_text="Whoever opens it first joins. It is not shown again.")
    sent = serializers.BooleanField(read_only=True, help_text="Whether a mail server took it.")

    class Meta(InvitationSerializer.Meta):
        fields = (*InvitationSerializer.Meta.fields, "link", "sent")
        read_only_fields = fields


class GroupMappingSerializer(ReadSerializer):
    """A group of the single sign-on whose members have a role in the team."""

    class Meta:
        model = GroupMapping
        fields = ("id", "group", "role")
        read_only_fields = fields


class GroupMappingValuesSerializer(StrictSerializer):
    """A mapping, as it is written."""

    group = serializers.CharField(max_length=200, help_text="As the sign-on's claim says it.")
    role = role_field()


class ByName(KeysetPagination):
    """Alphabetical."""

    ordering = ("name", "id")


class ByMember(KeysetPagination):
    """By user name."""

    ordering = ("user__username",)


class ByGroup(KeysetPagination):
    """By group."""

    ordering = ("group",)


class TeamFilter(filters.FilterSet):
    """Narrows the list of teams."""

    name = filters.CharFilter(help_text="The whole name.")

    class Meta:
        model = Team
        fields = ("name",)


@extend_schema_view(
    list=extend_schema(summary="List your teams, by name"), retrieve=extend_schema(summary="Show a team")
)
class TeamViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """Teams that the user is in; for a site administrator, all."""

    serializer_class = TeamSerializer
    pagination_class = ByName
    filterset_class = TeamFilter
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Team]:
        """Teams that the caller may see."""
        return (
            Team.objects.none()
            if getattr(self, "swagger_fake_view", False)
            else Team.objects.visible_to(self.request.user)
        )

    def filter_queryset(self, queryset: QuerySet[Team]) -> QuerySet[Team]:
        """The list alone is narrowed by the query."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    @extend_schema(summary="Make a team", request=TeamValuesSerializer, responses={201: TeamSerializer})
    def create(self, request: Request) -> Response:
        """You administer it. Takes a site administrator."""
        team = members.create_team(valid(TeamValuesSerializer, request.data)["name"], user=request.user)
        return Response(self.get_serializer(team).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Rename a team", request=TeamValuesSerializer(partial=True), responses=TeamSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Takes an administrator of the team."""
        team = team_of(request, pk, Level.ADMIN)
        name = valid(TeamValuesSerializer, request.data, partial=True).get("name", team.name)
        return Response(self.get_serializer(members.rename_team(team, name, user=request.user)).data)


class OfTeam(mixins.ListModelMixin, ApiViewSet):
    """A list below a team."""

    level = Level.ADMIN

    @property
    def team(self) -> Team:
        """The team of the address. Raises Http404, Refused."""
        return team_of(self.request, self.kwargs["team_id"], self.level)


@extend_schema_view(list=extend_schema(summary="List a team's members, by user name"))
class MemberViewSet(OfTeam):
    """Who is in a team, in which role. Members see it; changing it takes an administrator of the team."""

    serializer_class = MemberSerializer
    pagination_class = ByMember
    queryset = Membership.objects.none()
    lookup_value_converter = "int"
    level = Level.READ

    def get_queryset(self) -> QuerySet[Membership]:
        """The team's."""
        if getattr(self, "swagger_fake_view", False):
            return Membership.objects.none()
        return Membership.objects.filter(team=self.team).select_related("user")

    @extend_schema(summary="Add a member", request=NewMemberSerializer, responses={201: MemberSerializer})
    def create(self, request: Request, team_id: UUID) -> Response:
        """Make somebody who has an account a member, or give a member another role."""
        team = team_of(request, team_id, Level.ADMIN)
        asked = valid(NewMemberSerializer, request.data)
        membership = members.set_role(team, person_named(request, asked["user"]), asked["role"], user=request.user)
        return Response(self.get_serializer(membership).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Give a member another role", request=RoleSerializer, responses=MemberSerializer)
    def partial_update(self, request: Request, team_id: UUID, pk: int) -> Response:
        """In force at once. A team keeps an administrator."""
        membership = get_object_or_404(self.get_queryset(), user=pk)
        team = team_of(request, team_id, Level.ADMIN)
        role = valid(RoleSerializer, request.data)["role"]
        return Response(self.get_serializer(members.set_role(team, membership.user, role, user=request.user)).data)

    @extend_schema(summary="Remove a member", responses={204: None})
    def destroy(self, request: Request, team_id: UUID, pk: int) -> Response:
        """They lose access at once. Who leaves by themselves needs no role."""
        membership = get_object_or_404(self.get_queryset(), user=pk)
        members.remove_member(self.team, membership.user, user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema_view(list=extend_schema(summary="List a team's open invitations, newest first"))
class InvitationViewSet(OfTeam):
    """Invitations that can still be redeemed. They take an administrator of the team."""

    serializer_class = InvitationSerializer
    pagination_class = KeysetPagination
    queryset = Invitation.objects.none()
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Invitation]:
        """The team's."""
        if getattr(self, "swagger_fake_view", False):
            return Invitation.objects.none()
        still_open = Invitation.objects.filter(accepted_at=None, expires_at__gt=timezone.now())
        return still_open.filter(team=self.team).select_related("created_by", "team")

    @extend_schema(
        summary="Invite somebody", request=NewInvitationSerializer, responses={201: MadeInvitationSerializer}
    )
    def create(self, request: Request, team_id: UUID) -> Response:
        """Make a link that lets one person join; sent by mail where an address is given and the site sends mail."""
        team = self.team
        asked = valid(NewInvitationSerializer, request.data)
        invitation, code = members.invite(team, **asked, user=request.user)
        link = absolute(request, f"/invitations/{code}/")
        made = {"link": link, "sent": mail.send_invitation(invitation, link)}
        answer = {**self.get_serializer(invitation).data, **made}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    @extend_schema(summary="Withdraw an invitation", responses={204: None})
    def destroy(self, request: Request, team_id: UUID, pk: UUID) -> Response:
        """Its link works no longer."""
        members.revoke_invitation(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema_view(list=extend_schema(summary="List a team's groups of the single sign-on"))
class GroupMappingViewSet(OfTeam):
    """Groups of the single sign-on whose members have a role in the team. They take an administrator of the team."""

    serializer_class = GroupMappingSerializer
    pagination_class = ByGroup
    queryset = GroupMapping.objects.none()
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[GroupMapping]:
        """The team's."""
        if getattr(self, "swagger_fake_view", False):
            return GroupMapping.objects.none()
        return GroupMapping.objects.filter(team=self.team).select_related("team")

    @extend_schema(summary="Map a group", request=GroupMappingValuesSerializer, responses={201: GroupMappingSerializer})
    def create(self, request: Request, team_id: UUID) -> Response:
        """Give a group's members a role, from their next sign-in on; for a group that has one, another."""
        team = self.team
        asked = valid(GroupMappingValuesSerializer, request.data)
        mapping = members.map_group(team, **asked, user=request.user)
        return Response(self.get_serializer(mapping).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Unmap a group", responses={204: None})
    def destroy(self, request: Request, team_id: UUID, pk: UUID) -> Response:
        """The group means nothing in this team."""
        members.unmap_group(self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)
