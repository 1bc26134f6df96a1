"""The long answer on which a flow's process hears what workers say of its calls."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Final, NamedTuple

from orchestrator.sdk.control_link import Away, Link, Refused
from orchestrator.sdk.runners.call_wire import ENTRY, MAX_FRAMES, STREAM_PATH

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 3.0


class Entry(NamedTuple):
    """Some frames of one worker. Its numbers grow; an entry with one that was there before is a repetition."""

    id: str
    worker: bytes
    number: int
    frames: bytes


class Stream:
    """The entries for one line of a flow run, from the first to its end."""

    def __init__(self, link: Link, line: str) -> None:
        self.seen = ""  #: the id of the last entry that came
        self._link = link
        self._line = line
        self._closed = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._numbers: dict[bytes, int] = {}

    def close(self) -> None:
        """End it: whoever waits for entries gets no more."""
        self._closed.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is gone
                pass

    def entries(self) -> Iterator[Entry]:
        """Yield each entry once, in order, over one connection after the other; none more once closed."""
        pause = _FIRST_PAUSE_SECONDS
        while not self._closed.is_set():
            try:
                for entry in self._of_a_connection():
                    pause = _FIRST_PAUSE_SECONDS
                    if entry.number > self._numbers.get(entry.worker, -1):
                        self._numbers[entry.worker] = entry.number
                        yield entry
                    self.seen = entry.id
            except (Away, Refused, OSError, http.client.HTTPException, ValueError, AttributeError):
                pass  # what is posted says what is wrong; AttributeError: http.client's, where it was closed meanwhile
            self._closed.wait(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    def has_come_to(self, tail: str) -> bool:
        """Whether an entry, by its id, or a later one has come."""
        return not tail or _order(tail) <= _order(self.seen)

    def _of_a_connection(self) -> Iterator[Entry]:
        path = f"{STREAM_PATH}?line={self._line}&after={self.seen}"
        connection, response = self._link.stream(path, "application/octet-stream")
        self._connection = connection
        try:
            while not self._closed.is_set():
                length, worker, number, size = ENTRY.unpack(_read(response, ENTRY.size))
                if size > MAX_FRAMES:
                    raise ValueError("an entry is too big")
                entry = Entry(_read(response, length).decode(), worker, number, _read(response, size))
                if length:  # else it says that it is still there
                    yield entry
        finally:
            self._connection = None
            connection.close()


def _read(response: http.client.HTTPResponse, size: int) -> bytes:
    """Read so many bytes. Raises OSError where the stream ends before."""
    data = response.read(size) if size else b""
    if len(data) < size:
        raise ConnectionResetError("the stream has ended")
    return data


def _order(entry_id: str) -> tuple[int, int]:
    time_ms, _, number = entry_id.partition("-")
    return int(time_ms or 0), int(number or 0)
