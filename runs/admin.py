"""Administration of deployments, schedules, queues and runs, through the same verbs as the pages."""

from contextlib import suppress
from typing import Any

from django.contrib import admin
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_beat import models as beat
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.paginator import InfinitePaginator

from flows import calendar_actions, time_limits
from flows.models import Calendar, Deployment, Schedule, WorkQueue
from flows.schedules import Spec
from runs import actions, queues
from runs.models import ConcurrencyLimit, FlowRun, Slot, Worker
from runs.slots import counted

# One PeriodicTask, the tick, is the server's own; deployments have schedules instead.
for _model in (
    beat.PeriodicTask,
    beat.CrontabSchedule,
    beat.IntervalSchedule,
    beat.SolarSchedule,
    beat.ClockedSchedule,
):
    with suppress(admin.sites.NotRegistered):
        admin.site.unregister(_model)


class VerbAdmin(ModelAdmin):
    """Saves through verbs; what a verb refuses is said in the form, which keeps what was typed."""

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the form, or what is wrong with it."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as error:  # nothing is kept: Django's view is a transaction
            request.refusal = error  # type: ignore[attr-defined]  read below, when the form is shown again
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> type[ModelForm]:
        """Return the form; with what a verb said of it just now, so that it is not valid."""
        form: type[ModelForm] = super().get_form(request, obj, change=change, **options)
        refusal = getattr(request, "refusal", None)
        return _refused(form, refusal) if refusal else form


def _refused(form: type[ModelForm], refusal: ValidationError) -> type[ModelForm]:
    said = refusal.message_dict if hasattr(refusal, "error_dict") else {NON_FIELD_ERRORS: refusal.messages}

    class RefusedForm(form):  # type: ignore[valid-type,misc]
        def _post_clean(self) -> None:
            """Say each thing at its field (`parameters.day`: at parameters), else above the form."""
            super()._post_clean()
            for name, words in said.items():
                field = name.partition(".")[0]
                self.add_error(field if field in self.fields else None, words)

    return RefusedForm


