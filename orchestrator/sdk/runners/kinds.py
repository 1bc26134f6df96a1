"""The kinds of task runners, by name: one line each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from orchestrator.sdk.runners.base import TaskRunner

DEFAULT: Final = "threads"
VARIABLE: Final = "ORCHESTRATOR_TASK_RUNNER"
MAX_LENGTH: Final = 200  #: of a name with its argument


class Kind(NamedTuple):
    """A kind of runner.

    Attributes:
        module, cls: Where its class is; loaded when it is used.
        label: For people.
        argument: What `name:argument` says, which is the first argument of its class; empty where it takes none.
        is_number: Whether that is a number, from 1.
    """

    module: str
    cls: str
    label: str
    argument: str = ""
    is_number: bool = False


_HERE: Final = "orchestrator.sdk.runners."
_CLUSTER: Final = "a cluster, or its machine's processors"

KINDS: Final = {
    "celery": Kind(_HERE + "celery", "CeleryTaskRunner", "Celery: the workers of a queue", "queue"),
    "dask": Kind(_HERE + "dask", "DaskTaskRunner", f"Dask: {_CLUSTER}", "address"),
    "inline": Kind(_HERE + "inline", "InlineTaskRunner", "One after the other"),
    "processes": Kind(_HERE + "processes", "ProcessPoolTaskRunner", "Processes of its machine", "max_workers", True),
    "ray": Kind(_HERE + "ray", "RayTaskRunner", f"Ray: {_CLUSTER}", "address"),
    "threads": Kind(_HERE + "threads", "ThreadPoolTaskRunner", "Threads of its own process", "max_workers", True),
}


def check_runner(text: str, where: str) -> tuple[Kind, list[Any]]:
    """Return the kind that `name` or `name:argument` names, and the arguments for its class.

    Raises:
        ValueError: There is no such kind (the message lists all), or it takes no such argument. It begins with `where`.
    """
    name, colon, argument = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"{where}: there is no task runner {name!r}. There are {', '.join(KINDS)}.")
    if not colon:
        return kind, []
    if not kind.argument:
        raise ValueError(f"{where}: the task runner {name!r} takes nothing after its name, and was given {text!r}.")
    if len(text) > MAX_LENGTH or not argument.strip() or not argument.isprintable():
        raise ValueError(f"{where}: write {name}:{kind.argument.upper()} on one line, at most {MAX_LENGTH} characters.")
    if not kind.is_number:
        return kind, [argument.strip()]
    if not argument.isdecimal() or not 1 <= int(argument[:6]) <= 10_000:
        raise ValueError(f"{where}: in {text!r}, {kind.argument} must be a number from 1 to 10,000.")
    return kind, [int(argument)]


def new_runner(wanted: TaskRunner | str | None) -> TaskRunner:
    """Return a fresh runner for a flow run.

    Args:
        wanted: The flow's own, a pattern or a name (`dask`, `processes:4`); without one it is the one that
            `ORCHESTRATOR_TASK_RUNNER` names, else threads.

    Raises:
        ValueError: There is no such kind.
        RunnerError: A package that it needs is not installed.
    """
    if wanted is not None and not isinstance(wanted, str):
        return wanted.duplicate()
    kind, arguments = check_runner(wanted or os.environ.get(VARIABLE, "") or DEFAULT, VARIABLE)
    pattern: TaskRunner = getattr(__import__(kind.module, fromlist=[kind.cls]), kind.cls)(*arguments)
    return pattern.duplicate()
