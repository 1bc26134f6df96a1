"""Identifiers: UUIDv7 (RFC 9562), minted by whoever creates the thing, sortable by the time of minting."""

import os
import time
from uuid import UUID

_RANDOM_BITS = (1 << 62) - 1


def uuid7(unix_us: int | None = None) -> UUID:
    """Return a new UUIDv7.

    Args:
        unix_us: The time it carries, in microseconds since the Unix epoch; now by default.

    Returns:
        48 bits of milliseconds, 12 bits of the fraction below a millisecond (RFC 9562, method 3), 62 random bits.
    """
    us = time.time_ns() // 1000 if unix_us is None else unix_us
    milliseconds, fraction = divmod(us, 1000)
    high = (milliseconds << 16 | 0x7000 | (fraction << 12) // 1000) << 64
    return UUID(int=high | 0x8000_0000_0000_0000 | (int.from_bytes(os.urandom(8)) & _RANDOM_BITS))


def new_id() -> str:
    """Return a new UUIDv7 as text, in half the time of `str(uuid7())`: each task call mints one."""
    us = time.time_ns() // 1000
    milliseconds = us // 1000
    rest = int.from_bytes(os.urandom(8)) & _RANDOM_BITS | 0x8000_0000_0000_0000
    text = f"{milliseconds << 16 | 0x7000 | (us - milliseconds * 1000 << 12) // 1000:016x}{rest:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
