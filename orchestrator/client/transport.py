"""Calls over requests, sent again where that does no harm: every POST carries a key by which it is done once."""

import time
from typing import Any, Final
from uuid import uuid4

import requests

from orchestrator._version import __version__
from orchestrator.client.errors import NotReached
from orchestrator.rest import IDEMPOTENCY_KEY, Answer

AGAIN: Final = frozenset({429, 500, 502, 503, 504})
MAX_PAUSE_SECONDS: Final = 30.0


class RequestsTransport:
    """A session of requests.

    Args:
        url: Of the server, without /api.
        timeout: Seconds to wait for an answer.
        retries: How often a call is sent again after a lost connection, a 5xx, or a 429.
        pause: Seconds before the first time, doubled each time.
    """

    def __init__(self, url: str, token: str, *, timeout: float, retries: int, pause: float = 0.2) -> None:
        self._url = url
        self._timeout, self._retries, self._pause = timeout, retries, pause
        self.session = requests.Session()
        self.session.headers.update({"Accept": "application/json", "User-Agent": f"orchestrator-client/{__version__}"})
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Answer:
        """Send a request until it is answered. Raises NotReached."""
        sent = dict(headers)
        if method == "POST":
            sent.setdefault(IDEMPOTENCY_KEY, uuid4().hex)
        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            pause = self._pause * 2**attempt
            try:
                content: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
                response = self.session.request(
                    method, self._url + target, **content, headers=sent, timeout=self._timeout
                )
            except requests.RequestException as error:
                if is_last:
                    raise NotReached(f"The server at {self._url} did not answer: {error}") from error
            else:
                answer = Answer(response.status_code, _decoded(response))
                if is_last or not _comes_again(answer):
                    return answer
                pause = max(pause, _asked_pause(response))
            time.sleep(min(pause, MAX_PAUSE_SECONDS))
        raise AssertionError("the last attempt returns or raises")


def _comes_again(answer: Answer) -> bool:
    """Whether the same call may be answered otherwise in a moment; also one that the server is still doing."""
    in_progress = isinstance(answer.data, dict) and answer.data.get("code") == "in_progress"
    return answer.status in AGAIN or (answer.status == 409 and in_progress)


def _asked_pause(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _decoded(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
