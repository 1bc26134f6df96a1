"""Administration of flows and webhooks. Deployments, schedules and calendars reach runs: theirs is in `runs.admin`."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from flows import block_actions, webhooks
from flows.models import Block, Flow, Webhook
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page, to_row
from teams.admin.rights import RightsAdmin
from teams.admin.verbs import VerbAdmin
from teams.rights import Level


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


@admin.register(Block)
class BlockAdmin(VerbAdmin):
    """Blocks. They are made on their own page, in the form of their type, where secrets are written too."""

    to_add = None
    to_change = to_delete = Level.ADMIN
    list_display = ("name", "type", "team", "version", "updated_at", "page")
    list_select_related = ("team",)
    list_filter = ("type", "team")
    search_fields = ("name", "description")
    ordering = ("name", "id")
    fields = ("team", "type", "name", "description", "values", "opened", "version", "page")
    readonly_fields = ("team", "type", "version", "page")
    actions = ("delete",)
    delete = Deed(
        "Delete", block_actions.delete_block, "deleted", needs="delete", is_dangerous=True,
        follows="One that a deployment or another block still uses stays.",
    )  # fmt: skip

    @admin.display(description="page")
    def page(self, block: Block) -> SafeString:
        """A link to its page."""
        return to_page("block", block.pk)

    def change(self, row: Block, typed: dict[str, Any], user: Any) -> Block:
        """Change what was changed; values that are no longer there go back to their defaults."""
        if "values" in typed:
            values = typed["values"] if isinstance(typed["values"], dict) else {}
            typed["values"] = {**dict.fromkeys(row.values), **values}
        return block_actions.update_block(row, user=user, **typed)


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
