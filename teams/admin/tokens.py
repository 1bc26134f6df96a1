"""Administration of API tokens: one's own, those of service accounts that one administers, all for the site's."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.safestring import SafeString

from teams import actions, reads
from teams.admin.deeds import Deed
from teams.admin.links import to_row
from teams.admin.verbs import VerbAdmin
from teams.models import ApiToken, User
from teams.rights import Level


@admin.register(ApiToken)
class ApiTokenAdmin(VerbAdmin):
    """Tokens; they are made on the page of tokens or by `orchestrator token create`, which show the secret once."""

    to_add = to_change = None
    to_delete = Level.READ  # whose token one may see, one may revoke
    list_display = ("name", "prefix", "user", "team", "scope", "reaches", "created_at", "expires_at", "last_used_at")
    list_select_related = ("user", "team")
    list_filter = ("scope", "team", ("expires_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("name", "prefix", "user__username")
    ordering = ("-created_at",)
    fields = (
        "name", "prefix", "user", "team", "scope", "reaches", "created_by", "created_at", "expires_at", "last_used_at",
    )  # fmt: skip
    readonly_fields = fields
    delete = Deed(
        "Revoke", actions.revoke_token, "revoked", needs="delete", is_dangerous=True,
        follows="Whatever is called with it is refused from now on. It cannot be brought back.",
    )  # fmt: skip
    actions = ("delete",)

    @admin.display(description="reaches")
    def reaches(self, token: ApiToken) -> SafeString | str:
        """The one deployment that it reaches, if it is confined to one."""
        return to_row("flows_deployment", token.deployment, "one deployment") or "all that its user reaches"

    def rows_for(self, user: User) -> QuerySet[ApiToken]:
        """Those that the reader may revoke."""
        return reads.tokens_for(user)

    def level_of(self, user: User, row: Any) -> Level:
        """Whoever sees a token has it, or administers whoever has it."""
        return Level.ADMIN
