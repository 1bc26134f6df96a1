"""Supervision over HTTP, by a worker that has the broker and the API and no database.

Every request may be sent twice: the worker's id is its own, a claim has an id by which the same run is the
answer, and all else says how things are. So whatever is lost in the network is asked again at the next turn.
"""

import http.client
import json
import logging
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from orchestrator._version import __version__
from orchestrator.sdk.boot import boot_seconds
from orchestrator.sdk.carrier import Carrier
from orchestrator.sdk.home import Home
from orchestrator.sdk.host_protocol import Start
from orchestrator.sdk.ids import uuid7
from runs import limits_file
from runs.claims import Renewal
from runs.supervision.base import MAX_REQUESTS, Assignment, Leases, Supervision, Unreachable
from runs.workers import load_here

TIMEOUT_SECONDS: Final = 4.0  # less than the time between two renewals
LAST_FACTS_SECONDS: Final = 5.0
TAGS_SECONDS: Final = 2.0  # between looks at which tags are limited

_log = logging.getLogger(__name__)


class Refused(Unreachable):
    """The server answered, and said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpSupervision(Supervision):
    """Claims and leases through `/api/workers/` (`runs.api.workers`); facts through `/api/ingest/`."""

    sweep_seconds = 2.0  # bells make it quick; each look is a request

    def __init__(self, home: Home, url: str, token: str, about: Mapping[str, Any]) -> None:
        """Keep where the server is.

        Args:
            home: Where the runs of this worker record; it belongs to that server.
            url: The server's address.
            token: A personal token; the worker works for its team.
            about: What the server is told of this worker: name, host, pid, places, and queues by name.
        """
        self.id = uuid7()
        self._url = url.rstrip("/").removesuffix("/api")
        self._about = {"id": str(self.id), **about}
        self._calls = _Calls(self._url, token)
        self._carrier = Carrier(home, self._url, token)
        self._home = home
        self._tags_at = 0.0
        self._leases = Leases(20.0, 5.0, 5.0)
        self._queues: list[str] = []
        self._call_keys: list[str] = []
        self._requests: list[UUID] = []  # of claims whose answer has not come

    @property
    def worker_id(self) -> UUID:
        """Its own, made here."""
        return self.id

    def call_keys(self) -> list[str]:
        """Those that the server told last: a heartbeat brings them along, since its secret key may be rotated."""
        return self._call_keys

    @property
    def leases(self) -> Leases:
        """Those that the server told at the last sign-on."""
        return self._leases

    def sign_on(self) -> None:
        """Enter the worker's row. Signing on again changes nothing but that it is there."""
        answer = self._calls.post("", self._about)
        self._leases = Leases(**answer["leases"])
        self._queues = list(answer["celery_queues"])
        self._call_keys = list(answer.get("call_keys", []))

    def sign_off(self) -> None:
        """Say that it stopped, and give back claims whose answer never came."""
        self._post("sign-off", {"requests": list(map(str, self._requests))})

    def celery_queues(self) -> list[str]:
        """Those of the last answer: each claim brings them along."""
        return self._queues

    def claim_some(self, most: int) -> list[Assignment]:
        """Claim, under the same ids until an answer comes: places only grow free meanwhile."""
        self._requests = self._requests or [uuid7() for _ in range(min(most, MAX_REQUESTS))]
        asked_at = boot_seconds()  # of this request: what is answered again begins its lease anew
        answer = self._post("claim", {"requests": list(map(str, self._requests))})
        self._requests = []
        self._queues = list(answer["celery_queues"])
        return [self._assignment(given, asked_at) for given in answer["assignments"]]

    def _assignment(self, given: Mapping[str, Any], asked_at: float) -> Assignment:
        start = msgspec.convert(given["start"], Start)
        start.api_url = self._url  # by which this machine reaches it
        return Assignment(UUID(start.run), start.attempt, given["label"], start, given["reruns"], asked_at)

    def release(self, assignment: Assignment) -> None:
        """Undo the claim."""
        self._post("release", {"run": str(assignment.run_id), "attempt": assignment.attempt})

    def began(self, assignment: Assignment) -> None:
        """The server has told live pages with the claim."""

    def renew(self, held: Mapping[UUID, int], heard_at: datetime | None = None) -> Renewal:
        """Extend the leases; the same request is the heartbeat."""
        attempts = {str(run_id): attempt for run_id, attempt in held.items()}
        state = {"load": load_here(), "heard_at": heard_at.isoformat() if heard_at else None}
        answer = self._post("renew", {"held": attempts, **state})
        self._call_keys = list(answer.get("call_keys", self._call_keys))
        cancel, lost = ({UUID(run_id) for run_id in answer[name]} for name in ("cancel", "lost"))
        return Renewal(frozenset(cancel), frozenset(lost))

    def state_names(self, run_ids: Collection[UUID]) -> dict[UUID, str]:
        """One request a run; few end in the same moment."""
        names = {}
        for run_id in run_ids:
            with suppress(Refused):  # deleted
                names[run_id] = self._calls.get(f"/api/flow-runs/{run_id}/")["state_name"]
        return names

    def tend_facts(self) -> None:
        """Have a thread carry this home's journals to the server, and keep its file of limited tags right."""
        self._carrier.ensure()
        now = time.monotonic()
        if now >= self._tags_at:
            self._tags_at = now + TAGS_SECONDS
            limits_file.write(self._home, self._calls.get("/api/slots/tags/")["tags"])

    def end_facts(self) -> None:
        """Carry what is there."""
        self._carrier.stop(LAST_FACTS_SECONDS)

    def end_thread(self) -> None:
        """Close this thread's connection."""
        self._calls.close()

    def _post(self, verb: str, body: Mapping[str, Any]) -> Any:
        try:
            return self._calls.post(f"{self.id}/{verb}/", body)
        except Refused as error:
            if error.status == 404:  # its row is gone: an older database was brought back, or it was away for a month
                self.sign_on()
            raise


class _Calls:
    """Requests, each thread over a connection of its own that is kept open."""

    def __init__(self, url: str, token: str) -> None:
        self._parts = urlsplit(url)
        self._prefix = self._parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": f"orchestrator-worker/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._local = threading.local()

    def get(self, path: str) -> Any:
        """Return what GET answers. Raises Unreachable, Refused."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what POST /api/workers/{path} answers. Raises Unreachable, Refused."""
        return self._call("POST", f"/api/workers/{path}", json.dumps(body).encode())

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        connection = self._connection()
        is_kept = connection.sock is not None
        try:
            status, answer = self._exchange(connection, method, path, body)
        except (http.client.HTTPException, ConnectionError) as error:
            connection.close()
            if not is_kept:
                raise Unreachable(f"{self._parts.netloc} does not answer: {_words(error)}") from None
            return self._call(method, path, body)  # it closed a connection that had been idle
        except OSError as error:
            connection.close()
            raise Unreachable(f"{self._parts.netloc} does not answer: {_words(error)}") from None
        try:
            decoded = json.loads(answer) if answer else None
        except ValueError:
            raise Unreachable(f"{self._parts.netloc} does not answer as this API does ({status})") from None
        if status >= 500:
            raise Unreachable(f"{self._parts.netloc} answered {status}")
        if status >= 300:
            said = decoded.get("message") if isinstance(decoded, dict) else None
            raise Refused(status, f"{self._parts.netloc} says no ({status}): {said or 'no reason given'}")
        return decoded

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes]:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        connection.request(method, self._prefix + path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_SECONDS)
            self._local.connection = connection
        return connection


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
