"""The flows, and one flow."""

from typing import Any
from uuid import UUID

from django.http import Http404

from flows.models import Deployment, Flow
from runs import reads
from runs.models import FlowRun
from runs.views.live_page import LivePage, Reader
from runs.views.run_list import with_seconds

FLOWS = 50
RUNS = 20
DEPLOYMENTS = 50


class FlowsPage(LivePage):
    """All flows, that of the newest run first."""

    template = "flows/flows.html"
    regions = {"rows": "flows/_flow_rows.html"}

    def context(self) -> dict[str, Any]:
        """A page of flows and their strips (three queries)."""
        query, user, now = self.reader.query, self.reader.user, self.reader.now
        flows = reads.flows_by_activity(user, now)
        if text := query.get("q", "").strip()[:200]:
            flows = flows.filter(name__icontains=text)
        begin = self.reader.begin
        found = list(flows.only("id", "name", "description")[begin : begin + FLOWS + 1])
        return {
            "flows": found[:FLOWS],
            "strips": reads.strips("flow", [flow.id for flow in found[:FLOWS]], now, user),
            "text": text,
            "next": self.reader.link(**{"from": begin + FLOWS}) if len(found) > FLOWS else None,
        }


class FlowPage(LivePage):
    """One flow: how it went, its deployments, its last runs."""

    template = "flows/flow.html"
    regions = {
        "strip": "flows/_flow_strip.html",
        "deployments": "flows/_flow_deployments.html",
        "rows": "runs/_run_rows.html",
    }

    def __init__(self, reader: Reader, flow_id: UUID) -> None:
        """Read the flow (one query)."""
        super().__init__(reader)
        flow = Flow.objects.visible_to(reader.user).filter(id=flow_id).first()
        if flow is None:
            raise Http404
        self.flow = flow

    def context(self) -> dict[str, Any]:
        """The strip, deployments and runs (seven queries)."""
        now, user = self.reader.now, self.reader.user
        deployments = list(deployment_rows(self.flow.deployments.all())[:DEPLOYMENTS])
        runs = FlowRun.objects.visible_to(user).of_owner("flow", self.flow).without_upcoming(now)
        return {
            "flow": self.flow,
            "strip": reads.strips("flow", [self.flow.id], now, user)[self.flow.id],
            "deployments": deployments,
            "strips": reads.strips("deployment", [deployment.id for deployment in deployments], now, user),
            "runs": with_seconds(reads.newest(runs, RUNS), now),
        }


def deployment_rows(deployments: Any) -> Any:
    """Deployments with what a row shows, by name (two queries with the schedules)."""
    return (
        deployments.select_related("flow")
        .defer("parameters", "parameter_schema", "declared")
        .prefetch_related("schedules")
        .order_by("flow__name", "name", "id")
    )


class DeploymentsPage(LivePage):
    """All deployments, by name."""

    template = "flows/deployments.html"
    regions = {"rows": "flows/_deployment_rows.html"}

    def context(self) -> dict[str, Any]:
        """A page of deployments, their schedules and strips (four queries)."""
        query, user = self.reader.query, self.reader.user
        deployments = deployment_rows(Deployment.objects.listed_for(user))
        if text := query.get("q", "").strip()[:200]:
            flow, _, name = text.rpartition("/")
            wanted = deployments.filter(flow__name__icontains=flow.strip(), name__icontains=name.strip())
            deployments = wanted if flow else wanted | deployments.filter(flow__name__icontains=text)
        begin = self.reader.begin
        found = list(deployments[begin : begin + DEPLOYMENTS + 1])
        ids = [deployment.id for deployment in found[:DEPLOYMENTS]]
        return {
            "deployments": found[:DEPLOYMENTS],
            "strips": reads.strips("deployment", ids, self.reader.now, user),
            "text": text,
            "next": self.reader.link(**{"from": begin + DEPLOYMENTS}) if len(found) > DEPLOYMENTS else None,
        }
