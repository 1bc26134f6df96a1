"""`GET /api/snapshots/<hash>/pack/`: a snapshot's files, for runs on any machine.

An ASGI application of its own, like `runs.slot_stream`: who reads slowly holds no thread of the site, and renewals of
leases go on. A pack takes about a mebibyte of memory, and the list of its pieces; how many are sent at once is bounded
for all, for a team and for a caller, so that no run and no team keeps the code from the others.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from typing import Final

from django.db import DatabaseError, InterfaceError, OperationalError
from rest_framework import exceptions
from rest_framework.request import Request

from flows.snapshot_actions import note_use, pieces_of
from flows.snapshots import Snapshot
from orchestrator.problems import Busy
from orchestrator.sdk.snapshots.manifest import MAX_MANIFEST_BYTES, PIECE_BYTES, BadSnapshot, kept_pieces
from orchestrator.sdk.snapshots.pack import MEDIA_TYPE, frame, inflated
from runs.code_access import found_snapshot
from runs.models import Attempt
from runs.streams import Message, Receive, Send, authenticated, disconnected, in_thread, refuse, start

MOST: Final = 32  #: packs that one web process sends at once
MOST_OF_TEAM: Final = 16
MOST_OF_CALLER: Final = 2  #: a run fetches one; another may be left over from a connection that broke
WAIT_SECONDS: Final = 15.0  #: for others to end: who fetches waits 30 for an answer, and asks again after a 503
SEND_BYTES: Final = 64 * 1024
SEND_SECONDS: Final = 30.0  #: who takes longer for so much is left …
GRACE_SECONDS: Final = 60.0
LEAST_BYTES_PER_SECOND: Final = 32 * 1024  #: … and who is slower than this, after the first minute
_GROUP_PIECES: Final = 200  #: read at once, of a mebibyte together
_DIGEST_BYTES: Final = 32

_PATH: Final = re.compile(r"/api/snapshots/([^/]+)/pack/?")

log = logging.getLogger(__name__)


def serves(scope: Message) -> bool:
    """Whether a request is for a pack."""
    return scope["method"] in ("GET", "HEAD") and _PATH.fullmatch(_path(scope)) is not None


class Places:
    """How many packs are sent now, by what they are bounded for."""

    def __init__(self) -> None:
        self._taken: Counter[Hashable] = Counter()
        self._freed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def taken(self, bounds: dict[Hashable, int]) -> AsyncIterator[None]:
        """Hold a place under each of these bounds. Raises Busy where there is none for 15 seconds."""
        async with self._freed:
            try:
                await asyncio.wait_for(self._freed.wait_for(lambda: self._has_room(bounds)), WAIT_SECONDS)
            except TimeoutError:
                raise Busy("Many fetch code from this server just now. Ask again in a moment.") from None
            self._taken.update(bounds.keys())
        try:
            yield
        finally:
            self._taken.subtract(bounds.keys())
            self._taken = +self._taken  # those that are 0 go
            async with self._freed:
                self._freed.notify_all()

    def _has_room(self, bounds: dict[Hashable, int]) -> bool:
        return all(self._taken[key] < most for key, most in bounds.items())


_places = Places()


async def stream(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one pack; one that cannot be sent whole breaks off without its end."""
    gone = None
    try:
        request, snapshot = await in_thread(_asked, scope)
        if scope["method"] == "HEAD":
            await start(send, 200, MEDIA_TYPE)
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.create_task(disconnected(receive))
        async with _places.taken(_bounds(request, snapshot)):
            first, groups = await in_thread(_listed, snapshot)
            await start(send, 200, MEDIA_TYPE)
            await _Sending(snapshot, gone, send).all(first, groups)
    except (exceptions.APIException, OperationalError, InterfaceError) as error:
        await refuse(send, error)
    except OSError:  # who fetches went away
        pass
    finally:
        if gone is not None:
            gone.cancel()


class _Sending:
    """A pack on its way."""

    def __init__(self, snapshot: Snapshot, gone: "asyncio.Task[None]", send: Send) -> None:
        self._snapshot = snapshot
        self._gone = gone
        self._send = send
        self._until = time.monotonic() + GRACE_SECONDS + snapshot.size / LEAST_BYTES_PER_SECOND

    async def all(self, first: bytes, groups: list[bytes]) -> None:
        """Send the list of files and all pieces; without the end where somebody is gone or too slow, or one is lost."""
        try:
            await self._part(first)
            for group in groups:
                await self._part(await in_thread(_read, self._snapshot, group))
            await self._within({"type": "http.response.body", "body": b""})
        except TimeoutError:
            log.warning("The snapshot %s is not sent on: it is taken too slowly.", self._snapshot)
        except ConnectionError:
            pass
        except (BadSnapshot, DatabaseError) as error:
            log.error("The snapshot %s cannot be sent on: %s", self._snapshot, error)

    async def _part(self, data: bytes) -> None:
        for begin in range(0, len(data), SEND_BYTES):
            if self._gone.done():
                raise ConnectionAbortedError
            part = data[begin : begin + SEND_BYTES]
            await self._within({"type": "http.response.body", "body": part, "more_body": True})

    async def _within(self, message: Message) -> None:
        """Send. Raises TimeoutError."""
        await asyncio.wait_for(self._send(message), min(SEND_SECONDS, self._until - time.monotonic()))


def _asked(scope: Message) -> tuple[Request, Snapshot]:
    """Return who asks, and for which snapshot (three queries). Raises APIException."""
    request = authenticated(scope)
    match = _PATH.fullmatch(_path(scope))
    snapshot = found_snapshot(request, match[1] if match else "")
    note_use(snapshot)
    return request, snapshot


def _bounds(request: Request, snapshot: Snapshot) -> dict[Hashable, int]:
    caller = request.auth.flow_run_id if isinstance(request.auth, Attempt) else request.user.pk
    return {"all": MOST, ("team", snapshot.team_id): MOST_OF_TEAM, ("caller", caller): MOST_OF_CALLER}


def _listed(snapshot: Snapshot) -> tuple[bytes, list[bytes]]:
    """Return the first frame, and the digests of the pieces: in bytes, those that are read at once together."""
    data = bytes(snapshot.manifest)  # one query: it is not held while a place is waited for
    sizes = kept_pieces(inflated(data, MAX_MANIFEST_BYTES))
    return frame(data), list(_grouped(sizes))


def _grouped(sizes: dict[str, int]) -> Iterator[bytes]:
    group, total = bytearray(), 0
    for digest, size in sizes.items():
        if group and (total + size > PIECE_BYTES or len(group) >= _GROUP_PIECES * _DIGEST_BYTES):
            yield bytes(group)
            group, total = bytearray(), 0
        group += bytes.fromhex(digest)
        total += size
    if group:
        yield bytes(group)


def _read(snapshot: Snapshot, group: bytes) -> bytes:
    digests = [group[at : at + _DIGEST_BYTES].hex() for at in range(0, len(group), _DIGEST_BYTES)]
    return b"".join(map(frame, pieces_of(snapshot, digests)))


def _path(scope: Message) -> str:
    """The address within the site."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
