"""Fetching a snapshot from the server, with the run's own token. Only a run whose machine lacks it imports this."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from orchestrator.sdk.snapshots.pack import MEDIA_TYPE, Read
from orchestrator.sdk.snapshots.store import SnapshotUnavailable

TIMEOUT_SECONDS: Final = 30.0
TRIES: Final = 8  #: with pauses that double: a server that restarts is waited for, about a minute
FIRST_PAUSE_SECONDS: Final = 0.25


@contextlib.contextmanager
def fetching(url: str, token: str, hash: str) -> Iterator[Read]:
    """Open the pack of a snapshot at a server.

    Args:
        url: Of the server; empty: the worker knows no address.
        token: Of the run.
        hash: Which snapshot.

    Raises:
        SnapshotUnavailable: The server refuses, or does not answer for a minute.
    """
    if not url:
        raise SnapshotUnavailable(
            "The worker that started this run knows no address from which to fetch its code; set ORCHESTRATOR_API_URL "
            "for the worker, or deploy with --source path."
        )
    connection, response = _asked(url, token, hash)
    try:
        yield response.read
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise SnapshotUnavailable(f"{url} broke off while it sent the snapshot: {error!r}") from None
    finally:
        connection.close()


def _asked(url: str, token: str, hash: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        connection = _connection(url)
        try:
            path = urlsplit(url).path.rstrip("/").removesuffix("/api")
            headers = {"Authorization": f"Bearer {token}", "Accept": MEDIA_TYPE}
            connection.request("GET", f"{path}/api/snapshots/{hash}/pack/", headers=headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            problem = f"{url} does not answer: {error}"
            continue
        if response.status == 200:
            return connection, response
        said = _words(response)
        connection.close()
        problem = f"{url} answers {response.status}: {said}"
        if response.status < 500 and response.status not in (408, 425, 429):
            break
    raise SnapshotUnavailable(f"The snapshot {hash[:12]} cannot be fetched. {problem}")


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SnapshotUnavailable(f"{url!r} is no address from which code could be fetched.")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)


def _words(response: http.client.HTTPResponse) -> str:
    try:
        return str(json.loads(response.read(65536))["message"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return response.reason
