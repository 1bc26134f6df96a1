"""How commands reach the API: a server named by the environment, the one of this machine, or this process itself."""

import os
import re
from functools import cached_property
from typing import Any

import click

from orchestrator.cli.local_server import find_local_server
from orchestrator.cli.transports import HttpTransport
from orchestrator.rest import Answer, Calls, Transport


class ApiError(click.ClickException):
    """The API said no; the message is one line that says what to do."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        """Keep the problem; `field` is named where the message does not name it."""
        message = str(problem.get("message") or f"The server answered {status}.")
        field = re.sub(r"^schedules\.\d+\.", "", str(problem.get("field") or ""))
        if (
            field not in {"", "expression", "destinations"}
            and field.rpartition(".")[2].removesuffix("s") not in message
        ):
            message = f"{field}: {message}"
        super().__init__(message)
        self.status, self.problem = status, problem


class Api(Calls):
    """The REST API, whichever way it is reached. Every call raises ApiError, NotReached.

    Attributes:
        url: Where its pages are; empty when there is no server.
    """

    def __init__(self, transport: Transport, url: str = "") -> None:
        super().__init__(transport, os.environ.get("ORCHESTRATOR_TEAM", "").strip())
        self.url = url

    @cached_property
    def serves(self) -> bool:
        """Whether deployments run: a server answers, or, without one, a worker was heard of in its database."""
        return bool(self.url) or bool(self.get("health/")["parts"]["workers"])

    def refused(self, answer: Answer) -> ApiError:
        """Return the error of an answer of 400 or above, with what to do."""
        return ApiError(answer.status, _problem(answer, self.url))


def connect() -> Api:
    """Return the API.

    In this order: `ORCHESTRATOR_API_URL` with `ORCHESTRATOR_API_TOKEN`; the server that runs on this home; this
    process, after it brought in the journals of this home.

    Raises:
        click.ClickException: There is no way to it; the message says what to do.
    """
    if url := os.environ.get("ORCHESTRATOR_API_URL", "").strip():
        base = url.rstrip("/").removesuffix("/api")
        return Api(HttpTransport(base, os.environ.get("ORCHESTRATOR_API_TOKEN", "").strip()), base)
    if server := find_local_server():
        return Api(HttpTransport(server.url, server.token, starting=True), server.url)
    from orchestrator.cli.in_process import InProcessTransport  # sets Django up: 0.4 s

    return Api(InProcessTransport())


def _problem(answer: Answer, base: str) -> dict[str, Any]:
    problem = answer.data if isinstance(answer.data, dict) else {}
    if answer.status == 404 and not problem:
        return {"message": f"{base} does not answer as this API does. Is ORCHESTRATOR_API_URL right?"}
    if answer.status == 401 and not os.environ.get("ORCHESTRATOR_API_TOKEN"):
        hint = "The server wants a token. Set ORCHESTRATOR_API_TOKEN; `orchestrator token create NAME` makes one there."
        return {**problem, "message": hint}
    return problem
