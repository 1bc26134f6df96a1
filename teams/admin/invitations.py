"""Administration of invitations, and of groups of the single sign-on, by administrators of teams."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orchestrator.links import absolute
from teams import mail, members, reads
from teams.admin.deeds import Deed
from teams.admin.links import to_page
from teams.admin.verbs import VerbAdmin
from teams.models import GroupMapping, Invitation, User
from teams.rights import Level


class _OfTeams(VerbAdmin):
    """What only administrators of a team see of it."""

    to_see = to_add = to_change = to_delete = Level.ADMIN
    list_select_related = ("team",)

    def rows_for(self, user: User) -> QuerySet[Any]:
        """Those of the teams that the reader administers."""
        return self.model._default_manager.filter(team__in=reads.administered_by(user))

    @admin.display(description="page")
    def page(self, row: Any) -> SafeString:
        """A link to its team's page."""
        return to_page("team", row.team_id, "Team")


@admin.register(Invitation)
class InvitationAdmin(_OfTeams):
    """Invitations into teams."""

    to_change = None
    list_display = ("__str__", "team", "role", "created_by", "created_at", "expires_at", "accepted_by", "page")
    list_select_related = ("team", "created_by", "accepted_by")
    list_filter = ("role", ("accepted_at", admin.EmptyFieldListFilter), "team")
    search_fields = ("email", "accepted_by__username")
    ordering = ("-id",)
    made = ("created_by", "created_at", "expires_at", "accepted_at", "accepted_by")
    actions = ("delete",)
    delete = Deed(
        "Withdraw", members.revoke_invitation, "withdrawn", needs="delete", is_dangerous=True,
        follows="The link is of no use from now on. Whoever has joined by it stays.",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: Invitation | None = None) -> tuple[str, ...]:
        """Whom, where and as what; then also what became of it."""
        return ("team", "role", "email", *(self.made if obj else ()))

    def save_model(self, request: HttpRequest, obj: Invitation, form: ModelForm, change: bool) -> None:
        """Make one; its link is sent where the site sends mail, and shown once."""
        made, code = members.invite(obj.team, obj.role, email=obj.email, user=request.user)  # type: ignore[arg-type]
        obj.__dict__.update(made.__dict__)
        link = absolute(request, f"/invitations/{code}/")
        if mail.send_invitation(made, link):
            self.message_user(request, f"The invitation was sent to {made.email}.")
        self.message_user(request, f"Its link works once, and is shown only now: {link}", messages.WARNING)


@admin.register(GroupMapping)
class GroupMappingAdmin(_OfTeams):
    """Groups of the single sign-on whose members have a role in a team."""

    list_display = ("group", "role", "team", "page")
    list_filter = ("role", "team")
    search_fields = ("group",)
    ordering = ("group", "id")
    fields = ("team", "group", "role")
    actions = ("delete",)
    delete = Deed(
        "Delete", members.unmap_group, "deleted", needs="delete", is_dangerous=True,
        follows="From their next sign-in on, the group gives its members no role there.",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: GroupMapping | None = None) -> tuple[str, ...]:
        """Another group or team is another mapping."""
        return ("team", "group") if obj else ()

    def make(self, row: GroupMapping, typed: dict[str, Any], user: Any) -> GroupMapping:
        """Give a group a role."""
        return members.map_group(row.team, row.group, row.role, user=user)

    def change(self, row: GroupMapping, typed: dict[str, Any], user: Any) -> GroupMapping:
        """Give it another role."""
        return members.map_group(row.team, row.group, typed.get("role", row.role), user=user)
