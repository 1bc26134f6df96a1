"""Administration of flows. Deployments, schedules and queues reach runs, so theirs is in `runs.admin`."""

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from flows.models import Flow


@admin.register(Flow)
class FlowAdmin(ModelAdmin):
    """Flows; a script or a deployment makes them."""

    list_display = ("name", "team", "created_at")
    list_select_related = ("team",)
    list_filter = ("team",)
    search_fields = ("name",)
    fields = ("name", "team", "description", "created_at")
    readonly_fields = ("name", "team", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A flow without code would run nothing."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Flow | None = None) -> bool:
        """All its runs would go with it."""
        return False
