"""Where runs execute and how many at once: work queues, limits of tags, workers; and the server's health."""

from collections.abc import Iterator
from typing import Any

from orchestrator.client.calling import Calling, Id, read
from orchestrator.client.results import ConcurrencyLimit, Health, Worker, WorkQueue


class WorkCalls(Calling):
    """What can be done with queues, limits and workers."""

    def health(self) -> Health:
        """Return whether the server works, its version, and, of a signed-in caller's, its parts."""
        return read(Health, self.calls.get("health/"))

    def list_work_queues(self, *, name: str = "") -> Iterator[WorkQueue]:
        """Yield work queues by name."""
        return self._each(WorkQueue, "work-queues/", name=name)

    def get_work_queue(self, queue: Id) -> WorkQueue:
        """Return a work queue by id."""
        return read(WorkQueue, self.calls.get(f"work-queues/{queue}/"))

    def create_work_queue(self, name: str, **fields: Any) -> WorkQueue:
        """Make a work queue: also `description`, `limit`, `priority`."""
        return read(WorkQueue, self.calls.post("work-queues/", {"name": name, **fields}))

    def change_work_queue(self, queue: Id, **changes: Any) -> WorkQueue:
        """Change the fields that are given."""
        return read(WorkQueue, self.calls.patch(f"work-queues/{queue}/", changes))

    def pause_work_queue(self, queue: Id) -> WorkQueue:
        """Let its runs wait."""
        return read(WorkQueue, self.calls.post(f"work-queues/{queue}/pause/"))

    def resume_work_queue(self, queue: Id) -> WorkQueue:
        """Let its runs start again."""
        return read(WorkQueue, self.calls.post(f"work-queues/{queue}/resume/"))

    def delete_work_queue(self, queue: Id) -> None:
        """Delete a work queue that nothing uses."""
        self.calls.delete(f"work-queues/{queue}/")

    # Concurrency limits

    def list_concurrency_limits(self, *, tag: str = "") -> Iterator[ConcurrencyLimit]:
        """Yield the limits of tags."""
        return self._each(ConcurrencyLimit, "concurrency-limits/", tag=tag)

    def get_concurrency_limit(self, limit_id: Id) -> ConcurrencyLimit:
        """Return a limit by id."""
        return read(ConcurrencyLimit, self.calls.get(f"concurrency-limits/{limit_id}/"))

    def create_concurrency_limit(self, tag: str, limit: int) -> ConcurrencyLimit:
        """Limit how many task runs with a tag run at once."""
        return read(ConcurrencyLimit, self.calls.post("concurrency-limits/", {"tag": tag, "limit": limit}))

    def change_concurrency_limit(self, limit_id: Id, limit: int) -> ConcurrencyLimit:
        """Set another limit."""
        return read(ConcurrencyLimit, self.calls.patch(f"concurrency-limits/{limit_id}/", {"limit": limit}))

    def reset_concurrency_limit(self, limit_id: Id) -> int:
        """Free every slot that is held, whoever holds it; return how many those were."""
        return int(self.calls.post(f"concurrency-limits/{limit_id}/reset/")["freed"])

    def delete_concurrency_limit(self, limit_id: Id) -> None:
        """Take a limit away."""
        self.calls.delete(f"concurrency-limits/{limit_id}/")

    # Workers

    def list_workers(self, *, name: str = "", alive: bool | None = None) -> Iterator[Worker]:
        """Yield workers, the newest first."""
        return self._each(Worker, "workers/", name=name, alive=alive)

    def get_worker(self, worker: Id) -> Worker:
        """Return a worker by id."""
        return read(Worker, self.calls.get(f"workers/{worker}/"))
