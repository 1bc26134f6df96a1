"""The kinds of task runners, by name: one line each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.sdk.runners.base import TaskRunner

DEFAULT: Final = "threads"
VARIABLE: Final = "ORCHESTRATOR_TASK_RUNNER"

KINDS: Final = {
    "dask": ("orchestrator.sdk.runners.dask", "DaskTaskRunner"),
    "inline": ("orchestrator.sdk.runners.inline", "InlineTaskRunner"),
    "processes": ("orchestrator.sdk.runners.processes", "ProcessPoolTaskRunner"),
    "ray": ("orchestrator.sdk.runners.ray", "RayTaskRunner"),
    "threads": ("orchestrator.sdk.runners.threads", "ThreadPoolTaskRunner"),
}


def check_kind(name: str, where: str) -> None:
    """Raise ValueError, which lists the kinds, where there is none of this name."""
    if name not in KINDS:
        raise ValueError(f"{where}: there is no task runner {name!r}. There are {', '.join(KINDS)}.")


def new_runner(wanted: TaskRunner | str | None) -> TaskRunner:
    """Return a fresh runner for a flow run.

    Args:
        wanted: The flow's own, a pattern or a kind; without one it is of the kind that `ORCHESTRATOR_TASK_RUNNER`
            names, else threads.

    Raises:
        ValueError: There is no such kind.
        RunnerError: A package that it needs is not installed.
    """
    if wanted is not None and not isinstance(wanted, str):
        return wanted.duplicate()
    name = wanted or os.environ.get(VARIABLE, "") or DEFAULT
    check_kind(name, VARIABLE)
    module, cls = KINDS[name]
    pattern: TaskRunner = getattr(__import__(module, fromlist=[cls]), cls)()
    return pattern.duplicate()
