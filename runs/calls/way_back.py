"""What a worker says of a flow run's calls, on its way into the stream of the broker: gathered, signed, bounded."""

import logging
import threading
import time
from typing import Final
from uuid import UUID

import redis

from orchestrator.sdk.runners.call_wire import PIECE, frame
from runs.calls import keys
from runs.calls.keys import RunKeys
from runs.calls.signing import WorkerKey, said_by

PIECE_BYTES: Final = 256 * 1024
ENTRY_BYTES: Final = 512 * 1024  #: of frames in one entry, about
MAX_WAITING: Final = 4 * 1024 * 1024  #: bytes that wait here; then whoever says more waits
MAX_ENTRIES: Final = 96  #: in the stream; then it is waited until the flow's process has read some
GATHER_SECONDS: Final = 0.004  #: between entries
_AGAIN_SECONDS: Final = 0.5
_FULL_SECONDS: Final = 0.02

#: Adds an entry, but none to a stream that nobody will read: one that was deleted would be there again.
_ADD: Final = """
if redis.call('exists', KEYS[2]) == 1 then return 0 end
redis.call('xadd', KEYS[1], '*', 'w', ARGV[2], 'n', ARGV[3], 's', ARGV[4], 'f', ARGV[5])
return redis.call('expire', KEYS[1], ARGV[1])
"""

_log = logging.getLogger(__name__)


class WayBack:
    """The words of one worker for one attempt of a flow run, in their order."""

    def __init__(self, names: RunKeys, worker: UUID, key: WorkerKey) -> None:
        self._names = names
        self._worker, self._key = worker, key
        self._condition = threading.Condition()
        self._frames: list[bytes] = []
        self._size = 0
        self._is_sending = False
        self._closed = False
        self._number = time.time_ns() // 1000  # higher than those of an earlier one for this run
        threading.Thread(target=self._send_all, name="calls-back", daemon=True).start()

    def say(self, kind: int, call: str, body: bytes = b"", *, wait: bool = False) -> None:
        """Say something of a call.

        Args:
            kind: One of `calls.Message` or `call_wire`.
            call: Its id.
            body: Of any size: it is sent in pieces.
            wait: Whether to wait where too much has gathered, as who reads from a task's process should.
        """
        pieces = [body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)] or [b""]
        with self._condition:
            for number, piece in enumerate(pieces, 1):
                while wait and self._size > MAX_WAITING and not self._closed:
                    self._condition.wait()
                data = frame(kind if number == len(pieces) else PIECE, call, piece)
                self._frames.append(data)
                self._size += len(data)
                if len(self._frames) == 1 or self._size > ENTRY_BYTES:
                    self._condition.notify_all()

    @property
    def is_empty(self) -> bool:
        """Whether all that was said is in the stream."""
        with self._condition:
            return not self._frames and not self._is_sending

    def close(self) -> None:
        """Say nothing more: nobody listens."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _send_all(self) -> None:
        sent_at = 0.0
        while (data := self._next(sent_at)) is not None:
            self._number += 1
            signature = self._key.sign(said_by(self._worker, self._names.id, self._number, data))
            self._add(self._worker.bytes, self._number, signature, data)
            with self._condition:
                self._is_sending = False
            sent_at = time.monotonic()

    def _next(self, sent_at: float) -> bytes | None:
        """Wait for frames; None once closed."""
        with self._condition:
            while not self._frames and not self._closed:
                self._condition.wait()
            left = sent_at + GATHER_SECONDS - time.monotonic()
            if left > 0 and self._size < ENTRY_BYTES and not self._closed:
                self._condition.wait_for(lambda: self._closed or self._size > ENTRY_BYTES, left)
            if self._closed:
                return None
            size = count = 0
            while count < len(self._frames) and size < ENTRY_BYTES:
                size += len(self._frames[count])
                count += 1
            data = b"".join(self._frames[:count])
            del self._frames[:count]
            self._size -= size
            self._is_sending = True
            self._condition.notify_all()
            return data

    def _add(self, *entry: bytes | int) -> None:
        """Add an entry to the stream, where there is room; try again while the broker is away."""
        is_told = False
        client = keys.broker()
        while not self._closed:
            try:
                if client.xlen(self._names.stream) >= MAX_ENTRIES:
                    time.sleep(_FULL_SECONDS)  # nothing tells when the flow's process has read
                    continue
                client.eval(_ADD, 2, self._names.stream, self._names.over, keys.STREAM_SECONDS, *entry)
                return
            except redis.RedisError as error:
                if not is_told:
                    _log.error("What task runs say waits for the broker: %s", error)
                    is_told = True
                time.sleep(_AGAIN_SECONDS)
