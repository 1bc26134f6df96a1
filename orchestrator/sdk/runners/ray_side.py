"""What Ray's processes do for `RayTaskRunner`; they import it from here."""

from __future__ import annotations

import threading
from typing import Any, Final

from orchestrator.sdk.runners.attempts import Channel, execute
from orchestrator.sdk.runners.calls import Message
from orchestrator.sdk.runners.listening import connect
from orchestrator.sdk.runners.main_thread import MainThread
from orchestrator.sdk.runners.ray import FETCH

_SMALL: Final = 64 * 1024  #: bytes of an outcome that goes as a message, which saves fetching it

_link: tuple[str, _Link] | None = None  # to the flow's process that this one executed for last


class _Link(MainThread):
    """The connection to a flow's process; the attempts that it sends here execute in the main thread."""

    has_terminal = False


class _Kept(Channel):
    """Keeps what an attempt says until it has ended, where the flow's process cannot be reached."""

    has_terminal = False

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []

    def send(self, kind: int, body: bytes) -> None:
        """Keep a message."""
        self.messages.append((int(kind), body))


def execute_in_ray(address: str, token: str, attempt: str, payload: bytes) -> Any:
    """Execute an attempt in this process of Ray's.

    Returns:
        None where its outcome was sent; the outcome, where it is too big for a message; all messages, outcome included,
        where there is no connection.
    """
    link = _link_to(address, token)
    if link is None:
        kept = _Kept()
        outcome = execute(payload, kept)
        return [*kept.messages, (int(Message.OUTCOME), outcome)]
    outcome = link.execute(attempt, payload)
    if len(outcome) <= _SMALL:
        link.send(Message.OUTCOME, outcome, attempt)
        return None if link.is_open else [(int(Message.OUTCOME), outcome)]
    link.send(FETCH, b"", attempt)
    return outcome if link.is_open else [(int(Message.OUTCOME), outcome)]


def _link_to(address: str, token: str) -> _Link | None:
    """Return the connection to a flow's process, made at its first attempt here; None where it cannot be reached."""
    global _link
    if _link is not None and _link[0] == token and _link[1].is_open:
        return _link[1]
    if not address or threading.current_thread() is not threading.main_thread():
        return None
    try:
        link = _Link(connect(address, token))
    except OSError:
        return None
    _link = token, link
    threading.Thread(target=link.listen, name="orchestrator-listener", daemon=True).start()
    return link