@admin.register(Deployment)
class DeploymentAdmin(VerbAdmin):
    """Deployments; `orchestrator deploy` makes them."""

    list_display = ("full_name", "team", "queue", "paused", "updated_at", "page")
    list_select_related = ("flow", "team", "queue")
    list_filter = ("paused", "team", "queue")
    search_fields = ("name", "flow__name")
    readonly_fields = ("flow", "team", "parameter_schema", "created_by", "created_at", "updated_at")
    fields = (
        "flow", "team", "name", "description", "paused", "queue", "limit", "collision", "isolation", "crash_retries",
        *time_limits.DEFAULTS, "tags", "parameters", "entrypoint", "directory", "version", "parameter_schema",
        "created_by", "created_at", "updated_at",
    )  # fmt: skip

    @admin.display(description="")
    def page(self, deployment: Deployment) -> SafeString:
        """A link to its page."""
        return format_html('<a href="{}">Page</a>', reverse("deployment", args=[deployment.pk]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Its schema comes from the code."""
        return False

    def save_model(self, request: HttpRequest, obj: Deployment, form: ModelForm, change: bool) -> None:
        """Change what was changed; pause or resume."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data if name != "paused"}
        if changed:
            actions.update_deployment(obj, user=request.user, **changed)
        if "paused" in form.changed_data:
            verb = actions.pause_deployment if form.cleaned_data["paused"] else actions.resume_deployment
            verb(obj, user=request.user)

    def delete_model(self, request: HttpRequest, obj: Deployment) -> None:
        """Delete it and its upcoming runs."""
        actions.delete_deployment(obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        """Delete each of them."""
        for deployment in queryset:
            actions.delete_deployment(deployment, user=request.user)


@admin.register(Schedule)
class ScheduleAdmin(VerbAdmin):
    """Schedules; the page of a deployment has plainer choices."""

    list_display = ("words", "deployment", "active", "timezone", "catchup")
    list_select_related = ("deployment__flow",)
    list_filter = ("active", "kind")
    search_fields = ("deployment__name", "deployment__flow__name")
    autocomplete_fields = ("deployment",)
    fields = (
        "deployment", "kind", "expression", "timezone", "anchor", "starts_at", "ends_at", "calendar", "on_day_off",
        "catchup", "catchup_seconds", "parameters", "active",
    )  # fmt: skip

    @admin.display(description="runs")
    def words(self, schedule: Schedule) -> str:
        """When, in plain words."""
        return Spec.of(schedule).describe()

    def get_readonly_fields(self, request: HttpRequest, obj: Schedule | None = None) -> tuple[str, ...]:
        """A schedule stays with its deployment."""
        return ("deployment",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Schedule, form: ModelForm, change: bool) -> None:
        """Add it, or change what was changed."""
        if change:
            changed = {name: form.cleaned_data[name] for name in form.changed_data}
            if "calendar" in changed:  # verbs know calendars by their names
                changed["calendar"] = changed["calendar"].name if changed["calendar"] else ""
            actions.change_schedule(obj, user=request.user, **changed)
            return
        made = actions.add_schedule(obj.deployment, Spec.of(obj), user=request.user)
        obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Schedule) -> None:
        """Delete it and its upcoming runs."""
        actions.delete_schedule(obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Delete each of them."""
        for schedule in queryset.select_related("deployment"):
            actions.delete_schedule(schedule, user=request.user)


@admin.register(Calendar)
class CalendarAdmin(VerbAdmin):
    """Business calendars; their own pages show what is off."""

    list_display = ("name", "team", "words", "updated_at", "page")
    list_select_related = ("team",)
    list_filter = ("team",)
    search_fields = ("name",)
    fields = ("team", "name", "weekend", "country", "subdivision", "days_off", "working_days")

    @admin.display(description="days off")
    def words(self, calendar: Calendar) -> str:
        """Its days off, in plain words."""
        return calendar.value.describe()

    @admin.display(description="")
    def page(self, calendar: Calendar) -> SafeString:
        """A link to its page."""
        return format_html('<a href="{}">Page</a>', reverse("calendar", args=[calendar.pk]))

    def get_readonly_fields(self, request: HttpRequest, obj: Calendar | None = None) -> tuple[str, ...]:
        """A calendar stays with its team."""
        return ("team",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Calendar, form: ModelForm, change: bool) -> None:
        """Make it, or change what was changed."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data if name != "team"}
        if change:
            actions.change_calendar(obj, user=request.user, **changed)
            return
        made = calendar_actions.create_calendar(obj.team, user=request.user, **{"name": obj.name, **changed})
        obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Calendar) -> None:
        """Delete it, if no schedule has it."""
        calendar_actions.delete_calendar(obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Calendar]) -> None:
        """Delete each of them."""
        for calendar in queryset:
            calendar_actions.delete_calendar(calendar, user=request.user)


@admin.register(WorkQueue)
class WorkQueueAdmin(VerbAdmin):
    """Work queues."""

    list_display = ("name", "team", "paused", "limit", "priority", "created_at", "page")
    list_select_related = ("team",)
    list_filter = ("paused", "team")
    search_fields = ("name",)
    fields = ("team", "name", "description", "limit", "priority", "paused")
    actions = ("pause", "resume")

    @admin.display(description="")
    def page(self, queue: WorkQueue) -> SafeString:
        """A link to its page."""
        return format_html('<a href="{}">Page</a>', reverse("work-queue", args=[queue.pk]))

    @action(description="Pause")
    def pause(self, request: HttpRequest, queryset: QuerySet[WorkQueue]) -> None:
        """Pause the chosen queues."""
        for queue in queryset:
            queues.pause_queue(queue, user=request.user)

    @action(description="Resume")
    def resume(self, request: HttpRequest, queryset: QuerySet[WorkQueue]) -> None:
        """Resume the chosen queues."""
        for queue in queryset:
            queues.resume_queue(queue, user=request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: WorkQueue | None = None) -> tuple[str, ...]:
        """Workers know a queue by its team and name."""
        return ("team", "name") if obj else ()

    def save_model(self, request: HttpRequest, obj: WorkQueue, form: ModelForm, change: bool) -> None:
        """Make it, or change what was changed; pause or resume."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data if name not in ("paused", "team")}
        if not change:
            obj.__dict__.update(queues.create_queue(obj.team, user=request.user, **changed).__dict__)
        elif changed:
            queues.change_queue(obj, user=request.user, **changed)
        if "paused" in form.changed_data:
            verb = queues.pause_queue if form.cleaned_data["paused"] else queues.resume_queue
            verb(obj, user=request.user)

    def delete_model(self, request: HttpRequest, obj: WorkQueue) -> None:
        """Delete it, if nothing uses it."""
        queues.delete_queue(obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[WorkQueue]) -> None:
        """Delete each of them."""
        for queue in queryset:
            queues.delete_queue(queue, user=request.user)


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only the server writes."""

    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody makes them here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes them here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes them here."""
        return False


@admin.register(FlowRun)
class FlowRunAdmin(ReadOnlyAdmin):
    """Runs, to look at; and to cancel many at once."""

    list_display = ("name", "flow", "deployment", "state_name", "expected_start", "end_time", "page")
    list_select_related = ("flow", "deployment__flow")
    list_filter = ("state_type", "trigger", "team")
    search_fields = ("name", "flow__name")
    ordering = ("-expected_start", "-id")
    actions = ("cancel",)
    exclude = ("error",)

    @admin.display(description="")
    def page(self, run: FlowRun) -> SafeString:
        """A link to its page."""
        return format_html('<a href="{}">Page</a>', reverse("run", args=[run.pk]))

    def get_queryset(self, request: HttpRequest) -> QuerySet[FlowRun]:
        """Without what no list needs."""
        return super().get_queryset(request).defer("error", "parameters")

    @action(description="Cancel")
    def cancel(self, request: HttpRequest, queryset: QuerySet[FlowRun]) -> None:
        """Cancel the chosen runs; those that ended are passed over."""
        cancelled = 0
        for run in queryset:
            with suppress(ValidationError):
                actions.cancel_flow_run(run, user=request.user)
                cancelled += 1
        self.message_user(request, f"{cancelled:,} runs are being cancelled.")


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers and when they were last heard of."""

    list_display = (
        "name",
        "team",
        "host",
        "places",
        "load",
        "started_at",
        "heartbeat_at",
        "heard_at",
        "stopped_at",
        "page",
    )
    list_select_related = ("team",)
    list_filter = ("team",)
    search_fields = ("name", "host")
    ordering = ("-heartbeat_at",)

    @admin.display(description="")
    def page(self, worker: Worker) -> SafeString:
        """A link to its page."""
        return format_html('<a href="{}">Page</a>', reverse("worker", args=[worker.pk]))


@admin.register(ConcurrencyLimit)
class ConcurrencyLimitAdmin(ReadOnlyAdmin):
    """Limits of tags; their own pages change them."""

    list_display = ("tag", "team", "limit", "held", "waiting", "created_at", "page")
    list_select_related = ("team",)
    list_filter = ("team",)
    search_fields = ("tag",)
    ordering = ("tag", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConcurrencyLimit]:
        """With how many slots are held and waited for."""
        return counted(super().get_queryset(request))

    @admin.display(description="held")
    def held(self, limit: ConcurrencyLimit) -> int:
        """Slots that are held."""
        return int(limit.used)  # type: ignore[attr-defined]

    @admin.display(description="waiting")
    def waiting(self, limit: ConcurrencyLimit) -> int:
        """Task runs that wait."""
        return int(limit.waiting)  # type: ignore[attr-defined]

    @admin.display(description="")
    def page(self, limit: ConcurrencyLimit) -> SafeString:
        """A link to its page."""
        return format_html('<a href="{}">Page</a>', reverse("concurrency-limit", args=[limit.pk]))


@admin.register(Slot)
class SlotAdmin(ReadOnlyAdmin):
    """Slots of limited tags, held and waited for."""

    list_display = ("limit", "task_name", "flow_run", "asked_at", "granted_at")
    list_select_related = ("limit", "flow_run")
    list_filter = ("limit__team",)
    search_fields = ("limit__tag", "task_name")
    ordering = ("id",)
