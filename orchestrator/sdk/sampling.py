"""What a run's process uses: a thread that reads it from `/proc` while a flow run goes on, and records it (Linux).

The first look is after a second, so that short runs pay for a thread that never woke. The pace halves after every 60
samples, so that a run of a day has some 600. What the process started is counted too; to find it means to look at every
process of the machine, so that is done only as often as it costs a hundredth of the time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Final

from orchestrator.sdk.events import Resources
from orchestrator.sdk.journal import record
from orchestrator.sdk.processes import PAGE_BYTES, TICKS, Usage, descendants, usage_of
from orchestrator.sdk.runs import FlowRun

if sys.platform != "win32":
    import resource

FIRST_SECONDS: Final = 1.0
SAMPLES_A_PACE: Final = 60
SCAN_SHARE: Final = 0.01  #: of the time, for finding what the process started
_STOP_SECONDS: Final = 0.5

_lock = threading.Lock()
_sampler: Sampler | None = None


class Sampler:
    """One process's samples while a run goes on."""

    def __init__(self, run: FlowRun) -> None:
        self.run = run
        self._pid = os.getpid()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="orchestrator-resources", daemon=True)
        self._below: list[int] = []
        self._scan_at = 0.0
        self._peak = 0
        self._count = 0
        self._seconds = _cpu_seconds([usage_of(self._pid)])
        self._at = time.monotonic()

    def start(self) -> None:
        """Begin; the first sample is a second away."""
        self._thread.start()

    def stop(self) -> None:
        """End, with a last sample where there was a first one."""
        self._ended.set()
        self._thread.join(_STOP_SECONDS)
        if self._count:
            self.sample()

    def sample(self) -> None:
        """Record what is used now."""
        now = time.monotonic()
        used = [usage_of(pid) for pid in (self._pid, *self._family(now))]
        seconds = _cpu_seconds(used)
        memory = sum(usage.pages for usage in used if usage is not None) * PAGE_BYTES
        self._peak = max(self._peak, memory, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        # What ended unseen, and was never waited for, takes its seconds along: never less than nothing.
        cpu = max(0.0, seconds - self._seconds) / max(now - self._at, 0.001)
        self._seconds, self._at = seconds, now
        self._count += 1
        record(
            Resources(
                run=self.run.id,
                attempt=self.run.attempt,
                cpu=round(cpu, 3),
                memory=memory,
                peak=self._peak,
                cpu_seconds=round(seconds, 3),
            )
        )

    def _family(self, now: float) -> list[int]:
        if now >= self._scan_at:
            began = time.monotonic()
            self._below = descendants(self._pid)
            self._scan_at = now + (time.monotonic() - began) / SCAN_SHARE
        return self._below

    def _loop(self) -> None:
        while not self._ended.wait(FIRST_SECONDS * 2 ** (self._count // SAMPLES_A_PACE)):
            self.sample()


def start(run: FlowRun) -> Sampler | None:
    """Sample this process for a run, unless it is sampled for another one already, or cannot be."""
    global _sampler
    if sys.platform != "linux":
        return None
    with _lock:
        if _sampler is not None:
            return None
        made = _sampler = Sampler(run)
    try:
        made.start()
    except RuntimeError:  # no thread can be had
        _forget()
        return None
    return made


def stop(sampler: Sampler | None) -> None:
    """End what `start` returned; does nothing in a forked child."""
    if sampler is not None and sampler is _sampler:
        _forget()
        sampler.stop()


def _forget() -> None:
    global _sampler
    with _lock:
        _sampler = None


def _cpu_seconds(used: list[Usage | None]) -> float:
    return sum(usage.ticks for usage in used if usage is not None) / TICKS


def _after_fork() -> None:
    """A forked child is not sampled by itself: it is counted with its parent."""
    global _lock, _sampler
    _lock = threading.Lock()  # another thread may have held it
    _sampler = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
