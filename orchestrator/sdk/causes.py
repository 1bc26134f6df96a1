"""Why an attempt crashed, in a word, and the reasons with which a supervisor stops a run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Cause(StrEnum):
    """Why an attempt crashed; the server's choices for `Attempt.cause` have the same values."""

    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    EXIT = "exit"
    LOST = "lost"
    STOPPED = "stopped"
    EVICTED = "evicted"
    UNSCHEDULABLE = "unschedulable"
    IMAGE = "image"


CANCELLED: Final = "cancelled"  #: the reason of a stop that somebody asked for
SERVER_STOPPED: Final = "server stopped"
WORKER_GONE: Final = "worker gone"
LEASE_LOST: Final = "its worker lost its lease"

#: The reason of a stop → what it means for the attempt that it ended.
OF_REASON: Final[Mapping[str, Cause]] = MappingProxyType(
    {SERVER_STOPPED: Cause.STOPPED, WORKER_GONE: Cause.LOST, LEASE_LOST: Cause.LOST}
)
