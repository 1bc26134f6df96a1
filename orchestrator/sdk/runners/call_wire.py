"""What a flow's process and a server say to each other about attempts that Celery's workers execute.

The process posts an `Exchange` and gets an `Answer`, in MessagePack; what workers say of the attempts comes as frames
(`frames.Frames`) in entries of one long answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

MEDIA_TYPE: Final = "application/octet-stream"
EXCHANGE_PATH: Final = "/api/calls/"
STREAM_PATH: Final = "/api/calls/stream/"

MAX_BODY: Final = 8 * 1024 * 1024  #: bytes of an exchange
MAX_MESSAGE: Final = 256 * 1024  #: bytes of payloads in one message to Celery; what is bigger travels in parts
PART: Final = 1024 * 1024  #: bytes of a part
MAX_PAYLOAD: Final = 64 * 1024 * 1024  #: bytes of an attempt's function and arguments, or of its outcome
MAX_CALLS: Final = 128  #: in one message
MAX_MESSAGES: Final = 64  #: in an exchange: sending one takes the server a millisecond
MAX_IDS: Final = 1_000  #: in a list of an exchange

# Kinds of frames beside `calls.Message`.
TAKEN: Final = 111  #: a worker has claimed the call; the body names the worker
RETURNED: Final = 112  #: it gives the call back, which has not begun; the body says why, where a person should know
LOST: Final = 113  #: the process that executed it is gone; the body says how
PIECE: Final = 114  #: a piece of a body; the others follow, and the last one has the kind

_HEAD: Final = struct.Struct("!BHQ")  #: as in `frames`
TOOK: Final = struct.Struct("!I")  #: before an outcome: for how many microseconds it executed
ENTRY: Final = struct.Struct(
    "!B16sQI"
)  #: before the frames of an entry: bytes of its id, worker, its number, their bytes
MAX_FRAMES: Final = 1024 * 1024  #: bytes of an entry's frames


class SentCall(msgspec.Struct, array_like=True, frozen=True):
    """A call on its way to a worker.

    Attributes:
        id: Of this handing out: no other one has it.
        payload: As `transfer.pack` made it; empty where it travels in parts.
        parts: How many these are.
        digest: SHA-256 of all of them together.
    """

    id: str
    payload: bytes = b""
    parts: int = 0
    digest: bytes = b""


class Exchange(msgspec.Struct, omit_defaults=True):
    """What a flow's process wants.

    Attributes:
        line: Made up by the flow's process, in hexadecimal: a run and its subflows have one each.
        queue: The name of the work queue; empty: the flow run's own.
        messages: Calls to hand out, by message to Celery: one worker takes all of a message.
        parts: Of payloads that are too big for a message: the call's id, the part's number, and its bytes.
        recall: Ids of calls to take back, if no worker has claimed them.
        stop: Ids of calls to interrupt.
        kill: Ids of calls whose process is to be killed.
        look: Ids of calls of which no word has come for a while.
        seen: The id of the last entry of the stream that has come.
        over: Whether nothing of this flow run is wanted any more.
    """

    line: str
    queue: str = ""
    messages: list[list[SentCall]] = []
    parts: list[tuple[str, int, bytes]] = []
    recall: list[str] = []
    stop: list[str] = []
    kill: list[str] = []
    look: list[str] = []
    seen: str = ""
    over: bool = False


class Answer(msgspec.Struct, omit_defaults=True):
    """What the server says.

    Attributes:
        recalled: Of `recall`, what no worker will execute.
        missing: Of `look`, what no worker has, and what does not wait in the broker either, at this moment.
        unbegun: Of those, what a worker had that is gone, and surely had not begun.
        tail: The id of the stream's last entry, where something was looked for: what is missing is so only for who has
            read that far.
        unheard: The name of the queue, where no worker listens to it.
    """

    recalled: list[str] = []
    missing: list[str] = []
    unbegun: list[str] = []
    tail: str = ""
    unheard: str = ""


def frame(kind: int, about: str, body: bytes) -> bytes:
    """Return a frame."""
    name = about.encode()
    return _HEAD.pack(kind, len(name), len(body)) + name + body


def frames_of(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield the kind, the call and the body of each frame."""
    at = 0
    while at < len(data):
        kind, named, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield kind, data[at : at + named].decode(), data[at + named : at + named + length]
        at += named + length


encode: Final = msgspec.msgpack.Encoder().encode
decode_exchange: Final = msgspec.msgpack.Decoder(Exchange).decode
decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode
