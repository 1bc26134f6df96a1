"""While a process has flow runs going on, what they print, log and use is recorded, and SIGTERM becomes an ending."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.sdk import capture, log_capture, sampling
from orchestrator.sdk.interrupts import sigterm
from orchestrator.sdk.runs import FlowRun

_lock = threading.Lock()
_count = 0


@contextmanager
def session(root: FlowRun) -> Iterator[None]:
    """Surround the life of a flow run that no other flow run called."""
    global _count
    with _lock:
        _count += 1
        if _count == 1:
            log_capture.start()
    capture.start(root)
    armed = sigterm.arm()
    sampler = sampling.start(root)
    try:
        yield
    finally:
        sampling.stop(sampler)
        capture.stop(root)
        with _lock:
            _count -= 1
            if _count == 0:
                log_capture.stop()
        if armed:
            sigterm.disarm()
