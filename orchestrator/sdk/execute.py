"""A run that a worker has claimed, executed in this process: what a run host calls in the child it made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.sdk.drivers import Life, drive
from orchestrator.sdk.engine import live, new_flow_run
from orchestrator.sdk.flows import Flow
from orchestrator.sdk.machines import hooks_life
from orchestrator.sdk.runs import FlowRun
from orchestrator.sdk.session import session
from orchestrator.sdk.states import State, StateType


class ClaimedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run before its flow executes.

    Attributes:
        id, name: Of the flow run.
        attempt: Which attempt this is, from 1.
        parameters: JSON values; they are fitted to the flow's annotations.
        tags: Of the run.
        deployment_id, deployment: Of the deployment, empty without one.
        scheduled_for: When it was to start.
        task_runner: The one that its deployment chose, by name; empty: the flow's own.
    """

    id: str
    name: str
    attempt: int = 1
    parameters: dict[str, Any] = {}
    tags: list[str] = []
    deployment_id: str = ""
    deployment: str = ""
    scheduled_for: datetime | None = None
    task_runner: str = ""


def execute(flow: Flow[Any, Any], claimed: ClaimedRun, on_concluded: Callable[[], None] | None = None) -> int:
    """Execute a claimed run and record its facts.

    Args:
        flow: The flow that was loaded from the run's entrypoint.
        claimed: The run. Its `FlowRunCreated` is not recorded, since the server made it.
        on_concluded: Called just before its final state is recorded.

    Returns:
        The exit code for the process: 0 when it completed, what `sys.exit` was given, else 1.
    """
    run = claimed_flow_run(flow, claimed)
    run.on_concluded = on_concluded
    return _exit_code(live(run))


def execute_hooks(flow: Flow[Any, Any], claimed: ClaimedRun, state: State) -> None:
    """Run the hooks for the final state of a claimed run whose own process is gone; what they print is recorded."""
    run = claimed_flow_run(flow, claimed)
    life = Life(hooks_life(run, state), run)
    with session(run):
        drive(life, life.advance())


def claimed_flow_run(flow: Flow[Any, Any], claimed: ClaimedRun) -> FlowRun:
    """Return the flow run that a claimed run is in its process."""
    run = new_flow_run(flow, (), dict(claimed.parameters))
    run.claimed = True
    run.id = claimed.id
    run.name = claimed.name
    run.attempt = claimed.attempt
    run.tags = frozenset(claimed.tags)
    run.deployment_id = claimed.deployment_id
    run.deployment = claimed.deployment
    run.scheduled_for = claimed.scheduled_for
    run.task_runner = claimed.task_runner
    return run


def _exit_code(state: State) -> int:
    if state.type is StateType.COMPLETED:
        return 0
    data = state.result(raise_on_failure=False)
    if isinstance(data, SystemExit):
        return data.code if isinstance(data.code, int) else 0 if data.code is None else 1
    return 1
