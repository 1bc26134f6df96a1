"""Cancelling what no worker runs: a script on this machine is asked to stop by whoever reads its journal.

SIGTERM, which the engine takes for the end of its run, and SIGKILL where that was not enough, for what it started too
(not for its process group: that may be a shell's whole pipeline). A file beside the journal says first that it was
cancelled, so that the script ends as such. The process is the one that holds the journal's lock; on Linux its open
files are looked at too, since a container beside this one has the same boot id and process ids of its own.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings

from orchestrator.sdk.journal import CANCEL_SUFFIX
from orchestrator.sdk.processes import descendants, kill
from orchestrator.sdk.reader import JournalReader, Judgement, ask_lock
from orchestrator.sdk.states import StateType
from runs.models import Attempt

LOOK_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class ScriptCancels:
    """Which scripts were asked to stop, and when."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}
        self._look_at = 0.0

    def look(self, readers: Iterable[JournalReader]) -> None:
        """Ask the scripts whose runs are to be cancelled to stop; at most once a second, one query."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        wanted = _cancelling_journals()
        self._asked = {journal: at for journal, at in self._asked.items() if journal in wanted}
        if not wanted:
            return
        for reader in readers:
            journal = reader.segment.journal
            if journal in wanted and _holds(reader):
                self._stop(reader, now)

    def _stop(self, reader: JournalReader, now: float) -> None:
        journal, pid = reader.segment.journal, reader.header.pid
        asked = self._asked.setdefault(journal, now)
        if asked == now:
            with contextlib.suppress(OSError):  # the home is full: it ends as one that was sent a signal
                reader.segment.path.with_name(f"{journal}{CANCEL_SUFFIX}").touch(mode=0o600)
            _send(pid, signal.SIGTERM)
        elif now >= asked + settings.CANCEL_GRACE_SECONDS:
            below = descendants(pid)  # before it is gone, and they are nobody's
            _send(pid, signal.SIGKILL)
            kill(below)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        _log.info("Process %d is sent %s: its run is cancelled", pid, number.name)


def _cancelling_journals() -> set[str]:
    """Journals of attempts of cancelled runs that no worker holds (index `flow_run_state`)."""
    found: Iterable[UUID | None] = Attempt.objects.filter(
        flow_run__state_type=StateType.CANCELLING, worker=None, end_time=None, journal__isnull=False
    ).values_list("journal", flat=True)
    return {str(journal) for journal in found}


def _holds(reader: JournalReader) -> bool:
    """Whether the process that the header names is still there, and writes this journal."""
    path, pid = reader.segment.path, reader.header.pid
    if ask_lock(path, reader.header) is not Judgement.ALIVE:
        return False
    descriptors = Path(f"/proc/{pid}/fd")
    if not Path("/proc/self/fd").exists():
        return True
    with contextlib.suppress(OSError):
        return any(Path(os.readlink(link)) == path for link in descriptors.iterdir())
    return False
