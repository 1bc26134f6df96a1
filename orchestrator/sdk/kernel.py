"""What a process asks of the kernel about its relatives (Linux; elsewhere nothing happens)."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36


class _Kernel:
    """The calls, looked up once."""

    def __init__(self) -> None:
        self._prctl: Callable[..., Any] | None = None

    def prepare(self) -> None:
        """Look the call up, in the host, so that its children need not."""
        if sys.platform == "linux":
            self._prctl = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_parent(self, parent_pid: int, number: int = signal.SIGKILL) -> None:
        """Have this process sent a signal when its parent dies; ends it now if the parent is gone already."""
        if self._prctl is not None:
            self._prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    def hide(self) -> None:
        """Keep other processes of this user from looking into this one's memory and environment."""
        if self._prctl is not None:
            self._prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

    def show(self) -> None:
        """Undo `hide`, which a forked process inherits."""
        if self._prctl is not None:
            self._prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)

    def adopt_orphans(self) -> None:
        """Make this process the parent of what its children leave behind, so that it sees it."""
        if self._prctl is not None:
            self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


kernel = _Kernel()
