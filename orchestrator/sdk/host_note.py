"""A page of memory that a run host shares with one run's process: why it is told to stop, and that it ended well."""

import mmap
from typing import Final

_MAX_REASON_BYTES: Final = 1024


class HostNote:
    """Made before the fork; each side writes its own half, so that no lock is needed."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 1 + _MAX_REASON_BYTES)

    @property
    def ended(self) -> bool:
        """Whether the run's own journal has its ending (the run writes this)."""
        return self._page[0] == 1

    def set_ended(self) -> None:
        """Note that the ending stands in the journal."""
        self._page[0] = 1

    @property
    def reason(self) -> str:
        """Why the run was told to stop; empty when it was not (the host writes this)."""
        return self._page[1:].partition(b"\0")[0].decode(errors="replace")

    def set_reason(self, reason: str) -> None:
        """Note why the run is about to be told to stop."""
        text = reason.encode()[: _MAX_REASON_BYTES - 1] + b"\0"
        self._page[1 : 1 + len(text)] = text

    def close(self) -> None:
        """Let the page go."""
        self._page.close()
