"""Bringing a snapshot to the server: only what it does not have already, some megabytes a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.rest import TEAM, Calls
from orchestrator.sdk.snapshots.pack import MEDIA_TYPE, deflated, packed
from orchestrator.snapshots.collecting import Collected

REQUEST_BYTES: Final = 4 * 1024 * 1024  #: of deflated pieces in one request
_TURNS: Final = 3  #: the server may have forgotten pieces, of which it said before that it had them


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was done: how many bytes of contents were sent, deflated; none where the server had all."""

    sent: int = 0


def max_bytes(calls: Calls) -> int:
    """Return how large a snapshot the server takes."""
    return int(calls.get("snapshots/limits/")["max_bytes"])


def push(
    calls: Calls,
    collected: Collected,
    *,
    team: str | None = None,
    progress: Callable[[int, int], Any] = lambda *_: None,
) -> Pushed:
    """Bring a snapshot to the server.

    Args:
        calls: The API.
        collected: The snapshot.
        team: For which team; the caller's own without it.
        progress: Called after each request with how many pieces were sent of how many.

    Raises:
        CannotCollect: A file changed meanwhile.
    """
    sent = 0
    missing = _post(calls, collected, [], team)
    for _ in range(_TURNS):
        if not missing:
            break
        done, batch, size = 0, [], 0
        for number, digest in enumerate(missing, 1):
            batch.append(deflated(collected.piece(digest)))
            size += len(batch[-1])
            if size >= REQUEST_BYTES or number == len(missing):
                remaining = _post(calls, collected, batch, team)
                done, sent = number, sent + size
                progress(done, len(missing))
                batch, size = [], 0
        missing = remaining
    return Pushed(sent)


def _post(calls: Calls, collected: Collected, batch: list[bytes], team: str | None) -> list[str]:
    headers = {"Content-Type": MEDIA_TYPE, **({TEAM: team} if team else {})}
    answer = calls.post("snapshots/", b"".join(packed(collected.manifest, batch)), headers)
    return list(answer["missing"])
