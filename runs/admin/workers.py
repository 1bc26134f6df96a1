"""Workers in the administration, to look at."""

from django.contrib import admin
from django.utils.safestring import SafeString

from runs.models import Worker
from teams.admin.links import to_page
from teams.admin.rights import ReadOnlyAdmin


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers and when they were last heard of; those of the server itself serve every team."""

    list_display = (
        "name", "team", "host", "places", "load", "started_at", "heartbeat_at", "heard_at", "stopped_at", "page",
    )  # fmt: skip
    list_select_related = ("team",)
    list_filter = ("team", ("stopped_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "host")
    ordering = ("-heartbeat_at", "-id")

    @admin.display(description="page")
    def page(self, worker: Worker) -> SafeString:
        """A link to its page."""
        return to_page("worker", worker.pk)
