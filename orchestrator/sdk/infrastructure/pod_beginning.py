"""A pod from its making until it begins: what it waits for, and for how long it may."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.infrastructure import pods
from orchestrator.sdk.infrastructure.base import Ended, Launch
from orchestrator.sdk.infrastructure.container_engine import name_of

_QUIET_SECONDS: Final = 5.0  # without a pod, before its Job's events are asked why


class PodBeginning:
    """Judges a pod that has not begun: says what it waits for, and gives it up in time.

    Args:
        launch: Its attempt.
        seconds: How long it may wait.
        why_no_pod: Asked where there is no pod: returns how the attempt ended, else the cluster's last word on it.
    """

    def __init__(self, launch: Launch, seconds: int, why_no_pod: Callable[[], Ended | str]) -> None:
        self._launch = launch
        self._seconds = seconds
        self._why_no_pod = why_no_pod
        self._deadline: float | None = time.monotonic() + seconds
        self._quiet_until = time.monotonic() + _QUIET_SECONDS
        self._told = ""

    def patience(self) -> float:
        """In how many seconds to look again at the latest."""
        if self._deadline is None:
            return math.inf
        now = time.monotonic()
        return max(0.0, min(self._deadline, max(self._quiet_until, now + 1.0)) - now)

    def judge(self, pod: Any) -> Ended | None:
        """Return the end of one that never begins; None otherwise."""
        if self._deadline is None:
            return None
        if pod is not None and pods.begun(pod):
            self._deadline = None
            return None
        waiting = self._without_pod() if pod is None else pods.waiting(pod)
        if isinstance(waiting, Ended):
            return waiting
        is_told = waiting is None or waiting.message == self._told or self._is_of_secret(waiting)
        if waiting is not None and not is_told:
            self._told = waiting.message
            self._launch.tell(f"Waiting: {waiting.message}")
        is_late = time.monotonic() >= self._deadline
        if not is_late and not (waiting and waiting.is_hopeless):
            return None
        after = f" (it had not begun after {self._seconds} s)" if is_late else ""
        if waiting is None:
            return Ended(message=f"its pod did not begin{after}", cause=Cause.EXIT)
        return Ended(message=f"{waiting.message}{after}", cause=waiting.cause)

    def _is_of_secret(self, waiting: pods.Waiting) -> bool:
        """Whether it waits for its Secret, which can be made only when its Job is there: a node looks again."""
        name = name_of(self._launch.run, self._launch.attempt)
        return waiting.message.startswith("CreateContainerConfigError") and f'"{name}"' in waiting.message

    def _without_pod(self) -> pods.Waiting | Ended | None:
        if time.monotonic() < self._quiet_until:
            return None
        found = self._why_no_pod()
        if isinstance(found, Ended):
            return found
        return pods.Waiting(found, Cause.EXIT) if found else None
