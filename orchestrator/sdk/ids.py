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
