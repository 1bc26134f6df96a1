"""The facts of a task run: that it was created, that it entered a state."""

from __future__ import annotations

from orchestrator.sdk.endings import error_fact
from orchestrator.sdk.events import TaskRunCreated, TaskRunState
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.states import State, StateType


def task_state(run: TaskRun, flow_run: FlowRun, state: State, until: int = 0) -> TaskRunState:
    """Return the fact that a task run entered a state."""
    fact = TaskRunState(
        run=flow_run.id,
        attempt=run.flow_attempt,
        id=run.id,
        task_attempt=run.attempt,
        type=state.type,
        name=state.name,
        message=state.message,
    )
    if until:
        fact.until = until
    if state.type is StateType.RUNNING:
        fact.run_name = run.name if run.task.task_run_name is not None else ""
    elif state.type not in (StateType.COMPLETED, StateType.PENDING):  # NotReady is the upstream's error
        fact.error = error_fact(state)
    return fact


def task_created(run: TaskRun, flow_run: FlowRun, state: State) -> TaskRunCreated:
    """Return the fact that creates a task run in its first state."""
    fact = TaskRunCreated(
        run=flow_run.id,
        attempt=run.flow_attempt,
        id=run.id,
        task=run.task.name,
        key=run.key,
        index=run.index,
        name=run.name,
        type=state.type,
        state=state.name,
    )
    if run.tags:
        fact.tags = sorted(run.tags)
    if run.inputs:
        fact.inputs = run.inputs
    if run.task.retries:
        fact.max_retries = run.task.retries
    return fact
