"""Telling processes, by push, that task runs of theirs were granted their slots (`runs.slots`).

A process listens under an id of its own (`Slot.listener`). Who listens in this very process is told directly, the
others over the channel layer; a message that is lost costs a moment, since processes that wait also ask again.
"""

import asyncio
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from django.db import transaction

from orchestrator import telling
from runs.announcements import announce_on_commit

MESSAGE: Final = "slots.granted"
_START: Final = uuid4().hex


@dataclass(frozen=True, slots=True)
class Grant:
    """A task run that got its slots; `listener` is None where nobody is to be told."""

    task_run: UUID
    flow_run: UUID
    team: UUID
    listener: UUID | None


class Ear:
    """One listener of this process, in an event loop: grants come out of `queue`."""

    def __init__(self, listener: UUID) -> None:
        """Make it in the loop that reads it; `listening` opens it."""
        self.listener = listener
        self.queue: asyncio.Queue[Grant] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> "Ear":
        with _lock:
            _ears.setdefault(self.listener, []).append(self)
        return self

    def __exit__(self, *_error: object) -> None:
        with _lock:
            left = [ear for ear in _ears.pop(self.listener, []) if ear is not self]
            if left:
                _ears[self.listener] = left

    def hear(self, grant: Grant) -> None:
        """Take a grant, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self.queue.put_nowait, grant)
        except RuntimeError:  # its loop has ended, and the stream with it
            pass


_ears: dict[UUID, list[Ear]] = {}
_lock = threading.Lock()


def _here() -> str:
    """This process: it passes over its own messages, since it was told directly. Parts of a server are forked."""
    return f"{_START}-{os.getpid()}"


def group(listener: UUID) -> str:
    """The channel group of a listener."""
    return f"slots.{listener}"


def tell_on_commit(grants: Iterable[Grant]) -> None:
    """Tell the listeners, and the pages of the runs, once the transaction has committed. Never raises."""
    told = list(grants)
    if not told:
        return
    transaction.on_commit(lambda: _tell(told))
    announce_on_commit({grant.flow_run for grant in told})


def from_message(message: dict[str, Any]) -> list[Grant]:
    """Return the grants of a message of the channel layer; none of this process's own and of others' messages."""
    if message.get("type") != MESSAGE or message.get("from") == _here():
        return []
    return [Grant(*(UUID(id) if id else None for id in ids)) for ids in message["grants"]]  # type: ignore[arg-type]


def _tell(told: list[Grant]) -> None:
    by_listener: dict[UUID, list[Grant]] = {}
    for grant in told:
        if grant.listener is not None:
            by_listener.setdefault(grant.listener, []).append(grant)
    for listener, grants in by_listener.items():
        with _lock:
            ears = list(_ears.get(listener, ()))
        for ear in ears:
            for grant in grants:
                ear.hear(grant)
    if by_listener:
        telling.send(
            (group(listener), {"type": MESSAGE, "from": _here(), "grants": [_texts(grant) for grant in grants]})
            for listener, grants in by_listener.items()
        )


def _texts(grant: Grant) -> list[str]:
    return [str(id) if id else "" for id in (grant.task_run, grant.flow_run, grant.team, grant.listener)]
