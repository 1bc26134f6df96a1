"""Flow runs: reading, waiting, cancelling, retrying, one by one and many at once."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestrator.client.calling import Calling, Id, read
from orchestrator.client.errors import StillRunning
from orchestrator.client.results import (
    BulkAnswer,
    FlowRun,
    FlowRunDetail,
    Log,
    ResourceSample,
    TaskRun,
    Why,
)


class FlowRunCalls(Calling):
    """What can be done with flow runs."""

    def list_flow_runs(
        self,
        *,
        state: str | Sequence[str] = (),
        flow: str = "",
        deployment: str = "",
        tag: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        most: int | None = None,
    ) -> Iterator[FlowRun]:
        """Yield runs, newest first, read page by page; at most `most`."""
        asked = {
            "state": [state] if isinstance(state, str) else list(state), "flow": flow, "deployment": deployment,
            "tag": tag, "since": since and since.isoformat(), "until": until and until.isoformat(),
        }  # fmt: skip
        return self._each(FlowRun, "flow-runs/", most, **asked)

    def get_flow_run(self, flow_run: Id) -> FlowRunDetail:
        """Return a run with its parameters and its error."""
        return read(FlowRunDetail, self.calls.get(f"flow-runs/{flow_run}/"))

    def wait_for_flow_run(
        self, flow_run: Id, *, timeout: float | None = None, poll_seconds: float = 1.0
    ) -> FlowRunDetail:
        """Return a run once it has ended. Raises StillRunning after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (run := self.get_flow_run(flow_run)).is_final:
            if deadline is not None and time.monotonic() >= deadline:
                raise StillRunning(f"Run {run.name} ({run.id}) is {run.state_name} after {timeout} s.")
            time.sleep(poll_seconds)
        return run

    def list_task_runs(self, flow_run: Id, *, state: str = "") -> Iterator[TaskRun]:
        """Yield a run's task runs, in the order in which they were made."""
        return self._each(TaskRun, f"flow-runs/{flow_run}/task-runs/", state=state)

    def flow_run_logs(self, flow_run: Id, *, after: Id | None = None) -> Iterator[Log]:
        """Yield the lines of a run's log that are there, oldest first."""
        while True:
            page = self.calls.get(f"flow-runs/{flow_run}/logs/", after=after, limit=1000)
            yield from read(list[Log], page["results"])
            if (after := page["next"]) is None:
                return

    def flow_run_resources(self, flow_run: Id) -> list[ResourceSample]:
        """Return a run's memory and processor use, oldest first."""
        return read(list[ResourceSample], self.calls.get(f"flow-runs/{flow_run}/resources/")["results"])

    def why_flow_run(self, flow_run: Id) -> Why:
        """Return why a run does not start, from the code that decides."""
        return read(Why, self.calls.get(f"flow-runs/{flow_run}/why/"))

    def cancel_flow_run(self, flow_run: Id) -> FlowRun:
        """Cancel a run: at once if it waits, else its process is asked to stop."""
        return read(FlowRun, self.calls.post(f"flow-runs/{flow_run}/cancel/"))

    def retry_flow_run(self, flow_run: Id) -> FlowRun:
        """Continue a run that has ended as its next attempt."""
        return read(FlowRun, self.calls.post(f"flow-runs/{flow_run}/retry/"))

    def rerun_flow_run(self, flow_run: Id) -> FlowRun:
        """Make a new run with the same parameters."""
        return read(FlowRun, self.calls.post(f"flow-runs/{flow_run}/rerun/"))

    def delete_flow_run(self, flow_run: Id) -> None:
        """Delete a run that has ended."""
        self.calls.delete(f"flow-runs/{flow_run}/")

    def bulk_flow_runs(
        self, verb: str, filter: Mapping[str, Any], *, dry_run: bool = False, after: str | None = None, key: str = ""
    ) -> BulkAnswer:
        """Cancel, retry, rerun or delete what matches a filter, some at a time: again with `after=answer.next`."""
        said: dict[str, Any] = {"verb": verb, "filter": dict(filter), "dry_run": dry_run, "after": after}
        return read(BulkAnswer, self.calls.post("flow-runs/bulk/", said | ({"key": key} if key else {})))
