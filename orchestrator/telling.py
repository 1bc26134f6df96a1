"""Messages to whoever listens over the channel layer: open pages, and processes that wait for a slot.

A message is a hint: whoever hears it reads the database, and a sweep stands behind it.
"""

import asyncio
import functools
import logging
import os
import threading
from collections.abc import Iterable
from typing import Any, Final

from channels.layers import get_channel_layer
from django.conf import settings

log = logging.getLogger(__name__)
CHANGED: Final = "live.changed"


def has_broker() -> bool:
    """Whether there is a broker to send to: none while no server runs on a home that has its own."""
    return bool(settings.BROKER_URL) or settings.HOME.broker_socket.exists()


def tell(groups: Iterable[str]) -> None:
    """Tell each group now that what it shows changed. Returns at once and never raises for the broker."""
    if has_broker():
        _publisher(os.getpid()).put(list(groups))


def send(messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Send each message to its channel group now, from the same thread. Returns at once and never raises."""
    if has_broker():
        _publisher(os.getpid()).put_each(list(messages))


class _Publisher:
    """A thread that sends to the channel layer over one connection, so that a slow broker holds up nobody's commit."""

    def __init__(self) -> None:
        self._groups: set[str] = set()
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._filled = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_until_complete, args=[self._send()], name="live", daemon=True).start()

    def put(self, groups: list[str]) -> None:
        """Have a message sent to each of these groups; what is still waiting is not sent twice."""
        self._loop.call_soon_threadsafe(self._add, groups)

    def put_each(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        """Have these messages sent, each to its group, before what tells pages."""
        self._loop.call_soon_threadsafe(self._add_each, messages)

    def _add_each(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        self._messages += messages
        self._filled.set()

    def _add(self, groups: list[str]) -> None:
        self._groups.update(groups)
        self._filled.set()

    async def _send(self) -> None:
        told = True
        while True:
            await self._filled.wait()
            self._filled.clear()
            messages, self._messages = self._messages, []
            groups, self._groups = self._groups, set()
            try:
                layer = get_channel_layer()
                for group, message in [*messages, *((group, {"type": CHANGED}) for group in groups)]:
                    await layer.group_send(group, message)
                told = True
            except Exception as error:  # the network begins here; pages look again by themselves
                log.log(logging.WARNING if told else logging.DEBUG, "Nobody could be told of a change: %s", error)
                told = False


@functools.lru_cache(maxsize=1)
def _publisher(pid: int) -> _Publisher:
    """The thread of this process; a forked child starts its own."""
    return _Publisher()
