"""The processes that a run host has forked, and how it keeps those that wait for their next run."""

import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.sdk.host_exits import Exit
from orchestrator.sdk.host_kept import Link, Place
from orchestrator.sdk.host_note import HostNote
from orchestrator.sdk.host_protocol import Finished, Start
from orchestrator.sdk.host_secrets import SecretFiles

MAX_IDLE: Final = 8  #: kept processes of one host that wait for a run
IDLE_SECONDS: Final = 60.0
LEAVE_SECONDS: Final = 10.0  #: for what user code does at exit
LEASE_GRACE_SECONDS: Final = 1.5  # between SIGTERM and SIGKILL of a run whose lease is about to lapse …
LEASE_MARGIN_SECONDS: Final = 0.5  # … and it is gone so long before the run may begin elsewhere

SUPERVISED_LEASE_SECONDS: Final = 3.0  # and so much earlier where an engine has to end it


@dataclass(slots=True)
class Child:
    """A run's process, or one that is kept for the next run."""

    start: Start | None  #: the run that it executes; None while it waits for one, or leaves
    pid: int
    note: HostNote
    lease_until: float = 0.0  #: by `boot_seconds`; 0: it needs none
    kill_at: float | None = None  #: monotonic time of its SIGKILL
    is_stopped: bool = False  #: it was told to stop; what it started is not left to itself
    link: Link | None = None  #: to a process that is kept
    idle_since: float | None = None  #: monotonic; None while it is not free for a run
    waited: bool = False  #: it was kept, and waited for the run that it has
    cpu_before: float = 0.0  #: seconds that a kept process had used before the run that it has
    is_supervised: bool = False  #: it supervises an attempt that executes elsewhere
    explain: Callable[[Exit, bool], str] = lambda ended, begun: ""  #: what its infrastructure knows of its end

    @property
    def gives_up_at(self) -> float:
        """When it has to be told to stop since its lease was not extended, by `boot_seconds`."""
        more = SUPERVISED_LEASE_SECONDS if self.is_supervised else 0.0
        return self.lease_until - LEASE_GRACE_SECONDS - LEASE_MARGIN_SECONDS - more

    @property
    def never_began(self) -> bool:
        """Whether it died while it waited, before it knew of the run that it was given."""
        return self.waited and not self.note.begun and not self.is_stopped

    def executes(self, run: str) -> bool:
        """Whether it executes an attempt of this run."""
        return self.start is not None and self.start.run == run

    def has_finished(self, finished: Finished) -> Exit:
        """Return the end of its run, as if it were that of a process."""
        used = finished.cpu_seconds - self.cpu_before
        self.cpu_before = finished.cpu_seconds
        return Exit(finished.exit_code, peak=finished.peak, cpu_seconds=round(used, 3))


class Keeping:
    """The kept ones among a host's processes: hands them runs, and lets them go.

    Args:
        children: The host's processes by their ids.
        selector: Where the host waits.
        secrets: Those of attempts.
    """

    def __init__(self, children: dict[int, Child], selector: selectors.BaseSelector, secrets: SecretFiles) -> None:
        self._children = children
        self._selector = selector
        self._secrets = secrets

    def begin(self, child: Child, on_message: Callable[[], None]) -> None:
        """Listen to a process that was forked just now; does nothing for one that is not kept."""
        if child.link is not None:
            self._selector.register(child.link.keep_ours(), selectors.EVENT_READ, on_message)

    def hand_over(self, start: Start) -> Child | None:
        """Give a run to a process that is free, and return that; None where there is none."""
        if not start.keep or not self._secrets.has(start):
            return None
        place = Place.of(start)
        for child in self._idle():
            assert child.link is not None
            if child.link.place != place:
                continue
            child.idle_since = None
            child.note.clear()
            try:
                child.link.send(start, self._secrets)
            except OSError:  # it is dead and its exit on the way, or it was stopped and may have half of the message
                child.kill_at = time.monotonic()
                continue
            child.start, child.waited, child.lease_until = start, True, start.lease_until
            return child
        return None

    def keep(self, child: Child) -> None:
        """Note that a process is free, unless it was told to stop, a moment too late for its run."""
        if not child.is_stopped:
            child.idle_since = time.monotonic()

    def dismiss(self) -> None:
        """Let go of processes that waited for long, and of those that are too many."""
        now = time.monotonic()
        for place, child in enumerate(self._idle()):
            if place >= MAX_IDLE or now - (child.idle_since or now) >= IDLE_SECONDS:
                self.let_go(child)

    def let_go(self, child: Child) -> None:
        """Have a process that has no run leave; the end of its connection is the order."""
        child.start, child.lease_until, child.idle_since = None, 0.0, None
        child.kill_at = time.monotonic() + LEAVE_SECONDS
        self.hang_up(child)

    def seconds_left(self) -> list[float]:
        """Return in how many seconds each free process is to be let go."""
        now = time.monotonic()
        return [since + IDLE_SECONDS - now for child in self._idle() if (since := child.idle_since) is not None]

    def hang_up(self, child: Child) -> None:
        """Close the connection to a process, if it has one."""
        if child.link is not None and child.link.is_open:
            self._selector.unregister(child.link.connection)
            child.link.close()

    def _idle(self) -> list[Child]:
        """Those that are free, the one that was used last first."""
        free = [child for child in self._children.values() if child.idle_since is not None]
        return sorted(free, key=lambda child: child.idle_since or 0.0, reverse=True)
