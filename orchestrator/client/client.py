"""The client: a method for each thing that programs do with the API. Names and ids are taken alike."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from orchestrator.client.errors import ClientError, Refused, StillRunning
from orchestrator.client.results import (
    ConcurrencyLimit,
    Deployment,
    FlowRun,
    FlowRunDetail,
    Log,
    MadeToken,
    Schedule,
    Token,
    WorkQueue,
)
from orchestrator.client.transport import RequestsTransport
from orchestrator.rest import IDEMPOTENCY_KEY, Answer, Calls

Kind = TypeVar("Kind")
Id = UUID | str


class _Calls(Calls):
    def refused(self, answer: Answer) -> Exception:
        problem = answer.data if isinstance(answer.data, dict) else {}
        return Refused(answer.status, problem)


class Client:
    """The REST API of a server.

        with Client("http://127.0.0.1:4200", token) as client:
            run = client.run_deployment("etl/nightly", {"day": "2026-03-01"})
            run = client.wait_for_flow_run(run.id)

    Calls are sent again after a lost connection, a 5xx or a 429; those that make something are done once all the same.
    Each raises `Refused` where the server says no, and `NotReached` where it does not answer.

    Args:
        url: Of the server; `ORCHESTRATOR_API_URL` by default.
        token: `ORCHESTRATOR_API_TOKEN` by default.
        team: For which team calls make things, where that is not the token's; `ORCHESTRATOR_TEAM` by default.
        timeout: Seconds to wait for each answer.
        retries: How often a call is sent again.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        team: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
    ) -> None:
        base = (url or os.environ.get("ORCHESTRATOR_API_URL", "")).strip().rstrip("/").removesuffix("/api")
        if not base.startswith(("http://", "https://")):
            raise ClientError("Say where the server is: Client('http://host:4200'), or set ORCHESTRATOR_API_URL.")
        secret = (token or os.environ.get("ORCHESTRATOR_API_TOKEN", "")).strip()
        self._transport = RequestsTransport(base, secret, timeout=timeout, retries=retries)
        wanted = (team or os.environ.get("ORCHESTRATOR_TEAM", "")).strip()
        self.calls: Calls = _Calls(self._transport, wanted)  #: any other call: `client.calls.get("health/")`

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._transport.session.close()

    # Deployments

    def list_deployments(
        self, *, name: str = "", flow: str = "", tag: str = "", paused: bool | None = None
    ) -> Iterator[Deployment]:
        """Yield deployments by name, read page by page."""
        return self._each(Deployment, "deployments/", name=name, flow=flow, tag=tag, paused=paused)

    def get_deployment(self, deployment: Id) -> Deployment:
        """Return a deployment by id, or by flow-name/deployment-name."""
        return _read(Deployment, self.calls.get(f"deployments/{self._deployment(deployment)}/"))

    def run_deployment(
        self,
        deployment: Id,
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        expected_start: datetime | None = None,
        idempotency_key: str = "",
    ) -> FlowRun:
        """Run a deployment, now or at a time (aware); with a key of yours, once whoever calls with it."""
        said = {
            "parameters": dict(parameters or {}), "name": name, "tags": list(tags),
            "expected_start": expected_start and expected_start.isoformat(),
        }  # fmt: skip
        headers = {IDEMPOTENCY_KEY: idempotency_key} if idempotency_key else None
        return _read(FlowRun, self.calls.post(f"deployments/{self._deployment(deployment)}/runs/", said, headers))

    def change_deployment(self, deployment: Id, **changes: Any) -> Deployment:
        """Change the fields that are given: description, parameters, tags, queue, limit, …"""
        return _read(Deployment, self.calls.patch(f"deployments/{self._deployment(deployment)}/", changes))

    def pause_deployment(self, deployment: Id) -> Deployment:
        """Stop its schedules."""
        return _read(Deployment, self.calls.post(f"deployments/{self._deployment(deployment)}/pause/"))

    def resume_deployment(self, deployment: Id) -> Deployment:
        """Let its schedules make runs again."""
        return _read(Deployment, self.calls.post(f"deployments/{self._deployment(deployment)}/resume/"))

    def delete_deployment(self, deployment: Id) -> None:
        """Delete a deployment with its schedules."""
        self.calls.delete(f"deployments/{self._deployment(deployment)}/")

    # Schedules

    def list_schedules(self, deployment: Id) -> list[Schedule]:
        """Return a deployment's schedules, in the order they were made."""
        return _read(list[Schedule], self.calls.get(f"deployments/{self._deployment(deployment)}/schedules/"))

    def add_schedule(self, deployment: Id, *, kind: str, expression: str, **fields: Any) -> Schedule:
        """Give a deployment one more schedule: kind `cron`, `weekly`, `interval` or `rrule`."""
        said = {"kind": kind, "expression": expression, **fields}
        return _read(Schedule, self.calls.post(f"deployments/{self._deployment(deployment)}/schedules/", said))

    def change_schedule(self, schedule: Id, **changes: Any) -> Schedule:
        """Change the fields that are given."""
        return _read(Schedule, self.calls.patch(f"schedules/{schedule}/", changes))

    def delete_schedule(self, schedule: Id) -> None:
        """Delete a schedule, and its runs that did not begin."""
        self.calls.delete(f"schedules/{schedule}/")

    # Flow runs

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
        return _read(FlowRunDetail, self.calls.get(f"flow-runs/{flow_run}/"))

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

    def flow_run_logs(self, flow_run: Id, *, after: Id | None = None) -> Iterator[Log]:
        """Yield the lines of a run's log that are there, oldest first."""
        while True:
            page = self.calls.get(f"flow-runs/{flow_run}/logs/", after=after, limit=1000)
            yield from _read(list[Log], page["results"])
            if (after := page["next"]) is None:
                return

    def cancel_flow_run(self, flow_run: Id) -> FlowRun:
        """Cancel a run: at once if it waits, else its process is asked to stop."""
        return _read(FlowRun, self.calls.post(f"flow-runs/{flow_run}/cancel/"))

    def retry_flow_run(self, flow_run: Id) -> FlowRun:
        """Continue a run that has ended as its next attempt."""
        return _read(FlowRun, self.calls.post(f"flow-runs/{flow_run}/retry/"))

    def rerun_flow_run(self, flow_run: Id) -> FlowRun:
        """Make a new run with the same parameters."""
        return _read(FlowRun, self.calls.post(f"flow-runs/{flow_run}/rerun/"))

    def delete_flow_run(self, flow_run: Id) -> None:
        """Delete a run that has ended."""
        self.calls.delete(f"flow-runs/{flow_run}/")

    # Work queues

    def list_work_queues(self, *, name: str = "") -> Iterator[WorkQueue]:
        """Yield work queues by name."""
        return self._each(WorkQueue, "work-queues/", name=name)

    def create_work_queue(self, name: str, **fields: Any) -> WorkQueue:
        """Make a work queue: also `description`, `limit`, `priority`."""
        return _read(WorkQueue, self.calls.post("work-queues/", {"name": name, **fields}))

    def change_work_queue(self, queue: Id, **changes: Any) -> WorkQueue:
        """Change the fields that are given."""
        return _read(WorkQueue, self.calls.patch(f"work-queues/{queue}/", changes))

    def pause_work_queue(self, queue: Id) -> WorkQueue:
        """Let its runs wait."""
        return _read(WorkQueue, self.calls.post(f"work-queues/{queue}/pause/"))

    def resume_work_queue(self, queue: Id) -> WorkQueue:
        """Let its runs start again."""
        return _read(WorkQueue, self.calls.post(f"work-queues/{queue}/resume/"))

    def delete_work_queue(self, queue: Id) -> None:
        """Delete a work queue that nothing uses."""
        self.calls.delete(f"work-queues/{queue}/")

    # Concurrency limits

    def list_concurrency_limits(self, *, tag: str = "") -> Iterator[ConcurrencyLimit]:
        """Yield the limits of tags."""
        return self._each(ConcurrencyLimit, "concurrency-limits/", tag=tag)

    def create_concurrency_limit(self, tag: str, limit: int) -> ConcurrencyLimit:
        """Limit how many task runs with a tag run at once."""
        return _read(ConcurrencyLimit, self.calls.post("concurrency-limits/", {"tag": tag, "limit": limit}))

    def change_concurrency_limit(self, limit_id: Id, limit: int) -> ConcurrencyLimit:
        """Set another limit."""
        return _read(ConcurrencyLimit, self.calls.patch(f"concurrency-limits/{limit_id}/", {"limit": limit}))

    def delete_concurrency_limit(self, limit_id: Id) -> None:
        """Take a limit away."""
        self.calls.delete(f"concurrency-limits/{limit_id}/")

    # Tokens

    def list_tokens(self) -> Iterator[Token]:
        """Yield your API tokens, newest first."""
        return self._each(Token, "tokens/")

    def create_token(self, name: str, *, expires_in: int | None = None, **fields: Any) -> MadeToken:
        """Make an API token, which expires in so many seconds; its secret is in this answer alone."""
        return _read(MadeToken, self.calls.post("tokens/", {"name": name, "expires_in": expires_in, **fields}))

    def revoke_token(self, token: Id) -> None:
        """Make a token good for nothing."""
        self.calls.delete(f"tokens/{token}/")

    def _deployment(self, deployment: Id) -> Id:
        """Return a deployment's id; a name costs a call. Raises ClientError where it is no one's or several's."""
        try:
            return UUID(str(deployment))
        except ValueError:
            found = list(self.list_deployments(name=str(deployment)))
        if len(found) != 1:
            what = (
                "is no deployment that you may see" if not found else "may be several: write flow-name/deployment-name"
            )
            raise ClientError(f"“{deployment}” {what}.")
        return found[0].id

    def _each(self, kind: type[Kind], path: str, most: int | None = None, **query: Any) -> Iterator[Kind]:
        asked = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
        for row in self.calls.each(path, most, **asked):
            yield _read(kind, row)


def _read(kind: type[Kind], data: Any) -> Kind:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ClientError(f"The server's answer is not as this client knows it: {error}.") from error
