"""The client: a method for everything that programs do with the API, in groups that stand in modules of their own."""

import os
from types import TracebackType

from orchestrator.client.blocks import BlockCalls
from orchestrator.client.deployments import DeploymentCalls
from orchestrator.client.errors import ClientError, Refused
from orchestrator.client.flow_runs import FlowRunCalls
from orchestrator.client.notifications import NotificationCalls
from orchestrator.client.people import PeopleCalls
from orchestrator.client.transport import RequestsTransport
from orchestrator.client.work import WorkCalls
from orchestrator.rest import Answer, Calls


class _Calls(Calls):
    def refused(self, answer: Answer) -> Exception:
        problem = answer.data if isinstance(answer.data, dict) else {}
        return Refused(answer.status, problem)


class Client(DeploymentCalls, FlowRunCalls, BlockCalls, WorkCalls, NotificationCalls, PeopleCalls):
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
        self.calls = _Calls(self._transport, wanted)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._transport.session.close()
