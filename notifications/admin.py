"""Administration of notifications, through the same verbs as the pages."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action

from notifications import actions
from notifications.admin_forms import DestinationAdminForm, PolicyAdminForm
from notifications.models import Delivery, Destination, Message, Mute, Policy
from runs.admin import ReadOnlyAdmin, VerbAdmin


@admin.register(Destination)
class DestinationAdmin(VerbAdmin):
    """Destinations."""

    form = DestinationAdminForm
    list_display = ("name", "kind", "summary", "team", "failures", "last_answer", "paused_at", "page")
    list_select_related = ("team",)
    list_filter = ("kind", "gave_up", "team")
    search_fields = ("name", "summary")
    actions = ("test", "pause", "resume")
    state = (
        "summary", "paused_at", "gave_up", "failures", "failing_since", "retry_at", "last_answer", "last_answer_at",
        "created_by", "created_at",
    )  # fmt: skip

    @admin.display(description="")
    def page(self, destination: Destination) -> SafeString:
        """A link to its page."""
        return _link("notification-destination", destination.pk, "Page")

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
            saved, secret = actions.change_destination(Destination.objects.get(pk=obj.pk), user=request.user, **changes)
        else:
            kind = form.cleaned_data["kind"]
            saved, secret = actions.create_destination(obj.team, user=request.user, kind=kind, **given)
        obj.__dict__.update(saved.__dict__)
        if secret:
            self.message_user(request, f"The signing secret of “{saved}” is shown only now: {secret}", messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: Destination) -> None:
        """Delete it, and what waits to be sent there."""
        actions.delete_destination(obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        """Delete each of them."""
        for destination in queryset:
            actions.delete_destination(destination, user=request.user)

    @action(description="Send a test", permissions=["change"])
    def test(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        """Send a test to the chosen ones and say what each service answered."""
        for destination in queryset:
            answer = actions.test_destination(destination, user=request.user)
            level = messages.SUCCESS if answer.ok else messages.ERROR
            self.message_user(request, f"{destination}: {answer.text}", level)

    @action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        """Let what comes wait."""
        for destination in queryset:
            actions.pause_destination(destination, user=request.user)

    @action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        """Send what waited, and what comes."""
        for destination in queryset:
            actions.resume_destination(destination, user=request.user)


@admin.register(Policy)
class PolicyAdmin(VerbAdmin):
    """Notification policies."""

    form = PolicyAdminForm
    list_display = ("name", "team", "events", "flows", "deployments", "tags", "paused", "page")
    list_select_related = ("team",)
    list_filter = ("paused", "team")
    search_fields = ("name",)
    fields = (
        "team", "name", "paused", "events", "flows", "deployments", "tags", "send_to", "message", "log_lines",
        "timezone", "burst_limit", "long_running_seconds",
    )  # fmt: skip

    @admin.display(description="")
    def page(self, policy: Policy) -> SafeString:
        """A link to its page."""
        return _link("notification-policy", policy.pk, "Page")

    def get_readonly_fields(self, request: HttpRequest, obj: Policy | None = None) -> tuple[str, ...]:
        """A policy stays with its team."""
        return ("team",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Policy, form: ModelForm, change: bool) -> None:
        """Make it, or change what was changed; pause or resume."""
        given = {name: value for name, value in form.cleaned_data.items() if name not in {"team", "paused", "send_to"}}
        if change:
            saved = Policy.objects.select_related("team").get(pk=obj.pk)  # the form has put what was typed into `obj`
            changes = {name: value for name, value in given.items() if name in form.changed_data}
            if "send_to" in form.changed_data:
                changes["destinations"] = list(form.cleaned_data["send_to"])
            if changes:
                saved = actions.update_policy(saved, user=request.user, **changes)
        else:
            to = list(form.cleaned_data["send_to"])
            saved = actions.create_policy(obj.team, user=request.user, destinations=to, **given)
        paused = form.cleaned_data["paused"]
        if paused != saved.paused:
            verb = actions.pause_policy if paused else actions.resume_policy
            saved = verb(saved, user=request.user)
        obj.__dict__.update(saved.__dict__)

    def delete_model(self, request: HttpRequest, obj: Policy) -> None:
        """Delete it, and what waits under it."""
        actions.delete_policy(obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Policy]) -> None:
        """Delete each of them."""
        for policy in queryset:
            actions.delete_policy(policy, user=request.user)


class _ToldAdmin(ReadOnlyAdmin):
    """What was told: read only, and sent again."""

    actions = ("send_again",)

    def has_send_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may change messages may send them again."""
        return bool(request.user.has_perm("notifications.change_message"))

    @action(description="Send again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Send the messages of the chosen rows once more; says why one is not."""
        sent = 0
        for message in self.messages_of(queryset):
            try:
                actions.send_again(message, user=request.user)
                sent += 1
            except ValidationError as error:
                self.message_user(request, f"{message}: {' '.join(error.messages)}", messages.ERROR)
        self.message_user(request, f"{sent:,} {'message is' if sent == 1 else 'messages are'} sent again.")

    def messages_of(self, rows: QuerySet[Any]) -> QuerySet[Message]:
        """The messages that belong to these rows, each once."""
        raise NotImplementedError


@admin.register(Message)
class MessageAdmin(_ToldAdmin):
    """Messages, each with what was said to it."""

    list_display = ("title", "destination", "policy", "state", "count", "tries", "last_answer", "created_at", "sent_at")
    list_select_related = ("destination", "policy")
    list_filter = ("state", "kind", "team")
    search_fields = ("destination__name", "policy__name", "deliveries__flow_run__name")
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

    def messages_of(self, rows: QuerySet[Any]) -> QuerySet[Message]:
        """Themselves."""
        return rows


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
class DeliveryAdmin(_ToldAdmin):
    """Deliveries: a row for each policy, destination and event."""

    list_display = ("event", "run", "policy", "destination", "became", "occurred_at", "page")
    list_select_related = ("flow_run", "policy", "destination", "message")
    list_filter = (StatusFilter, "event", "team")
    search_fields = ("flow_run__name", "flow_run__flow__name", "policy__name", "destination__name")
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

    @admin.display(description="")
    def page(self, delivery: Delivery) -> SafeString:
        """A link to its page."""
        return _link("notification-delivery", delivery.pk, "Page")

    def messages_of(self, rows: QuerySet[Any]) -> QuerySet[Message]:
        """Those that were made of them."""
        return Message.objects.filter(pk__in=rows.values("message"))


@admin.register(Mute)
class MuteAdmin(VerbAdmin):
    """Muted deployments."""

    list_display = ("deployment", "until", "reason", "created_by")
    list_select_related = ("deployment__flow", "created_by")
    search_fields = ("deployment__name", "deployment__flow__name", "reason")
    autocomplete_fields = ("deployment",)
    fields = ("deployment", "until", "reason")

    def get_readonly_fields(self, request: HttpRequest, obj: Mute | None = None) -> tuple[str, ...]:
        """A mute stays with its deployment."""
        return ("deployment",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Mute, form: ModelForm, change: bool) -> None:
        """Mute the deployment until then."""
        made = actions.mute(obj.deployment, user=request.user, until=obj.until, reason=obj.reason)
        obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Mute) -> None:
        """Unmute it."""
        actions.unmute(obj.deployment, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Mute]) -> None:
        """Unmute each of them."""
        for mute in queryset.select_related("deployment"):
            actions.unmute(mute.deployment, user=request.user)


def _run(delivery: Delivery) -> SafeString:
    return _link("run", delivery.flow_run_id, delivery.flow_run.name)


def _link(page: str, id: Any, words: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(page, args=[id]), words)
