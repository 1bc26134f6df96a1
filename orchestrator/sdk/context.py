"""Which run the code that is executing belongs to. Threads and event loops of the engine carry this along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.sdk.runs import FlowRun, TaskRun

current: ContextVar[FlowRun | TaskRun | None] = ContextVar("orchestrator_run", default=None)
current_tags: ContextVar[frozenset[str]] = ContextVar("orchestrator_tags", default=frozenset())


def current_flow_run() -> FlowRun | None:
    """Return the flow run that the caller executes in, None outside one."""
    run = current.get()
    return None if run is None else run.flow_run


def current_task_run() -> TaskRun | None:
    """Return the task run that the caller executes in, None outside one (also directly in a flow)."""
    run = current.get()
    return None if run is None else run.task_run


@contextmanager
def tags(*names: str) -> Iterator[frozenset[str]]:
    """Add tags to every flow run and task run that is called inside the block.

    Args:
        names: The tags to add to those of enclosing blocks.

    Yields:
        All tags that now apply.
    """
    token = current_tags.set(current_tags.get() | frozenset(names))
    try:
        yield current_tags.get()
    finally:
        current_tags.reset(token)
