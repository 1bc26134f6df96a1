"""Administration of the limits of tags, and of the slots that are held and waited for."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from runs import tag_limits
from runs.models import ConcurrencyLimit, Slot
from runs.slots import counted
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page, to_row
from teams.admin.rights import ReadOnlyAdmin
from teams.admin.verbs import VerbAdmin
from teams.models import User
from teams.rights import Level


@admin.register(ConcurrencyLimit)
class ConcurrencyLimitAdmin(VerbAdmin):
    """Limits of tags, which administrators of the team change."""

    to_add = to_change = to_delete = Level.ADMIN
    list_display = ("tag", "team", "limit", "held", "waiting", "slots", "created_at", "page")
    list_select_related = ("team",)
    list_filter = ("team",)
    search_fields = ("tag",)
    ordering = ("tag", "id")
    fields = ("team", "tag", "limit")
    reset = Deed(
        "Free its slots", tag_limits.reset_limit, "reset", needs="admin", is_dangerous=True,
        follows="Every slot that is held is freed, and whoever waits begins. Task runs that held one go on, uncounted.",
    )  # fmt: skip
    delete = Deed(
        "Delete", tag_limits.delete_limit, "deleted", needs="delete", is_dangerous=True,
        follows="Task runs with the tag are limited no longer: those that wait for nothing else begin at once.",
    )  # fmt: skip
    actions = ("reset", "delete")
    actions_detail = ("reset",)

    def rows_for(self, user: User) -> QuerySet[Any]:
        """With how many slots are held and waited for."""
        return counted(super().rows_for(user))

    @admin.display(description="held")
    def held(self, limit: ConcurrencyLimit) -> int:
        """Slots that are held."""
        return int(limit.used)  # type: ignore[attr-defined]

    @admin.display(description="waiting")
    def waiting(self, limit: ConcurrencyLimit) -> int:
        """Task runs that wait."""
        return int(limit.waiting)  # type: ignore[attr-defined]

    @admin.display(description="slots")
    def slots(self, limit: ConcurrencyLimit) -> SafeString:
        """A link to its slots."""
        return to_list("runs_slot", "Slots", limit__id__exact=limit.pk)

    @admin.display(description="page")
    def page(self, limit: ConcurrencyLimit) -> SafeString:
        """A link to its page."""
        return to_page("concurrency-limit", limit.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: ConcurrencyLimit | None = None) -> tuple[str, ...]:
        """Another tag is another limit."""
        return ("team", "tag") if obj else ()

    def make(self, row: ConcurrencyLimit, typed: dict[str, Any], user: Any) -> ConcurrencyLimit:
        """Limit a tag."""
        return tag_limits.create_limit(row.team, tag=row.tag, limit=row.limit, user=user)

    def change(self, row: ConcurrencyLimit, typed: dict[str, Any], user: Any) -> ConcurrencyLimit:
        """Allow another number at once."""
        return tag_limits.change_limit(row, value=typed["limit"], user=user) if "limit" in typed else row


@admin.register(Slot)
class SlotAdmin(ReadOnlyAdmin):
    """Slots of limited tags, held and waited for."""

    owner = "limit"
    list_display = ("limit", "task_name", "run", "asked_at", "granted_at")
    list_select_related = ("limit", "flow_run")
    list_filter = (("granted_at", admin.EmptyFieldListFilter), "limit__team", "limit")
    search_fields = ("limit__tag", "task_name")
    ordering = ("id",)

    @admin.display(description="flow run")
    def run(self, slot: Slot) -> SafeString:
        """A link to the run that has it."""
        return to_row("runs_flowrun", slot.flow_run_id, slot.flow_run)
