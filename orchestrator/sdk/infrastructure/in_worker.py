"""In the worker: runs one after the other in processes that the worker keeps (`host_kept`)."""

from __future__ import annotations

import msgspec

from orchestrator.sdk.infrastructure.base import Ended, Infrastructure, Launch


class InWorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """It has none: a process that is kept for many runs has nothing of one run's own."""


class InWorker(Infrastructure[InWorkerSettings]):
    """For short runs that are trusted with one another's process."""

    kind = "in-worker"
    label = "In the worker"
    summary = "One run after the other in processes that the worker keeps for them: the quickest to start."
    risk = "A run in a kept process finds what earlier runs left in it: modules' globals, caches, connections."
    icon = "zap"
    Settings = InWorkerSettings

    @property
    def is_supervised(self) -> bool:
        """Its run host does it."""
        return False

    def run(self, launch: Launch) -> Ended:
        """Never called."""
        raise NotImplementedError
