"""A run that a worker claimed: its flow executes under the id and attempt that it was given."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator import flow, runtime, task
from orchestrator.sdk.execute import ClaimedRun, execute
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")
RUN = "01a2051c-6d25-7e7e-928e-d59f027cbbf4"


def test_claimed_run_executes_as_itself(recorded: Recorded):
    seen: dict[str, Any] = {}
    due = datetime(2026, 11, 22, 8, tzinfo=UTC)

    @flow(flow_run_name="for {day}")
    def one(day: int) -> None:
        seen["run"] = (runtime.flow_run.id, runtime.flow_run.name, runtime.flow_run.run_count, runtime.flow_run.tags)
        seen["deployment"] = (runtime.deployment.id, runtime.deployment.name, runtime.flow_run.scheduled_start_time)

    claimed = ClaimedRun(
        id=RUN,
        name="calm-crab",
        attempt=2,
        parameters={"day": "5"},
        tags=["a"],
        deployment_id="d-1",
        deployment="one/nightly",
        scheduled_for=due,
    )
    assert execute(one, claimed) == 0
    assert seen == {"run": (RUN, "for 5", 2, ["a"]), "deployment": ("d-1", "one/nightly", due)}
    assert recorded.facts("flow_run") == []
    (snapshot,) = recorded.facts("flow_run_update")
    assert (snapshot["parameters"], snapshot["run_name"]) == ({"day": 5}, "for 5")
    running, completed = recorded.facts("flow_state")
    assert (running["run"], running["attempt"], running["type"], running["pid"] > 0) == (RUN, 2, "RUNNING", True)
    assert (completed["attempt"], completed["type"]) == (2, "COMPLETED")


def test_the_deployments_task_runner_comes_before_the_codes():
    seen: list[bool] = []

    @task
    def is_here() -> bool:
        return threading.current_thread() is threading.main_thread()

    @flow(task_runner="threads")
    def one() -> None:
        seen.append(is_here.submit().result())

    execute(one, ClaimedRun(id=RUN, name="x", task_runner="inline"))
    execute(one, ClaimedRun(id=RUN, name="x"))
    assert seen == [True, False]


@pytest.mark.parametrize(("error", "code"), [(ValueError("boom"), 1), (SystemExit(5), 5), (SystemExit(), 0)])
def test_exit_codes(error: BaseException, code: int):
    @flow
    def one() -> None:
        raise error

    assert execute(one, ClaimedRun(id=RUN, name="x")) == code


def test_parameters_that_do_not_fit_fail_the_run(recorded: Recorded):
    @flow
    def one(day: int) -> None: ...

    assert execute(one, ClaimedRun(id=RUN, name="x", parameters={"day": "x"})) == 1
    assert [fact["type"] for fact in recorded.facts("flow_state")] == ["FAILED"]


def test_async_and_generator_flows_execute():
    seen = []

    @flow
    async def one() -> None:
        seen.append("async")

    @flow
    def two() -> Any:
        yield 1
        seen.append("generator")

    assert execute(one, ClaimedRun(id=RUN, name="x")) == 0
    assert execute(two, ClaimedRun(id=RUN, name="x")) == 0
    assert seen == ["async", "generator"]
