"""A page of memory that a run host shares with one run's process: why it is told to stop, and how far it came."""

import mmap
import os
import struct
import sys
import tempfile
from typing import Final

_MAX_REASON_BYTES: Final = 1024
_ENDED, _CONCLUDED, _HOOKLESS, _BEGUN, _LEFT = range(5)
_GRACE: Final = 8
_REASON: Final = 16
_SIZE: Final = _REASON + _MAX_REASON_BYTES
_grace = struct.Struct("d")


class HostNote:
    """Made before the fork; each side writes its own part, so that no lock is needed."""

    def __init__(self, fd: int = -1) -> None:
        """Make a page that forked processes share, or map that of a file of `shareable_file`."""
        self._page = mmap.mmap(fd, _SIZE)

    @property
    def ended(self) -> bool:
        """Whether the run's own journal has its ending (the run writes this)."""
        return self._page[_ENDED] == 1

    def set_ended(self) -> None:
        """Note that the ending stands in the journal."""
        self._page[_ENDED] = 1

    @property
    def owes_hooks(self) -> bool:
        """Whether hooks for an ending from outside are the host's to run: its process came to none, or none is known.

        False once the run was about to record its final state, and where its flow has no such hooks (the run writes
        both).
        """
        return not (self._page[_ENDED] or self._page[_CONCLUDED] or self._page[_HOOKLESS])

    def set_concluded(self) -> None:
        """Note that the final state is about to be recorded, and then the hooks run."""
        self._page[_CONCLUDED] = 1

    def set_hookless(self) -> None:
        """Note that the flow, which is loaded, has no hooks for an ending from outside."""
        self._page[_HOOKLESS] = 1

    @property
    def begun(self) -> bool:
        """Whether the run was taken on by its process (a process that is kept writes this)."""
        return self._page[_BEGUN] == 1

    def set_begun(self) -> None:
        """Note that the run was taken on."""
        self._page[_BEGUN] = 1

    @property
    def left(self) -> bool:
        """Whether the attempt was left to go on, elsewhere, without its supervisor (which writes this)."""
        return self._page[_LEFT] == 1

    def set_left(self) -> None:
        """Note that the attempt goes on: there is no ending to record."""
        self._page[_LEFT] = 1

    @property
    def reason(self) -> str:
        """Why the run was told to stop; empty when it was not (the host writes this)."""
        return self._page[_REASON:].partition(b"\0")[0].decode(errors="replace")

    def set_reason(self, reason: str) -> None:
        """Note why the run is about to be told to stop."""
        text = reason.encode()[: _MAX_REASON_BYTES - 1] + b"\0"
        self._page[_REASON : _REASON + len(text)] = text

    @property
    def grace_seconds(self) -> float:
        """How long the run has from its SIGTERM on (the host writes this before it sends it)."""
        return float(_grace.unpack_from(self._page, _GRACE)[0])

    def set_grace(self, seconds: float) -> None:
        """Note how long the run has."""
        _grace.pack_into(self._page, _GRACE, seconds)

    def clear(self) -> None:
        """Begin anew for a kept process's next run; only while the process waits for one."""
        self._page[: _REASON + 1] = bytes(_REASON + 1)

    def close(self) -> None:
        """Let the page go."""
        self._page.close()


def shareable_file() -> int:
    """Return a file of a page's size that has no name: its descriptor reaches a process over exec. Raises OSError."""
    if sys.platform == "linux":
        fd = os.memfd_create("orchestrator-note")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _SIZE)
    return fd
