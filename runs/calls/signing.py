"""Signatures: of the server on calls, of a worker on what it says of them. Ed25519.

A worker without the database must be able to check the server's, and whoever can check a message code can also make
one: hence public keys. The server's private key is derived from its secret key, which only processes with the database
have; workers are told the public one when they sign on. A worker makes a pair of its own at its start, and tells the
server the public one.
"""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from orchestrator.sdk.runners.call_wire import SentCall

_CALLS = b"orchestrator.calls.message\0"
_SAID = b"orchestrator.calls.said\0"


class Forged(ValueError):
    """Something is not signed by whom it should be."""


class CallMessage(msgspec.Struct, array_like=True, frozen=True):
    """What Celery carries: calls of one flow run for one queue. All of it is signed.

    Attributes:
        run, attempt, line: The flow run that wants them (`keys.RunKeys`).
        team: Its owner.
        queue: The Celery queue on which it was sent.
        sent_at: By the server's clock, in seconds since 1970.
        calls: Those that one worker is to take.
    """

    run: str
    attempt: int
    line: str
    team: str
    queue: str
    sent_at: float
    calls: list[SentCall]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CallMessage).decode


def seal(message: CallMessage) -> tuple[bytes, bytes]:
    """Return a message and its signature."""
    data = _encode(message)
    return data, _private(settings.SECRET_KEY).sign(_CALLS + data)


def opened(data: bytes, signature: bytes, keys: Sequence[str]) -> CallMessage:
    """Return a message that the server signed. Raises Forged.

    Args:
        data: The message.
        signature: The server's.
        keys: The server's public keys.
    """
    _check(keys, signature, _CALLS + data)
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise Forged(f"it cannot be read: {error}") from None


def public_keys() -> list[str]:
    """Return the server's public keys, the current one first: a worker takes what any of them signed."""
    return [_written(_private(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


class WorkerKey:
    """A worker's own pair of keys, for as long as its process lives."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = _written(self._private)

    def sign(self, said: bytes) -> bytes:
        """Sign what is said, as `said_by` makes it."""
        return self._private.sign(said)


def said_by(worker: UUID, run: str, number: int, frames: bytes) -> bytes:
    """Return what a worker signs: its words for one flow run (`keys.RunKeys.id`), and which of them these are."""
    return b"".join((_SAID, worker.bytes, f"{run}.{number}.".encode(), frames))


def check_said(key: str, signature: bytes, said: bytes) -> None:
    """Raise Forged unless a worker signed this."""
    _check([key], signature, said)


def _check(keys: Sequence[str], signature: bytes, data: bytes) -> None:
    for key in keys:
        try:
            return _public(key).verify(signature, data)
        except (InvalidSignature, ValueError):
            continue
    raise Forged("it is not signed, or was altered")


def _written(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


@cache
def _private(secret: str) -> Ed25519PrivateKey:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"orchestrator.calls")
    return Ed25519PrivateKey.from_private_bytes(derivation.derive(secret.encode()))


def _public(key: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
