"""Administration of work queues."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from flows.models import WorkQueue
from runs import queues
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page
from teams.admin.verbs import VerbAdmin


@admin.register(WorkQueue)
class WorkQueueAdmin(VerbAdmin):
    """Work queues."""

    list_display = ("name", "team", "paused", "limit", "priority", "deployments", "created_at", "page")
    list_select_related = ("team",)
    list_filter = ("paused", "team")
    search_fields = ("name",)
    ordering = ("name", "id")
    fields = ("team", "name", "description", "limit", "priority", "paused")
    pause = Deed("Pause", queues.pause_queue, "paused")
    resume = Deed("Resume", queues.resume_queue, "resumed")
    delete = Deed(
        "Delete", queues.delete_queue, "deleted", needs="delete", is_dangerous=True,
        follows="One that a deployment or a run still uses stays.",
    )  # fmt: skip
    actions = ("pause", "resume", "delete")
    actions_detail = ("pause", "resume")

    @admin.display(description="deployments")
    def deployments(self, queue: WorkQueue) -> SafeString:
        """A link to the deployments whose runs wait in it."""
        return to_list("flows_deployment", "Deployments", queue__id__exact=queue.pk)

    @admin.display(description="page")
    def page(self, queue: WorkQueue) -> SafeString:
        """A link to its page."""
        return to_page("work-queue", queue.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: WorkQueue | None = None) -> tuple[str, ...]:
        """Workers know a queue by its team and name."""
        return ("team", "name") if obj else ()

    def make(self, row: WorkQueue, typed: dict[str, Any], user: Any) -> WorkQueue:
        """Make a queue, paused if that was chosen."""
        paused = typed.pop("paused")
        typed.pop("team")
        made = queues.create_queue(row.team, user=user, **typed)
        return queues.pause_queue(made, user=user) if paused else made

    def change(self, row: WorkQueue, typed: dict[str, Any], user: Any) -> WorkQueue:
        """Change what was changed; pause or resume."""
        paused = typed.pop("paused", row.paused)
        if typed:
            row = queues.change_queue(row, user=user, **typed)
        if paused != row.paused:
            row = (queues.pause_queue if paused else queues.resume_queue)(row, user=user)
        return row
