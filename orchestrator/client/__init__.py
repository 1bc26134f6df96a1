"""A typed client of the REST API, for programs: `from orchestrator.client import Client`."""

from orchestrator.client.client import Client
from orchestrator.client.errors import ClientError, NotReached, Refused, StillRunning
from orchestrator.client.results import (
    ConcurrencyLimit,
    Deployment,
    FlowRun,
    FlowRunDetail,
    Log,
    MadeToken,
    RunError,
    Schedule,
    Token,
    WorkQueue,
)

__all__ = [
    "Client", "ClientError", "ConcurrencyLimit", "Deployment", "FlowRun", "FlowRunDetail", "Log", "MadeToken",
    "NotReached", "Refused", "RunError", "Schedule", "StillRunning", "Token", "WorkQueue",
]  # fmt: skip
