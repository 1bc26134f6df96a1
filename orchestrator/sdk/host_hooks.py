"""The hooks of a run whose process is gone: run in a fresh process, once, with what is known of the ending."""

import sys
from typing import NoReturn

from orchestrator.sdk import journal
from orchestrator.sdk.causes import CANCELLED
from orchestrator.sdk.execute import execute_hooks
from orchestrator.sdk.host_child import become_ordinary, claimed_run, enter_code, leave, take_over
from orchestrator.sdk.host_protocol import Start
from orchestrator.sdk.kernel import kernel
from orchestrator.sdk.loading import load_flow
from orchestrator.sdk.states import State, StateType


def run_hooks(start: Start, reason: str, message: str, host_pid: int) -> NoReturn:
    """Run `on_cancellation` or `on_crashed` in this newly forked process and end the process.

    What they print goes to a journal of this process's own, as lines of the run; the run's journal has its ending.

    Args:
        start: What was run.
        reason: With which it was told to stop.
        message: Why its process ended, in words.
        host_pid: The process that forked this one.
    """
    exit_code = 1
    try:
        kernel.die_with_parent(host_pid)
        become_ordinary()
        take_over(start)
        journal.open_journal(None, start.run, start.attempt)
        execute_hooks(load_flow(enter_code(start, is_recorded=False)), claimed_run(start), _state(reason, message))
        exit_code = 0
    except BaseException as error:  # user code may raise anything; the process must not return to the host
        sys.excepthook(type(error), error, error.__traceback__)
    leave(exit_code)


def _state(reason: str, message: str) -> State:
    if reason == CANCELLED:
        return State(StateType.CANCELLED, message=f"Cancelled: {message}")
    return State(StateType.CRASHED, message=f"Crashed: {message}")
