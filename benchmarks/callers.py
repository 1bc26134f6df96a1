"""Somebody who reads pages and calls the API of a server, over one connection that stays open."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks.measures import BenchmarkError

_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Credentials:
    """How somebody is known: by a token to the API, by a session's cookie to pages."""

    token: str
    session: str
    id: str

    def headers(self, path: str) -> dict[str, str]:
        """What a request to a path is sent with."""
        return {"Authorization": f"Bearer {self.token}"} if path.startswith("/api/") else self.cookie()

    def cookie(self) -> dict[str, str]:
        """The session alone."""
        return {"Cookie": f"sessionid={self.session}"}


class Caller:
    """One connection and its credentials. A context manager."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_SECONDS)
        self.credentials = credentials

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def seconds(self, path: str) -> float:
        """Return how long a GET took until its whole answer was there. BenchmarkError unless that is 200."""
        begun = time.perf_counter()
        self.call("GET", path)
        return time.perf_counter() - begun

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        """Return the content of an answer. BenchmarkError unless it is one of success."""
        sent = {**self.credentials.headers(path), **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body)
            sent["Content-Type"] = "application/json"
        self._connection.request(method, path, content, sent)
        response = self._connection.getresponse()
        answer = response.read()
        if not 200 <= response.status < 300:
            raise BenchmarkError(f"{method} {path} answered {response.status}: {answer[:200].decode(errors='replace')}")
        return answer
