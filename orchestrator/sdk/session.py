"""While a process has flow runs going on, what they print, log and use is recorded, and SIGTERM becomes an ending."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.sdk import capture, log_capture, sampling
from orchestrator.sdk.interrupts import sigterm
from orchestrator.sdk.runs import FlowRun, TaskRun

_lock = threading.Lock()
_count = 0


@contextmanager
def session(root: FlowRun) -> Iterator[None]:
    """Surround the life of a flow run that no other flow run called."""
    armed = False
    try:
        with watched(root):
            armed = sigterm.arm()
            sampler = sampling.start(root)
            try:
                yield
            finally:
                sampling.stop(sampler)
    finally:
        if armed:
            sigterm.disarm()


@contextmanager
def watched(root: FlowRun | TaskRun) -> Iterator[None]:
    """Record what is printed and logged inside the block.

    Args:
        root: The run that no other run of this process called.
    """
    global _count
    with _lock:
        _count += 1
        if _count == 1:
            log_capture.start()
    capture.start(root)
    try:
        yield
    finally:
        capture.stop(root)
        with _lock:
            _count -= 1
            if _count == 0:
                log_capture.stop()
