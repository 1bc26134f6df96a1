"""The runner that executes a submitted task at once, in the thread that submits it: for debugging and for tests."""

from __future__ import annotations

import time

from orchestrator.sdk.interrupts import interruptible
from orchestrator.sdk.runners.base import Job, TaskRunner


class InlineTaskRunner(TaskRunner):
    """Executes every task when it is submitted, one after the other."""

    can_park = False

    def duplicate(self) -> InlineTaskRunner:
        """Return a fresh runner."""
        return InlineTaskRunner()

    @interruptible
    def run(self, job: Job) -> None:
        """Execute a job now."""
        job()

    @interruptible
    def run_later(self, job: Job, seconds: float) -> None:
        """Sleep, then execute a job."""
        time.sleep(seconds)
        job()

    def close(self) -> None:
        """There is nothing to end."""
