"""Administration of notifications, through the same verbs as the pages."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from notifications import actions as verbs
from notifications.admin_forms import DestinationAdminForm, PolicyAdminForm
from notifications.models import Delivery, Destination, Message, Mute, Policy
from teams.admin.deeds import Deed
from teams.admin.links import to_page, to_row
from teams.admin.rights import ReadOnlyAdmin, rows_of
from teams.admin.verbs import VerbAdmin


def _send_message_again(delivery: Delivery, *, user: Any) -> None:
    """Send the message that was made of a delivery once more."""
    if delivery.message is None:
        raise ValidationError("No message has been made of it yet.")
    verbs.send_again(delivery.message, user=user)


def _test(destination: Destination, *, user: Any) -> None:
    """Send a test; what the service refuses is said as why not."""
    answer = verbs.test_destination(destination, user=user)
    if not answer.ok:
        raise ValidationError(answer.text)


@admin.register(Destination)
class DestinationAdmin(VerbAdmin):
    """Destinations."""

    form = DestinationAdminForm
    list_display = ("name", "kind", "summary", "team", "failures", "last_answer", "paused_at", "page")
    list_select_related = ("team",)
    list_filter = ("kind", "gave_up", "team")
    search_fields = ("name", "summary")
    ordering = ("name", "id")
    test = Deed("Send a test", _test, "delivering: the test arrived")
    pause = Deed("Pause", verbs.pause_destination, "paused")
    resume = Deed("Resume", verbs.resume_destination, "resumed")
    delete = Deed(
        "Delete", verbs.delete_destination, "deleted", needs="delete", is_dangerous=True,
        follows="What waits to be sent there is dropped, and policies tell it no more. What was sent stays on record.",
    )  # fmt: skip
    actions = ("test", "pause", "resume", "delete")
    actions_detail = ("test", "pause", "resume")
    state = (
        "summary", "paused_at", "gave_up", "failures", "failing_since", "retry_at", "last_answer", "last_answer_at",
        "created_by", "created_at",
    )  # fmt: skip

    @admin.display(description="page")
    def page(self, destination: Destination) -> SafeString:
        """A link to its page."""
        return to_page("notification-destination", destination.pk)

    def get_fields(self, request: HttpRequest, obj: Destination | None = None) -> tuple[str, ...]:
        """What it is made of; then also how it does."""
        return ("team", "kind", "name", "address", "secret", *(self.state if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: Destination | None = None) -> tuple[str, ...]:
        """A destination stays with its team and its kind."""
        return ("team", "kind", *self.state) if obj else ()

    def save_model(self, request: HttpRequest, obj: Destination, form: ModelForm, change: bool) -> None:
        """Make it, or change what was typed. A signing secret that was made is shown once."""
        given = {name: form.cleaned_data[name] for name in ("name", "address", "secret")}
        if change:
            # read again: the form has put what was typed into `obj`
            changes = {"name": given["name"], **{name: given[name] or None for name in ("address", "secret")}}
            saved, secret = verbs.change_destination(Destination.objects.get(pk=obj.pk), user=request.user, **changes)
        else:
            kind = form.cleaned_data["kind"]
            saved, secret = verbs.create_destination(obj.team, user=request.user, kind=kind, **given)
        obj.__dict__.update(saved.__dict__)
        if secret:
            self.message_user(request, f"The signing secret of “{saved}” is shown only now: {secret}", messages.WARNING)


@admin.register(Policy)
class PolicyAdmin(VerbAdmin):
    """Notification policies."""

    form = PolicyAdminForm
    list_display = ("name", "team", "events", "flows", "deployments", "tags", "paused", "page")
    list_select_related = ("team",)
    list_filter = ("paused", "team")
    search_fields = ("name",)
    ordering = ("name", "id")
    pause = Deed("Pause", verbs.pause_policy, "paused")
    resume = Deed("Resume", verbs.resume_policy, "resumed")
    delete = Deed(
        "Delete", verbs.delete_policy, "deleted", needs="delete", is_dangerous=True,
        follows="What waits to be sent under it is dropped. What was sent stays on record.",
    )  # fmt: skip
    actions = ("pause", "resume", "delete")
    actions_detail = ("pause", "resume")
    fields = (
        "team", "name", "paused", "events", "flows", "deployments", "tags", "send_to", "message", "log_lines",
        "timezone", "burst_limit", "long_running_seconds",
    )  # fmt: skip

    @admin.display(description="page")
    def page(self, policy: Policy) -> SafeString:
        """A link to its page."""
        return to_page("notification-policy", policy.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: Policy | None = None) -> tuple[str, ...]:
        """A policy stays with its team."""
        return ("team",) if obj else ()

    def get_form(self, request: HttpRequest, obj: Policy | None = None, change: bool = False, **options: Any) -> Any:
        """Offer the destinations that the reader may see, of the policy's own team."""
        made = super().get_form(request, obj, change=change, **options)
        seen: Any = rows_of(Destination, request.user)
        field = made.base_fields.get("send_to")
        if field is not None:
            field.queryset = (seen.filter(team=obj.team_id) if obj else seen).order_by("name")
        return made

    def make(self, row: Policy, typed: dict[str, Any], user: Any) -> Policy:
        """Make a policy, paused if that was chosen."""
        paused, to = typed.pop("paused"), list(typed.pop("send_to"))
        typed.pop("team")
        made = verbs.create_policy(row.team, user=user, destinations=to, **typed)
        return verbs.pause_policy(made, user=user) if paused else made

    def change(self, row: Policy, typed: dict[str, Any], user: Any) -> Policy:
        """Change what was changed; pause or resume."""
        paused = typed.pop("paused", row.paused)
        if "send_to" in typed:
            typed["destinations"] = list(typed.pop("send_to"))
        if typed:
            row = verbs.update_policy(row, user=user, **typed)
        if paused != row.paused:
            row = (verbs.pause_policy if paused else verbs.resume_policy)(row, user=user)
        return row


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    """Messages, each with what was said to it."""

    send_again = Deed("Send again", verbs.send_again, "sent again", needs="run")
    actions = actions_detail = ("send_again",)

    list_display = ("title", "destination", "policy", "state", "count", "tries", "last_answer", "created_at", "sent_at")
    list_select_related = ("destination", "policy")
    list_filter = ("state", "team", "policy", "destination")
    search_fields = ("destination__name", "policy__name")
    ordering = ("-id",)
    fields = (
        "destination", "policy", "kind", "count", "state", "tries", "title", "text", "said", "runs", "created_at",
        "sent_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="title")
    def title(self, message: Message) -> str:
        """What stands above it."""
        return str(message.content.get("title") or message)

    @admin.display(description="text")
    def text(self, message: Message) -> str:
        """What it says."""
        return str(message.content.get("text", ""))

    @admin.display(description="last answer")
    def last_answer(self, message: Message) -> str:
        """What the service said last."""
        return str(message.answers[-1].get("text", ""))[:80] if message.answers else ""

    @admin.display(description="answers")
    def said(self, message: Message) -> SafeString:
        """Every answer, oldest first."""
        return format_html_join("", "<div>{} {}</div>", ((one.get("at"), one.get("text")) for one in message.answers))

    @admin.display(description="runs")
    def runs(self, message: Message) -> SafeString:
        """The runs that it tells of, at most twenty."""
        told = message.deliveries.select_related("flow_run").order_by("id")[:20]
        return format_html_join(" ", "{}", ((_run(delivery),) for delivery in told))


class StatusFilter(admin.SimpleListFilter):
    """What became of deliveries."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every status."""
        return list(Delivery.Status.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Delivery]:
        """Keep those of the chosen one."""
        found: QuerySet[Delivery] = queryset.with_status(self.value()) if self.value() else queryset
        return found


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries: a row for each policy, destination and event."""

    send_again = Deed("Send again", _send_message_again, "sent again", needs="run")
    actions = actions_detail = ("send_again",)

    list_display = ("event", "run", "policy", "destination", "became", "occurred_at", "page")
    list_select_related = ("flow_run", "policy", "destination", "message")
    list_filter = (StatusFilter, "event", "team", "policy", "destination")
    search_fields = ("flow_run__name__exact",)
    search_help_text = "A run's whole name."
    ordering = ("-id",)
    fields = (
        "event", "run", "attempt", "state_name", "reason", "occurred_at", "policy", "destination", "became",
        "held_for", "due_at", "message", "created_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="run")
    def run(self, delivery: Delivery) -> SafeString:
        """A link to its run's page."""
        return _run(delivery)

    @admin.display(description="status")
    def became(self, delivery: Delivery) -> str:
        """What became of it."""
        return str(delivery.status.label)

    @admin.display(description="page")
    def page(self, delivery: Delivery) -> SafeString:
        """A link to its page."""
        return to_page("notification-delivery", delivery.pk)


def _unmute(mute: Mute, *, user: Any) -> None:
    verbs.unmute(mute.deployment, user=user)


@admin.register(Mute)
class MuteAdmin(VerbAdmin):
    """Muted deployments."""

    owner = "deployment"
    list_display = ("deployment_row", "until", "reason", "created_by", "page")
    list_select_related = ("deployment__flow", "created_by")
    list_filter = ("deployment__team", "until")
    search_fields = ("deployment__name", "deployment__flow__name", "reason")
    ordering = ("until", "id")
    autocomplete_fields = ("deployment",)
    fields = ("deployment", "until", "reason")
    delete = Deed(
        "Unmute", _unmute, "taken away", needs="delete", follows="What happens from now on is told again.",
    )  # fmt: skip
    actions = ("delete",)

    @admin.display(description="deployment")
    def deployment_row(self, mute: Mute) -> SafeString:
        """The deployment of which nothing is told."""
        return to_row("flows_deployment", mute.deployment_id, mute.deployment)

    @admin.display(description="page")
    def page(self, mute: Mute) -> SafeString:
        """A link to its deployment's page."""
        return to_page("deployment", mute.deployment_id, "Deployment")

    def get_readonly_fields(self, request: HttpRequest, obj: Mute | None = None) -> tuple[str, ...]:
        """A mute stays with its deployment."""
        return ("deployment",) if obj else ()

    def make(self, row: Mute, typed: dict[str, Any], user: Any) -> Mute:
        """Mute the deployment until then."""
        return verbs.mute(row.deployment, user=user, until=row.until, reason=row.reason)

    def change(self, row: Mute, typed: dict[str, Any], user: Any) -> Mute:
        """Mute it until another time."""
        now = {"until": row.until, "reason": row.reason} | typed
        return verbs.mute(row.deployment, user=user, **now)


def _run(delivery: Delivery) -> SafeString:
    return to_row("runs_flowrun", delivery.flow_run_id, delivery.flow_run.name)
