"""The work queues, and one: what holds its places, what waits and in which order, who serves it."""

from typing import Any
from uuid import UUID

from django.http import Http404

from flows.models import WorkQueue
from runs import limits, serving
from runs.claims import CLAIM_ORDER
from runs.models import FlowRun
from runs.reads import rows
from runs.views.live_page import LivePage, Reader
from runs.views.run_list import with_seconds
from runs.views.worker_pages import looks

QUEUES = 50
HOLDERS = 50
WAITING = 50
DEPLOYMENTS = 20


class QueuesPage(LivePage):
    """All work queues, those that are served first before the others."""

    template = "runs/queues.html"
    regions = {"rows": "runs/_queue_rows.html"}

    def context(self) -> dict[str, Any]:
        """A page of queues, with what is in progress and what waits (three queries)."""
        queues = WorkQueue.objects.listed_for(self.reader.user).order_by("-priority", "name", "id")
        begin = self.reader.begin
        found = list(queues[begin : begin + QUEUES + 1])
        shown = found[:QUEUES]
        return {
            "queues": shown,
            "used": serving.in_progress_on(shown),
            "waiting": serving.waiting_on(shown, self.reader.now),
            "next": self.reader.link(**{"from": begin + QUEUES}) if len(found) > QUEUES else None,
        }


class QueuePage(LivePage):
    """One work queue."""

    template = "runs/queue.html"
    regions = {
        "head": "runs/_queue_head.html",
        "holders": "runs/_queue_holders.html",
        "waiting": "runs/_queue_waiting.html",
        "about": "runs/_queue_about.html",
    }

    def __init__(self, reader: Reader, queue_id: UUID) -> None:
        """Read the queue (one query)."""
        super().__init__(reader)
        self.queue = queue_of(reader.user, queue_id)

    def context(self) -> dict[str, Any]:
        """Eight queries."""
        queue, now = self.queue, self.reader.now
        runs = FlowRun.objects.filter(queue=queue)
        waiting = rows(FlowRun.objects.due(now).filter(queue=queue)).order_by(*CLAIM_ORDER)
        holders = rows(limits.in_progress(runs)).order_by("state_time", "id")
        return {
            "queue": queue,
            "used": limits.in_progress(runs).count(),
            "holders": with_seconds(list(holders[:HOLDERS]), now),
            "waiting": list(waiting[:WAITING]),
            "waiting_count": limits.waiting(queue),
            "workers": looks(serving.serving(queue, now), now),
            "deployments": list(queue.deployments.select_related("flow").order_by("flow__name", "name")[:DEPLOYMENTS]),
        }


def queue_of(user: Any, queue_id: UUID) -> WorkQueue:
    """Return a queue that this user may see. Raises Http404."""
    queue: WorkQueue | None = WorkQueue.objects.visible_to(user).filter(pk=queue_id).first()
    if queue is None:
        raise Http404
    return queue
