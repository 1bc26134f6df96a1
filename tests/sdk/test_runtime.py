"""`runtime`: what is running now."""

from typing import Any

import pytest

from orchestrator import flow, runtime, tags, task
from tests.sdk.conftest import Recorded


def test_outside_a_run_everything_is_none():
    assert runtime.flow_run.id is None
    assert runtime.flow_run.name is None
    assert runtime.flow_run.tags == []
    assert runtime.flow_run.parameters == {}
    assert runtime.flow_run.scheduled_start_time is None
    assert runtime.task_run.id is None
    assert runtime.deployment.id is None


@pytest.mark.usefixtures("recorded")
def test_inside_runs(recorded: Recorded):
    seen: dict[str, Any] = {}

    @task
    def work(x: int, y: int = 2) -> None:
        seen["task"] = (runtime.task_run.name, runtime.task_run.task_name, runtime.task_run.parameters)
        seen["in task"] = runtime.flow_run.name
        child()

    @flow
    def child() -> None:
        seen["child"] = (runtime.task_run.id, runtime.flow_run.parent_flow_run_id, runtime.flow_run.root_flow_run_id)

    @flow(flow_run_name="x", version="7")
    def one(n: int) -> None:
        run = runtime.flow_run
        seen["flow"] = (run.name, run.flow_name, run.flow_version, run.parameters, run.tags, run.run_count)
        seen["id"] = run.id
        assert run.scheduled_start_time == run.start_time is not None
        assert runtime.task_run.id is None
        work(1)

    with tags("a"):
        one("5")
    assert seen["flow"] == ("x", "one", "7", {"n": 5}, ["a"], 1)
    assert seen["task"] == ("work-0", "work", {"x": 1, "y": 2})
    assert seen["in task"] == "x"
    assert seen["child"] == (None, seen["id"], seen["id"])
    assert recorded.facts("flow_run")[0]["run"] == seen["id"]
