"""The two fields of a form that name a task runner: its kind, and what follows after the colon."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.sdk.runners.kinds import KINDS

ARGUMENT: Final = "task_runner_argument"


def read_runner(typed: Mapping[str, str], before: str) -> str:
    """Return what was chosen as `name` or `name:argument`; what was there before, where the form has no such field."""
    if "task_runner" not in typed:
        return before
    argument = typed.get(ARGUMENT, "").strip()
    return f"{typed['task_runner']}:{argument}" if argument else typed["task_runner"]


def runner_field(chosen: str) -> dict[str, Any]:
    """Return what the template needs to show a choice."""
    name, _, argument = chosen.partition(":")
    kinds = [("", "Where the code says"), *((name, kind.label) for name, kind in KINDS.items())]
    return {"kinds": kinds, "name": name, "argument": argument}
