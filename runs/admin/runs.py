"""Runs, their attempts and task runs in the administration: to look at; runs are cancelled, retried and deleted too.

Lists stay quick with a million runs: none is counted, and each is read along an index. Attempts and task runs are shown
of one run, or of the newest runs that one may see. Log lines and samples of resources have no list here: a run's page
shows them, and a list of all would be read from end to end for any filter.
"""

from functools import lru_cache
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from runs import actions as verbs
from runs import deleting, presentation
from runs.models import Attempt, FlowRun, TaskRun
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page, to_row
from teams.admin.rights import ReadOnlyAdmin
from teams.models import User
from teams.rights import Level

_NEWEST: Final = 50  # runs whose attempts and task runs are listed where none is named


@admin.register(FlowRun)
class FlowRunAdmin(ReadOnlyAdmin):
    """Runs."""

    to_delete = Level.EDIT
    list_display = (
        "name", "flow_row", "deployment_row", "state", "expected_start", "end_time", "task_runs", "page",
    )  # fmt: skip
    list_select_related = ("flow", "deployment__flow")
    list_filter = ("state_type", "team")  # by no other field are they found along an index
    search_fields = ("name__exact",)
    search_help_text = "A run's whole name."
    ordering = ("-expected_start", "-id")
    fields = (
        "name", "state", "state_message", "flow_row", "deployment_row", "team", "queue", "trigger", "created_by",
        "tags", "attempts", "task_runs", "expected_start", "start_time", "end_time", "version", "entrypoint", "parent",
        "rerun_of", "page",
    )  # fmt: skip
    readonly_fields = fields
    cancel = Deed(
        "Cancel", verbs.cancel_flow_run, "being cancelled", needs="run", is_dangerous=True,
        follows="Each is asked to stop, with its subflows, and killed if it does not. What ended stays as it is.",
    )  # fmt: skip
    retry = Deed(
        "Retry", verbs.retry_flow_run, "retried", needs="run",
        follows="Each that failed, crashed or was cancelled is run again, from the first task that has no result.",
    )  # fmt: skip
    delete = Deed(
        "Delete", deleting.delete_flow_run, "deleted", needs="delete", is_dangerous=True,
        follows="Its task runs, log and results go with it, and its subflow runs. Those that have not ended stay.",
    )  # fmt: skip
    actions = ("cancel", "retry", "delete")
    actions_detail = ("cancel", "retry", "delete")

    @admin.display(description="state")
    def state(self, run: FlowRun) -> SafeString:
        """Its state, as on the pages."""
        return _state(run)

    @admin.display(description="flow")
    def flow_row(self, run: FlowRun) -> SafeString:
        """Its flow."""
        return to_row("flows_flow", run.flow_id, run.flow)

    @admin.display(description="deployment")
    def deployment_row(self, run: FlowRun) -> SafeString:
        """Its deployment, if it has one."""
        return to_row("flows_deployment", run.deployment_id, run.deployment)

    @admin.display(description="attempts")
    def attempts(self, run: FlowRun) -> SafeString:
        """A link to its attempts."""
        return to_list("runs_attempt", "Attempts", flow_run__id__exact=run.pk)

    @admin.display(description="task runs")
    def task_runs(self, run: FlowRun) -> SafeString:
        """A link to its task runs."""
        return to_list("runs_taskrun", "Task runs", flow_run__id__exact=run.pk)

    @admin.display(description="page")
    def page(self, run: FlowRun) -> SafeString:
        """A link to its page."""
        return to_page("run", run.pk)

    def rows_for(self, user: User) -> QuerySet[Any]:
        """Without what no list needs."""
        return super().rows_for(user).defer("error", "parameters")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Also by flow and deployment: their lists lead here."""
        by_owner = {"flow__id__exact", "deployment__id__exact"}
        return lookup in by_owner or super().lookup_allowed(lookup, value, request)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Ask, with what follows, and delete through the verb."""
        return self.delete(request, object_id)  # type: ignore[call-arg,arg-type]


def _state(row: Any) -> SafeString:
    return _shown(row.state_type, row.state_name)


@lru_cache(1_024)
def _shown(type_: str, name: str) -> SafeString:
    """A shape, a word and a colour. Kept: a list shows the same few again and again, and a template takes 1 ms."""
    look = presentation.look(type_, name)
    return render_to_string("_state.html", {"look": look, "word": look.word})


class _OfRun(ReadOnlyAdmin):
    """Rows of runs: of the one that the address names, else of the newest."""

    owner = "flow_run"
    list_select_related = ("flow_run",)
    list_filter = ("state_type",)
    ordering = ("-id",)

    def rows_for(self, user: User) -> QuerySet[Any]:
        """Those of runs that the reader may see."""
        return super().rows_for(user).defer("error")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Two queries: the runs first, since neither database reads both tables at once along their indexes."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        if "flow_run__id__exact" in request.GET or (match and "object_id" in match.kwargs):
            return rows
        newest = FlowRun.objects.visible_to(request.user).filter(attempt__gt=0).newest_first()
        return rows.filter(flow_run__in=list(newest.values_list("pk", flat=True)[:_NEWEST]))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Also by run: its row leads here."""
        return lookup == "flow_run__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="state")
    def state(self, row: Any) -> SafeString:
        """Its state, as on the pages."""
        return _state(row)

    @admin.display(description="flow run")
    def run(self, row: Any) -> SafeString:
        """Its run."""
        return to_row("runs_flowrun", row.flow_run_id, row.flow_run)

    @admin.display(description="page")
    def page(self, row: Any) -> SafeString:
        """A link to its run's page."""
        return to_page("run", row.flow_run_id)


@admin.register(Attempt)
class AttemptAdmin(_OfRun):
    """Attempts: of the newest 50 runs, or of the run that was chosen."""

    list_display = ("run", "number", "state", "cause", "host", "pid", "start_time", "end_time", "page")
    list_filter = ("state_type", "cause")
    search_fields = ("host",)
    fields = (
        "run", "number", "worker", "host", "pid", "state_type", "state_name", "state_message", "cause", "exit_code",
        "signal", "created_at", "start_time", "end_time", "peak_memory_bytes", "cpu_seconds", "page",
    )  # fmt: skip
    readonly_fields = fields


@admin.register(TaskRun)
class TaskRunAdmin(_OfRun):
    """Task runs: of the newest 50 runs, or of the run that was chosen."""

    list_display = ("name", "task", "run", "state", "attempt", "start_time", "end_time", "page")
    search_fields = ("task", "name")
    fields = (
        "name", "task", "key", "index", "run", "flow_attempt", "tags", "state_type", "state_name", "state_message",
        "attempt", "max_retries", "created_at", "start_time", "end_time", "next_attempt_at", "page",
    )  # fmt: skip
    readonly_fields = fields
