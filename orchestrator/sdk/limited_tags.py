"""Which tags are limited at all: most task runs with tags need not ask anybody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Final

import msgspec

KEPT_SECONDS: Final = 2.0


class Tags(msgspec.Struct):
    """The tags that have a limit."""

    tags: frozenset[str]


class HomeTags:
    """The limited tags of a home, from the file that its server's parts keep. One `stat` each time."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._seen: tuple[int, int, int] | None = None
        self._tags: frozenset[str] = frozenset()

    def surely_free(self, tags: Set[str]) -> bool:
        """Whether none of these is limited."""
        return not self.limits(tags)

    def limits(self, tags: Set[str]) -> bool:
        """Whether one of these is limited."""
        try:
            found = os.stat(self._path)
        except OSError:
            return False
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen != self._seen:
            self._read(seen)
        return not self._tags.isdisjoint(tags)

    def _read(self, seen: tuple[int, int, int]) -> None:
        try:
            with open(self._path, "rb") as file:
                self._tags = msgspec.json.decode(file.read(), type=Tags).tags
        except FileNotFoundError:
            self._tags = frozenset()
        except (OSError, msgspec.MsgspecError):  # what was read before holds
            pass
        self._seen = seen


class ServerTags:
    """The limited tags of the team that a script's token is for, asked of its server every two seconds at most."""

    def __init__(self, ask: Callable[[], frozenset[str]]) -> None:
        """Ask by this function, which raises OSError where the server does not answer."""
        self._ask = ask
        self._tags: frozenset[str] | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def surely_free(self, tags: Set[str]) -> bool:
        """Whether it is known without asking now that none of these is limited."""
        return self._tags is not None and time.monotonic() < self._until and self._tags.isdisjoint(tags)

    def limits(self, tags: Set[str]) -> bool:
        """Whether one of these is limited, as far as the server says; it may be where it never said anything."""
        if time.monotonic() >= self._until:
            with self._lock:
                if time.monotonic() >= self._until:
                    self._renew()
        return self._tags is None or not self._tags.isdisjoint(tags)

    def _renew(self) -> None:
        try:
            self._tags = self._ask()
        except OSError:  # what it said last holds
            pass
        self._until = time.monotonic() + KEPT_SECONDS
