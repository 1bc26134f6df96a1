"""The questions that an engine asks a server: may this task run have a slot of each of its limited tags?

Asking is one request. Who must wait is told by push, over one stream a process, and asked for again every few seconds
behind it. A server that is away fails nothing: whoever waits goes on waiting for it, and says so once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.sdk import journal
from orchestrator.sdk.home import home, ships_itself
from orchestrator.sdk.limited_tags import HomeTags, ServerTags

if TYPE_CHECKING:
    from orchestrator.sdk.control_slots import Slots
    from orchestrator.sdk.runs import TaskRun


def may_be_limited(run: TaskRun) -> bool:
    """Whether `ask` has to ask anybody about this task run. Never waits."""
    return not _control().tags.surely_free(run.tags)


def ask(run: TaskRun) -> str:
    """Ask for a slot of each limited tag of a task run that is about to begin an attempt.

    Returns:
        Why it must wait, for people; "" where it need not.
    """
    control = _control()
    return control.slots.ask(run) if control.tags.limits(run.tags) else ""


def wait(run: TaskRun, wake: Callable[[], object]) -> None:
    """Have a function called, in whichever thread, once a task run that was told to wait has its slots."""
    _control().slots.wait(run, wake)


def withdraw(run: TaskRun) -> None:
    """Give back what a task run has, or stop waiting for it; does nothing for one that did not ask. Never waits."""
    _control().withdraw(run.id)


class _Control:
    """What this process knows of its server, beside one journal."""

    def __init__(self, record: journal.Journal) -> None:
        self.journal = record
        self.home = home()
        self.tags: HomeTags | ServerTags
        # The facts of a run that a worker started go through the worker's home; others by themselves to their server.
        if ships_itself():
            self.tags = ServerTags(lambda: self.slots.limited_tags())
        else:
            self.tags = HomeTags(self.home.limits)
        self._slots: Slots | None = None

    @property
    def slots(self) -> Slots:
        """The asking, loaded when first needed."""
        slots = self._slots
        if slots is None:
            from orchestrator.sdk.control_slots import Slots  # http.client costs 20 ms at import

            with _lock:
                slots = self._slots = self._slots or Slots(self.home, self.journal)
        return slots

    def withdraw(self, task_run: str) -> None:
        """Give back a task run's slots, where anything was ever asked."""
        if self._slots is not None:
            self._slots.withdraw(task_run)


_lock = threading.Lock()
_current: _Control | None = None


def _control() -> _Control:
    """Return what belongs to this process's journal: the home in which its facts lie is the one whose limits hold."""
    global _current
    control = _current
    if control is None or control.journal is not journal.current():
        with _lock:
            control = _current
            if control is None or control.journal is not journal.current():
                control = _current = _Control(journal.current())
    return control


def _after_fork() -> None:
    # The parent's connections and threads stay the parent's: dropping these closes only the child's descriptors.
    global _current, _lock
    _current, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
