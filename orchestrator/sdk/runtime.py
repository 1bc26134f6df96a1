"""What is running now: `runtime.flow_run.id`, `runtime.task_run.name`, `runtime.deployment.name` and their siblings.

Every attribute is None where there is no such run (tags and parameters are empty), so that a function can be tested
outside a flow.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.sdk.context import current_flow_run, current_task_run

__all__ = ["deployment", "flow_run", "task_run"]


class _FlowRun:
    """The current flow run."""

    @property
    def id(self) -> str | None:
        """Its id."""
        run = current_flow_run()
        return None if run is None else run.id

    @property
    def name(self) -> str | None:
        """Its name."""
        run = current_flow_run()
        return None if run is None else run.name

    @property
    def flow_name(self) -> str | None:
        """Its flow's name."""
        run = current_flow_run()
        return None if run is None else run.flow.name

    @property
    def flow_version(self) -> str | None:
        """Its flow's version."""
        run = current_flow_run()
        return None if run is None else run.flow.version

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters, as its function got them."""
        run = current_flow_run()
        return {} if run is None else dict(run.parameters)

    @property
    def tags(self) -> list[str]:
        """Its tags, sorted."""
        run = current_flow_run()
        return [] if run is None else sorted(run.tags)

    @property
    def run_count(self) -> int | None:
        """Which attempt this is, from 1."""
        run = current_flow_run()
        return None if run is None else run.attempt

    @property
    def scheduled_start_time(self) -> datetime | None:
        """When it was to start, in UTC; when it did start, if nobody said."""
        run = current_flow_run()
        return None if run is None else run.scheduled_for or run.start_time

    @property
    def start_time(self) -> datetime | None:
        """When its first attempt in this process began, in UTC."""
        run = current_flow_run()
        return None if run is None else run.start_time

    @property
    def parent_flow_run_id(self) -> str | None:
        """The id of the flow run that called it as a subflow."""
        run = current_flow_run()
        return None if run is None or run.parent is None else run.parent.id

    @property
    def root_flow_run_id(self) -> str | None:
        """The id of the flow run at the top of its parents, which may be itself."""
        run = current_flow_run()
        while run is not None and run.parent is not None:
            run = run.parent
        return None if run is None else run.id


class _TaskRun:
    """The current task run."""

    @property
    def id(self) -> str | None:
        """Its id."""
        run = current_task_run()
        return None if run is None else run.id

    @property
    def name(self) -> str | None:
        """Its name."""
        run = current_task_run()
        return None if run is None else run.name

    @property
    def task_name(self) -> str | None:
        """Its task's name."""
        run = current_task_run()
        return None if run is None else run.task.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of the call by parameter."""
        run = current_task_run()
        return {} if run is None else dict(run.parameters)

    @property
    def tags(self) -> list[str]:
        """Its tags, sorted."""
        run = current_task_run()
        return [] if run is None else sorted(run.tags)

    @property
    def run_count(self) -> int | None:
        """Which attempt this is, from 1."""
        run = current_task_run()
        return None if run is None else run.attempt


class _Deployment:
    """The deployment of the current flow run."""

    @property
    def id(self) -> str | None:
        """Its id."""
        run = current_flow_run()
        return None if run is None else run.deployment_id or None

    @property
    def name(self) -> str | None:
        """Its name."""
        run = current_flow_run()
        return None if run is None else run.deployment or None

    @property
    def flow_run_id(self) -> str | None:
        """The id of the flow run that was started for it."""
        run = current_flow_run()
        return None if run is None or not run.deployment_id else run.id

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that the run was started with."""
        run = current_flow_run()
        return {} if run is None or not run.deployment_id else dict(run.parameters)


flow_run = _FlowRun()
task_run = _TaskRun()
deployment = _Deployment()
