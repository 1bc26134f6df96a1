"""Administration of deployments and their schedules: whatever their page can change, through the same verbs."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import StackedInline
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from flows import time_limits
from flows.models import Deployment, Schedule, WorkQueue
from flows.schedules import Spec
from runs import actions as verbs
from runs.models import FlowRun, Trigger
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page, to_row
from teams.admin.rights import RightsInline
from teams.admin.verbs import VerbAdmin

_PAGES = {
    "deployment": "Page", "deployment-run": "Run with other parameters", "deployment-backfill": "Backfill",
    "deployment-webhook": "Webhook", "deployment-mute": "Mute",
}  # fmt: skip
_WHEN = (
    "kind", "expression", "timezone", "active", "calendar", "on_day_off", "catchup", "catchup_seconds", "anchor",
    "starts_at", "ends_at", "parameters",
)  # fmt: skip


class ScheduleForm(forms.ModelForm):
    """A schedule; what is wrong with it is said at its fields."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors or not self.has_changed():
            return
        try:
            Spec.of(self.instance).clean()
        except ValidationError as error:
            for name, said in error.message_dict.items():
                self.add_error(name if name in self.fields else None, said)


class ScheduleInline(RightsInline, StackedInline):
    """A deployment's schedules."""

    model = Schedule
    form = ScheduleForm
    fields = _WHEN
    ordering = ("created_at", "id")
    collapsible = True


class QueueForm(forms.Form):
    """The queue in which runs will wait."""

    queue = forms.ModelChoiceField(WorkQueue.objects.none(), widget=UnfoldAdminSelectWidget)

    def __init__(self, rows: Sequence[Deployment], user: Any, typed: Any) -> None:
        super().__init__(typed)
        self.fields["queue"].queryset = WorkQueue.objects.visible_to(user).filter(  # type: ignore[attr-defined]
            team__in={row.team_id for row in rows}
        )


class NameForm(forms.Form):
    """What the copy is called."""

    name = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)


def _run(deployment: Deployment, *, user: Any) -> FlowRun:
    return verbs.create_flow_run(deployment, trigger=Trigger.PERSON, user=user)[0]


def _set_queue(deployment: Deployment, *, queue: WorkQueue, user: Any) -> Deployment:
    return verbs.update_deployment(deployment, queue=queue, user=user)


