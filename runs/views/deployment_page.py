"""One deployment: its schedules with their next times, what is to come, what ran."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404

from flows.infrastructure import left_open
from flows.models import Deployment, Schedule
from flows.schedules import Spec
from runs import reads
from runs.models import FlowRun
from runs.views.live_page import LivePage, Reader
from runs.views.run_list import with_seconds

RUNS = 15
NEXT_TIMES = 5


@dataclass(frozen=True, slots=True)
class Timetable:
    """A schedule with its plain words and next times."""

    row: Schedule
    words: str
    times: list[datetime]


def timetable(schedule: Schedule, now: datetime) -> Timetable:
    """Return a schedule with its next five times (no query)."""
    spec = Spec.of(schedule)
    try:
        times = spec.next_times(now, NEXT_TIMES)
    except (ValueError, OSError, KeyError):
        times = []
    return Timetable(schedule, spec.describe(), times)


class DeploymentPage(LivePage):
    """A deployment as its reader sees it."""

    template = "flows/deployment.html"
    regions = {
        "head": "flows/_deployment_head.html",
        "schedules": "flows/_deployment_schedules.html",
        "upcoming": "flows/_deployment_upcoming.html",
        "about": "flows/_deployment_about.html",
        "rows": "runs/_run_rows.html",
    }

    def __init__(self, reader: Reader, deployment_id: UUID) -> None:
        """Read the deployment (one query)."""
        super().__init__(reader)
        self.deployment = deployment_of(reader.user, deployment_id)

    def context(self) -> dict[str, Any]:
        """Six queries."""
        deployment, now, user = self.deployment, self.reader.now, self.reader.user
        runs = FlowRun.objects.visible_to(user).of_owner("deployment", deployment)
        schedules = deployment.schedules.select_related("calendar").order_by("created_at", "id")
        return {
            "overrides": left_open(deployment.infrastructure, deployment.infrastructure_overrides),
            "deployment": deployment,
            "schedules": [timetable(schedule, now) for schedule in schedules],
            "strip": reads.strips("deployment", [deployment.id], now, user)[deployment.id],
            "upcoming": reads.up_next(runs, now, NEXT_TIMES),
            "runs": with_seconds(reads.newest(runs.without_upcoming(now), RUNS), now),
            "same_deployment": True,
        }


def deployment_of(user: Any, deployment_id: UUID) -> Deployment:
    """Return a deployment that this user may see, with its flow, queue, block and author. Raises Http404."""
    wanted = Deployment.objects.visible_to(user).filter(id=deployment_id)
    deployment = wanted.select_related("flow", "queue", "team", "created_by", "webhook", "infrastructure").first()
    if deployment is None:
        raise Http404
    return deployment
