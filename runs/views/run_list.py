"""The list of runs, with filters; and what is scheduled."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import QueryDict

from flows.models import Deployment, Flow
from flows.tags import tagged
from orchestrator.sdk.states import StateType
from runs.models import FlowRun, FlowRunQuerySet
from runs.presentation import seconds_between
from runs.reads import rows
from runs.views import keyset
from runs.views.live_page import LivePage

STATES = {
    "running": ("Running", (StateType.RUNNING, StateType.CANCELLING)),
    "waiting": ("Waiting", (StateType.SCHEDULED, StateType.PENDING, StateType.PAUSED)),
    "completed": ("Completed", (StateType.COMPLETED,)),
    "failed": ("Failed", (StateType.FAILED,)),
    "crashed": ("Crashed", (StateType.CRASHED,)),
    "cancelled": ("Cancelled", (StateType.CANCELLED,)),
}
PERIODS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
MAX_CHOICES = 200
_FILTERS = ("state", "flow", "deployment", "tag", "since", "q", "parent")


class RunsPage(LivePage):
    """Runs that match the query, newest first; on the tab "upcoming" those to come, soonest first."""

    template = "runs/runs.html"
    regions = {"rows": "runs/_run_rows.html"}

    @property
    def is_upcoming(self) -> bool:
        """Whether this is the tab of what is to come."""
        return self.reader.query.get("tab") == "upcoming"

    def context(self) -> dict[str, Any]:
        """The rows (one query), and the choices of the filters, read when their template asks (two)."""
        query, user = self.reader.query, self.reader.user
        runs = FlowRun.objects.listed_for(user)
        if self.is_upcoming:
            found = self._filtered(runs.scheduled().filter(expected_start__gt=self.reader.now)).select_related(
                "schedule"
            )
        else:
            found = self._filtered(runs.without_upcoming(self.reader.now))
        page, cursor = keyset.page(rows(found), query.get("cursor", ""), forwards=self.is_upcoming)
        return {
            "runs": with_seconds(page, self.reader.now),
            "is_upcoming": self.is_upcoming,
            "next": cursor and self.reader.link(cursor=cursor),
            "first": self.reader.link(cursor=None) if query.get("cursor") else None,
            "filtered": any(query.get(name) for name in _FILTERS),
            "states": [
                (name, word, name in map(str.lower, query.getlist("state"))) for name, (word, _) in STATES.items()
            ],
            "periods": [(name, word, name == query.get("since")) for name, (word, _) in PERIODS.items()],
            "flow_choices": lambda: Flow.objects.listed_for(user).only("id", "name").order_by("name")[:MAX_CHOICES],
            "deployment_choices": lambda: (
                Deployment.objects.listed_for(user)
                .select_related("flow")
                .only("id", "name", "flow__name")
                .order_by("flow__name", "name")[:MAX_CHOICES]
            ),
            "chosen": {name: query.get(name, "") for name in _FILTERS},
            "everything": f"{self.reader.path}?tab=upcoming" if self.is_upcoming else self.reader.path,
        }

    def _filtered(self, runs: FlowRunQuerySet) -> FlowRunQuerySet:
        return narrowed(runs, self.reader.query, self.reader.now, is_upcoming=self.is_upcoming)


def chosen_runs(runs: FlowRunQuerySet, query: QueryDict, now: datetime) -> FlowRunQuerySet:
    """Return, in any order, the runs that the list shows under this query on all its pages."""
    if query.get("tab") == "upcoming":
        return narrowed(runs.scheduled().filter(expected_start__gt=now), query, now, is_upcoming=True)
    return narrowed(runs.without_upcoming(now), query, now)


def narrowed(runs: FlowRunQuerySet, query: QueryDict, now: datetime, *, is_upcoming: bool = False) -> FlowRunQuerySet:
    """Keep the runs that a query of the list asks for; state and time are not asked of what is to come.

    A value that says nothing, like a state that is none, finds nothing: what is cancelled or deleted by filter is never
    more than was asked for.
    """
    names = [name.lower() for name in query.getlist("state") if name]
    if names and not is_upcoming:
        runs = runs.in_states([type_ for name in names for type_ in STATES.get(name, ("", ()))[1]])
    owners = (("flow", Flow.objects), ("deployment", Deployment.objects))
    for name, found in owners:
        if value := query.get(name):
            runs = runs.of_owners(name, found.filter(pk=id)) if (id := _uuid(value)) else runs.none()
    if value := query.get("parent"):
        runs = runs.filter(parent=id) if (id := _uuid(value)) else runs.none()
    if tag := query.get("tag"):
        runs = runs.searching(tagged(tag))
    if (since := query.get("since")) and not is_upcoming:
        runs = runs.filter(expected_start__gte=now - PERIODS[since][1]) if since in PERIODS else runs.none()
    if text := query.get("q", "").strip()[:200]:
        runs = runs.filter(id=id) if (id := _uuid(text)) else runs.called(text)
    return runs


def with_seconds(runs: list[FlowRun], now: datetime) -> list[FlowRun]:
    """Give each run the seconds that it took, or has taken so far."""
    for run in runs:
        run.seconds = seconds_between(run.start_time, run.end_time or now)
    return runs


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
