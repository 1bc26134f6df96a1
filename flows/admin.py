"""Administration of flows and webhooks. Deployments, schedules and calendars reach runs: theirs is in `runs.admin`."""

from django.contrib import admin
from django.utils.safestring import SafeString

from flows import webhooks
from flows.models import Flow, Webhook
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page, to_row
from teams.admin.rights import RightsAdmin
from teams.admin.verbs import VerbAdmin


@admin.register(Flow)
class FlowAdmin(RightsAdmin):
    """Flows, to look at; a script or a deployment makes them, and all their runs would go with them."""

    to_add = to_change = to_delete = None
    list_display = ("name", "team", "deployments", "runs", "created_at", "page")
    list_select_related = ("team",)
    list_filter = ("team", "created_at")
    search_fields = ("name",)
    ordering = ("name", "id")
    fields = ("name", "team", "description", "deployments", "runs", "created_at", "page")
    readonly_fields = fields

    @admin.display(description="deployments")
    def deployments(self, flow: Flow) -> SafeString:
        """A link to its deployments."""
        return to_list("flows_deployment", "Deployments", flow__id__exact=flow.pk)

    @admin.display(description="runs")
    def runs(self, flow: Flow) -> SafeString:
        """A link to its runs."""
        return to_list("runs_flowrun", "Runs", flow__id__exact=flow.pk)

    @admin.display(description="page")
    def page(self, flow: Flow) -> SafeString:
        """A link to its page."""
        return to_page("flow", flow.pk)


@admin.register(Webhook)
class WebhookAdmin(VerbAdmin):
    """Webhooks, to look at and to delete; the page of a deployment makes them and shows their address once."""

    owner = "deployment"
    to_add = to_change = None
    list_display = ("deployment_row", "prefix", "created_by", "created_at", "last_used_at", "page")
    list_select_related = ("deployment__flow", "deployment__team", "created_by")
    list_filter = ("deployment__team", ("last_used_at", admin.EmptyFieldListFilter))
    search_fields = ("deployment__name", "deployment__flow__name", "prefix")
    ordering = ("-created_at",)
    fields = ("deployment_row", "prefix", "mapping", "created_by", "created_at", "last_used_at", "page")
    readonly_fields = fields
    actions = ("delete",)
    delete = Deed(
        "Delete", webhooks.delete_webhook, "deleted", needs="delete", is_dangerous=True,
        follows="Whoever calls its address is refused from now on. Another one will have another address.",
    )  # fmt: skip

    @admin.display(description="deployment", ordering="deployment__name")
    def deployment_row(self, webhook: Webhook) -> SafeString:
        """The deployment that it runs."""
        return to_row("flows_deployment", webhook.deployment_id, webhook.deployment)

    @admin.display(description="page")
    def page(self, webhook: Webhook) -> SafeString:
        """A link to its page."""
        return to_page("deployment-webhook", webhook.deployment_id)
