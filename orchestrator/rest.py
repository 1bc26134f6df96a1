"""Calling the REST API, whichever way it is reached: what the command line and `orchestrator.client` share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

PAGE = 200
IDEMPOTENCY_KEY = "Idempotency-Key"
TEAM = "Orchestrator-Team"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the decoded body (None when it is empty or no JSON)."""

    status: int
    data: Any


class Transport(Protocol):
    """A way to call the API."""

    def call(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Answer:
        """Call a path with its query. A body is a value for JSON, or bytes with their own Content-Type.

        Raises what its user is told when nobody answers.
        """


class Calls:
    """The calls of the API by method, and its lists page by page.

    Args:
        team: For which team calls make things, by name or id; empty: for the token's.
    """

    def __init__(self, transport: Transport, team: str = "") -> None:
        self._transport = transport
        self.team = team

    def refused(self, answer: Answer) -> Exception:
        """Return the error of an answer of 400 or above."""
        raise NotImplementedError

    def get(self, path: str, **query: Any) -> Any:
        """Return what GET /api/{path} answers."""
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Return what POST /api/{path} answers."""
        return self.call("POST", path, body={} if body is None else body, headers=headers)

    def put(self, path: str, body: Any) -> Any:
        """Return what PUT /api/{path} answers."""
        return self.call("PUT", path, body=body)

    def patch(self, path: str, body: Any) -> Any:
        """Return what PATCH /api/{path} answers."""
        return self.call("PATCH", path, body=body)

    def delete(self, path: str) -> None:
        """Call DELETE /api/{path}."""
        self.call("DELETE", path)

    def each(self, path: str, most: int | None = None, **query: Any) -> Iterator[Any]:
        """Yield the rows of a list, page by page, at most `most` of them."""
        cursor = None
        left = most
        while left is None or left > 0:
            page = self.get(path, **query, limit=PAGE if left is None else min(left, PAGE), cursor=cursor)
            yield from page["results"]
            cursor = page["next"]
            if cursor is None:
                return
            left = None if left is None else left - len(page["results"])

    def call(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Return what a call answers; what is None or empty is left out of its query."""
        asked = {name: value for name, value in (query or {}).items() if value not in (None, "", ())}
        target = f"/api/{quote(path)}" + (f"?{urlencode(asked, doseq=True)}" if asked else "")
        named = {TEAM: self.team} if self.team and method == "POST" else {}
        answer = self._transport.call(method, target, body, {**named, **(headers or {})})
        if answer.status >= 400:
            raise self.refused(answer)
        return answer.data