@admin.register(Deployment)
class DeploymentAdmin(VerbAdmin):
    """Deployments; `orchestrator deploy` makes them."""

    to_add = None  # the schema comes from the code
    list_display = ("full_name", "team", "queue", "paused", "runs", "schedules", "updated_at", "page")
    list_select_related = ("flow", "team", "queue", "infrastructure")
    list_filter = ("paused", "team", "queue", "infrastructure")
    search_fields = ("name", "flow__name")
    ordering = ("flow__name", "name", "id")
    readonly_fields = ("flow", "team", "parameter_schema", "created_by", "created_at", "updated_at", "pages")
    fieldsets = (
        (None, {"fields": ("flow", "team", "name", "description", "tags", "paused", "pages")}),
        (
            "Runs",
            {
                "fields": (
                    "queue",
                    "limit",
                    "collision",
                    "infrastructure",
                    "infrastructure_overrides",
                    "task_runner",
                    "crash_retries",
                    "parameters",
                )
            },
        ),
        ("Time limits", {"fields": tuple(time_limits.DEFAULTS)}),
        ("Code", {"fields": ("entrypoint", "directory", "version", "parameter_schema")}),
        ("Record", {"fields": ("created_by", "created_at", "updated_at")}),
    )
    inlines = (ScheduleInline,)
    run = Deed("Run", _run, "run", needs="run", follows="Each is run now, once, with its own parameters.")
    pause = Deed("Pause", verbs.pause_deployment, "paused")
    resume = Deed("Resume", verbs.resume_deployment, "resumed")
    set_queue = Deed(
        "Set queue", _set_queue, "on that queue now", form=QueueForm,
        follows="Runs that have not begun move there too. A queue of another team is refused.",
    )  # fmt: skip
    duplicate = Deed(
        "Duplicate", verbs.duplicate_deployment, "duplicated", form=lambda rows, user, typed: NameForm(typed),
        follows="The copy has the same settings; its schedules are switched off until somebody switches them on.",
    )  # fmt: skip
    delete = Deed(
        "Delete", verbs.delete_deployment, "deleted", needs="delete", is_dangerous=True,
        follows="Schedules, webhook and upcoming runs go with it. Runs that began stay, without a deployment.",
    )  # fmt: skip
    actions = ("run", "pause", "resume", "set_queue", "delete")
    actions_detail = ("run", "pause", "resume", "duplicate")

    @admin.display(description="deployment", ordering="flow__name")
    def full_name(self, deployment: Deployment) -> str:
        """Flow and name."""
        return deployment.full_name

    @admin.display(description="runs")
    def runs(self, deployment: Deployment) -> SafeString:
        """A link to its runs."""
        return to_list("runs_flowrun", "Runs", deployment__id__exact=deployment.pk)

    @admin.display(description="schedules")
    def schedules(self, deployment: Deployment) -> SafeString:
        """A link to its schedules."""
        return to_list("flows_schedule", "Schedules", deployment__id__exact=deployment.pk)

    @admin.display(description="page")
    def page(self, deployment: Deployment) -> SafeString:
        """A link to its page."""
        return to_page("deployment", deployment.pk)

    @admin.display(description="on the site")
    def pages(self, deployment: Deployment) -> SafeString:
        """Links to its page, and to what is done there."""
        return format_html_join(" · ", "{}", ((to_page(name, deployment.pk, said),) for name, said in _PAGES.items()))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Also by flow: its list leads here."""
        return lookup == "flow__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Of pausing and resuming, what it is not yet."""
        row = self.get_object(request, object_id)
        passed = "resume" if row is not None and not row.paused else "pause"
        return [one for one in super().get_actions_detail(request, object_id) if not one.action_name.endswith(passed)]

    def change(self, row: Deployment, typed: dict[str, Any], user: Any) -> Deployment:
        """Change what was changed; pause or resume."""
        paused = typed.pop("paused", row.paused)
        if typed:
            row = verbs.update_deployment(row, user=user, **typed)
        if paused != row.paused:
            row = (verbs.pause_deployment if paused else verbs.resume_deployment)(row, user=user)
        return row

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Add, change and delete its schedules."""
        formset.save(commit=False)
        user: Any = request.user
        for row in formset.deleted_objects:
            verbs.delete_schedule(row, user=user)
        for row, names in formset.changed_objects:
            change_schedule(row.pk, {name: getattr(row, name) for name in names if name in _WHEN}, user)
        for row in formset.new_objects:
            verbs.add_schedule(form.instance, Spec.of(row), user=user)


def change_schedule(key: Any, typed: dict[str, Any], user: Any) -> Schedule:
    """Change a schedule to what was typed; it is read again, since the form has put that into its row."""
    if "calendar" in typed:  # verbs know calendars by their names
        typed["calendar"] = typed["calendar"].name if typed["calendar"] else ""
    row = Schedule.objects.select_related("deployment__flow", "deployment__team", "calendar").get(pk=key)
    return verbs.change_schedule(row, user=user, **typed)


@admin.register(Schedule)
class ScheduleAdmin(VerbAdmin):
    """Schedules; the page of a deployment has plainer choices."""

    owner = "deployment"
    form = ScheduleForm
    list_display = ("words", "deployment_row", "active", "timezone", "calendar", "catchup", "page")
    list_select_related = ("deployment__flow", "calendar")
    list_filter = ("active", "kind", "deployment__team", "calendar")
    search_fields = ("deployment__name", "deployment__flow__name")
    ordering = ("-created_at", "-id")
    autocomplete_fields = ("deployment",)
    fields = ("deployment", *_WHEN)
    delete = Deed(
        "Delete", verbs.delete_schedule, "deleted", needs="delete", is_dangerous=True,
        follows="Upcoming runs that it made go with it. Runs that began stay.",
    )  # fmt: skip
    activate = Deed("Switch on", lambda row, user: change_schedule(row.pk, {"active": True}, user), "switched on")
    deactivate = Deed("Switch off", lambda row, user: change_schedule(row.pk, {"active": False}, user), "switched off")
    actions = ("activate", "deactivate", "delete")

    @admin.display(description="runs")
    def words(self, schedule: Schedule) -> str:
        """When, in plain words."""
        return Spec.of(schedule).describe()

    @admin.display(description="deployment")
    def deployment_row(self, schedule: Schedule) -> SafeString:
        """Its deployment."""
        return to_row("flows_deployment", schedule.deployment_id, schedule.deployment)

    @admin.display(description="page")
    def page(self, schedule: Schedule) -> SafeString:
        """A link to its page."""
        return to_page("schedule", schedule.pk)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Also by deployment: its list leads here."""
        return lookup == "deployment__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_readonly_fields(self, request: HttpRequest, obj: Schedule | None = None) -> tuple[str, ...]:
        """A schedule stays with its deployment."""
        return ("deployment",) if obj else ()

    def make(self, row: Schedule, typed: dict[str, Any], user: Any) -> Schedule:
        """Add it."""
        return verbs.add_schedule(row.deployment, Spec.of(row), user=user)

    def change(self, row: Schedule, typed: dict[str, Any], user: Any) -> Schedule:
        """Change what was changed."""
        return change_schedule(row.pk, typed, user)
