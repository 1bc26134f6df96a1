"""`GET /api/calls/stream/`: what workers say of a flow run's task runs, on one answer without an end.

An ASGI application of its own, like `runs.slot_stream`: it holds no thread, and takes one only to look who asks. Each
entry is checked against the key of the worker that it names, and one that this worker did not sign is left out: the
flow's process takes what comes from here for what its task runs are.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import redis.asyncio
from redis.exceptions import RedisError
from rest_framework import exceptions

from orchestrator.problems import Busy
from orchestrator.sdk.runners.call_wire import ENTRY
from orchestrator.telling import has_broker
from runs.api.access import RUNS_ONLY
from runs.calls import keys
from runs.calls.bounds import MAX_LINES
from runs.calls.keys import LINE, RunKeys
from runs.calls.sending import end
from runs.calls.signing import Forged, check_said, said_by
from runs.models import Attempt, Worker
from runs.streams import Message, Receive, Send, authenticated, disconnected, in_thread, refuse, start

PATH: Final = "/api/calls/stream/"
BLOCK_MS: Final = 2_000  #: how long it is waited for an entry; then it says that it is still there
COUNT: Final = 16  #: entries that are read at once, of half a megabyte at most
WANTED_SECONDS: Final = 5.0  #: between the words that the flow run wants its calls
TOKEN_SECONDS: Final = 15.0  #: between looks whether the token still counts
ENDED_SECONDS: Final = (0.3, 0.7, 1.0, 2.0, 4.0, 8.0)  #: after a stream broke off: looks whether its flow run has ended

MAX_STREAMS: Final = MAX_LINES  #: of an attempt at once, in one process of the server

log = logging.getLogger(__name__)
_streams: Counter[Any] = Counter()  #: by attempt
_watching: set["asyncio.Task[None]"] = set()


async def stream(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one stream."""
    try:
        request = await in_thread(authenticated, scope)
        if not isinstance(request.auth, Attempt):
            raise exceptions.PermissionDenied(RUNS_ONLY)
        if not has_broker():
            raise Busy("The broker cannot be reached now. Ask again in a moment.")
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        line, after = asked.get("line", [""])[0], asked.get("after", ["0"])[0]
        if not LINE.fullmatch(line):
            raise exceptions.ValidationError({"line": ["Write the line that was posted to."]})
        reader = _Reader(request.auth, line, after if after.replace("-", "").isdecimal() else "0")
        with _counted(request.auth):
            await start(send, 200, "application/octet-stream")
            await reader.serve(scope, receive, send)
    except exceptions.APIException as error:
        await refuse(send, error)
    except OSError:  # the process went away
        pass


@contextlib.contextmanager
def _counted(attempt: Attempt) -> Iterator[None]:
    """Count a stream, which has a connection to the broker for itself. Raises Busy where its run has enough here."""
    if _streams[attempt.pk] >= MAX_STREAMS:
        raise Busy(f"This flow run has {MAX_STREAMS} streams of task runs already. Ask again when one has ended.")
    _streams[attempt.pk] += 1
    try:
        yield
    finally:
        _streams[attempt.pk] -= 1
        if not _streams[attempt.pk]:
            del _streams[attempt.pk]


class _Reader:
    """One flow run's stream."""

    def __init__(self, attempt: Attempt, line: str, after: str) -> None:
        self._team = attempt.flow_run.team_id
        self._names = RunKeys(attempt.flow_run_id, attempt.number, line)
        self._after = after
        self._keys: dict[UUID, str] = {}
        self._wanted_at = 0.0
        self._looked_at = time.monotonic()

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """Send entries until the process goes away, its token ends or the broker fails."""
        gone = asyncio.create_task(disconnected(receive))
        client = redis.asyncio.Redis.from_url(keys.address(), socket_connect_timeout=2.0)
        try:
            while not gone.done():
                await self._say_wanted(client)
                reading = asyncio.create_task(
                    client.xread({self._names.stream: self._after}, count=COUNT, block=BLOCK_MS)
                )
                await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    reading.cancel()
                    with contextlib.suppress(asyncio.CancelledError, RedisError):
                        await reading
                    break
                await self._send(await reading, send)
                if time.monotonic() - self._looked_at > TOKEN_SECONDS:
                    await in_thread(authenticated, scope)
                    self._looked_at = time.monotonic()
        except (RedisError, exceptions.APIException, OSError):  # the next stream says what is wrong
            pass
        finally:
            gone.cancel()
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()
            watching = asyncio.create_task(_end_with_its_run(scope, self._names))
            _watching.add(watching)
            watching.add_done_callback(_watching.discard)
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b""})

    async def _say_wanted(self, client: Any) -> None:
        now = time.monotonic()
        if now - self._wanted_at > WANTED_SECONDS:
            self._wanted_at = now
            await client.set(self._names.wanted, b"1", ex=keys.RUN_SECONDS)

    async def _send(self, answer: Any, send: Send) -> None:
        parts = []
        for entry_id, entry in answer[0][1] if answer else ():
            self._after = entry_id.decode()
            parts.append(await self._checked(entry))
        body = b"".join(parts) or ENTRY.pack(0, b"", 0, 0)
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _checked(self, entry: dict[bytes, bytes]) -> bytes:
        """Return an entry as it is sent; an empty one in the place of one that no worker of the team has signed."""
        name = self._after.encode()
        try:
            worker, number, frames = UUID(bytes=entry[b"w"]), int(entry[b"n"]), entry[b"f"]
            key = await self._key_of(worker)
            check_said(key, entry[b"s"], said_by(worker, self._names.id, number, frames))
        except (KeyError, ValueError) as error:  # Forged among them
            log.error("What is said to come from a worker about flow run %s is left out: %s.", self._names.id, error)
            return ENTRY.pack(len(name), b"", 0, 0) + name
        return ENTRY.pack(len(name), worker.bytes, number, len(frames)) + name + frames

    async def _key_of(self, worker: UUID) -> str:
        if worker not in self._keys:
            self._keys[worker] = await in_thread(partial(_key_of, worker, self._team))
        return self._keys[worker]


def _key_of(worker: UUID, team: UUID) -> str:
    """Return the key of a worker that serves a team (one query). Raises Forged where there is none."""
    row = Worker.objects.filter(pk=worker).only("team", "calls_key").first()
    if row is None or not row.calls_key or row.team_id not in (None, team):
        raise Forged(f"there is no worker {worker} for this team")
    return row.calls_key


async def _end_with_its_run(scope: Message, names: RunKeys) -> None:
    """After a stream broke off, look for some seconds whether its flow run has ended: then its processes end too.

    A flow's process that was killed cannot say that it is over. Behind this stands `keys.RUN_SECONDS`.
    """
    for seconds in ENDED_SECONDS:
        await asyncio.sleep(seconds)
        try:
            await in_thread(authenticated, scope)
        except exceptions.AuthenticationFailed:
            with contextlib.suppress(RedisError):
                await in_thread(partial(end, names))
            return
        except exceptions.APIException:
            continue
