"""The workers, and one worker: whether it lives and hears, what it serves, what it runs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404

from runs import serving
from runs.models import Worker
from runs.views.live_page import LivePage, Reader
from runs.views.run_list import with_seconds

WORKERS = 50


@dataclass(frozen=True, slots=True)
class WorkerLook:
    """A worker as pages show it."""

    row: Worker
    running: int
    queues: list[str]  #: by name; empty: every one
    type: str  #: the type of state by whose shape and colour its own is shown
    word: str


def looks(workers: list[Worker], now: datetime) -> list[WorkerLook]:
    """Return workers with what they run and serve (two queries)."""
    running, names = serving.running_on(workers), serving.queue_names(workers)
    return [
        WorkerLook(
            worker,
            running.get(worker.pk, 0),
            sorted(names[queue] for queue in worker.queues if queue in names),
            *_state(worker, now),
        )
        for worker in workers
    ]


def _state(worker: Worker, now: datetime) -> tuple[str, str]:
    if worker.stopped_at is not None:
        return "CANCELLED", "Stopped"
    if not worker.is_alive(now):
        return "CRASHED", "Gone"
    return ("COMPLETED", "Alive") if worker.hears(now) else ("PAUSED", "Does not hear bells")


class WorkersPage(LivePage):
    """The workers that are there; with `?all=1` also those that are gone."""

    template = "runs/workers.html"
    regions = {"rows": "runs/_worker_rows.html"}
    sweep_seconds = 5

    def context(self) -> dict[str, Any]:
        """A page of workers (three queries)."""
        now = self.reader.now
        everyone = self.reader.query.get("all") == "1"
        workers = Worker.objects.visible_to(self.reader.user)
        workers = workers.order_by("-id") if everyone else workers.alive(now).order_by("name", "id")
        begin = self.reader.begin
        found = list(workers[begin : begin + WORKERS + 1])
        return {
            "workers": looks(found[:WORKERS], now),
            "everyone": everyone,
            "next": self.reader.link(**{"from": begin + WORKERS}) if len(found) > WORKERS else None,
        }


class WorkerPage(LivePage):
    """One worker."""

    template = "runs/worker.html"
    regions = {"head": "runs/_worker_head.html", "about": "runs/_worker_about.html", "rows": "runs/_worker_runs.html"}
    sweep_seconds = 5

    def __init__(self, reader: Reader, worker_id: UUID) -> None:
        """Read the worker (one query)."""
        super().__init__(reader)
        worker = Worker.objects.visible_to(reader.user).select_related("team").filter(pk=worker_id).first()
        if worker is None:
            raise Http404
        self.worker = worker

    def context(self) -> dict[str, Any]:
        """What it runs, of the reader's teams (three queries)."""
        now = self.reader.now
        runs = serving.runs_of(self.worker, self.reader.user)
        return {"look": looks([self.worker], now)[0], "worker": self.worker, "runs": with_seconds(runs, now)}
