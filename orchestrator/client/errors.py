"""What a call can fail with.

ClientError
├── NotReached    nobody answered, also not when asked again
├── Refused       the server said no: status, code, field
└── StillRunning  a run that was waited for has not ended in time
"""

from typing import Any

from orchestrator.sdk.exceptions import OrchestratorError


class ClientError(OrchestratorError):
    """A call did not do what was asked for."""


class NotReached(ClientError):
    """Nobody answered, also not when asked again."""


class StillRunning(ClientError):
    """A run that was waited for has not ended in time; it goes on."""


class Refused(ClientError):
    """The server said no.

    Attributes:
        status: 401, 403, 404, 409, …
        code: For programs: `not_found`, `conflict`, `changed_meanwhile`, ….
        field: The part of the request that was wrong; empty where it was none.
        errors: Every such part, where there are several.
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code") or "error")
        self.field = str(problem.get("field") or "")
        self.errors: list[dict[str, str]] = problem.get("errors") or []
        message = str(problem.get("message") or f"The server answered {status}.")
        super().__init__(f"{self.field}: {message}" if self.field else message)
