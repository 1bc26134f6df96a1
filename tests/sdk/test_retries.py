"""Retries of tasks and flows: delays, conditions, what stays visible, what is reused."""

import time
from typing import Any

import pytest

from orchestrator import ThreadPoolTaskRunner, exponential_backoff, flow, task
from orchestrator.sdk.retries import delay_before
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@pytest.mark.parametrize(
    ("delays", "expected"),
    [
        (None, [0, 0, 0]),
        (2, [2, 2, 2]),
        ([1, 5], [1, 5, 5]),
        ((1.5,), [1.5, 1.5, 1.5]),
        ([], [0, 0, 0]),
        (lambda retries: [retries], [3, 3, 3]),
        (lambda retries: 4.0, [4, 4, 4]),
        (exponential_backoff(10), [10, 20, 40]),
        (-1, [0, 0, 0]),
    ],
)
def test_delays(delays: Any, expected: list[float]):
    assert [delay_before(retry, 3, delays) for retry in (1, 2, 3)] == expected


def test_jitter_spreads_around_the_delay():
    delays = [delay_before(1, 1, 10, jitter_factor=1) for _ in range(200)]
    assert min(delays) >= 5
    assert max(delays) <= 20
    assert len(set(delays)) > 100


def _failing(times: int) -> Any:
    tries = []

    def function() -> int:
        tries.append(1)
        print("try", len(tries))
        if len(tries) <= times:
            raise ValueError(f"no {len(tries)}")
        return len(tries)

    function.tries = tries  # type: ignore[attr-defined]
    return function


def test_each_attempt_of_a_task_run_stays_visible(recorded: Recorded):
    flaky = task(_failing(2), name="flaky", retries=3, retry_delay_seconds=0.01)

    @flow
    def one() -> int:
        return flaky()

    assert one() == 3
    assert recorded.task_states("flaky-0") == [
        (1, "Running"),
        (1, "AwaitingRetry"),
        (2, "Retrying"),
        (2, "AwaitingRetry"),
        (3, "Retrying"),
        (3, "Completed"),
    ]
    assert [error["message"] for error in recorded.errors()] == ["no 1", "no 2"]
    attempts = [fact.get("task_attempt", 1) for fact in recorded.facts("log") if fact["logger"] == "stdout"]
    assert attempts == [1, 2, 3]
    (created,) = recorded.facts("task_run")
    assert created["max_retries"] == 3


def test_last_error_is_raised_when_retries_are_used_up():
    flaky = task(_failing(9), name="flaky", retries=2)

    @flow
    def one() -> int:
        return flaky()

    with pytest.raises(ValueError, match="no 3"):
        one()


def test_condition_that_fails_means_no_retry(recorded: Recorded):
    function = _failing(9)
    flaky = task(function, name="flaky", retries=2, retry_condition_fn=lambda *all: 1 / 0)

    @flow
    def one() -> Any:
        return flaky(return_state=True)

    one(return_state=True)
    assert len(function.tries) == 1
    lines = recorded.printed("orchestrator.task_runs")
    assert any("retry_condition_fn failed: ZeroDivisionError" in line for line in lines)


def test_condition_sees_the_task_the_run_and_the_state():
    seen = []

    @task(retries=1, retry_condition_fn=lambda *all: bool(seen.append(all)))
    def bad() -> None:
        raise KeyError("x")

    @flow
    def one() -> None:
        bad(return_state=True)

    one()
    ((seen_task, seen_run, state),) = seen
    assert seen_task is bad
    assert seen_run.name == "bad-0"
    assert isinstance(state.result(raise_on_failure=False), KeyError)


def test_submitted_run_that_awaits_its_retry_holds_no_worker():
    flaky = task(_failing(1), name="flaky", retries=1, retry_delay_seconds=0.3)

    @task
    def quick() -> float:
        return time.monotonic()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def one() -> float:
        began = time.monotonic()
        waiting = flaky.submit()
        done = quick.submit().result() - began
        assert waiting.result() == 2
        return done

    assert one() < 0.25


def test_flow_retry_is_the_next_attempt_and_reuses_what_completed(recorded: Recorded):
    calls: list[Any] = []

    @task
    def extract(part: int) -> int:
        calls.append(part)
        return part * 10

    @task
    def load(value: int) -> int:
        calls.append("load")
        if calls.count("load") < 2:
            raise ValueError("locked")
        return value

    @flow(retries=2, retry_delay_seconds=0.01)
    def one() -> int:
        parts = [extract(1), extract(1), *extract.map([2, 3]).result()]
        return load(sum(parts))

    assert one() == 70
    assert sorted(map(str, calls)) == ["1", "1", "2", "3", "load", "load"]
    assert recorded.flow_states() == [
        (1, "RUNNING", "Running"),
        (1, "SCHEDULED", "AwaitingRetry"),
        (2, "RUNNING", "Retrying"),
        (2, "COMPLETED", "Completed"),
    ]
    assert len(recorded.facts("flow_run")) == 1
    second = [fact for fact in recorded.facts("task_run") if fact.get("attempt") == 2]
    states = [(fact["name"], fact.get("state")) for fact in second if fact["task"] == "extract"]
    assert states[:2] == [("extract-0", "Cached"), ("extract-1", "Cached")]
    assert recorded.errors()[-1]["message"] == "locked"


def test_flow_retry_runs_what_has_other_inputs():
    calls = []

    @task
    def extract(part: int) -> int:
        calls.append(part)
        return part

    @flow(retries=1)
    def one() -> None:
        extract(len(calls))
        if len(calls) < 2:
            raise ValueError

    one()
    assert calls == [0, 1]


def test_task_may_opt_out_of_being_kept():
    calls = []

    @task(cache_result_in_memory=False)
    def extract() -> None:
        calls.append(1)

    @flow(retries=1)
    def one() -> None:
        extract()
        if len(calls) < 2:
            raise ValueError

    one()
    assert len(calls) == 2


def test_flow_gives_up_after_its_retries(recorded: Recorded):
    failed = []

    @flow(retries=1, on_failure=[lambda *all: failed.append(all[1].run_count)])
    def one() -> None:
        raise ValueError("always")

    with pytest.raises(ValueError, match="always"):
        one()
    assert failed == [2]
    assert recorded.flow_states()[-1] == (2, "FAILED", "Failed")


def test_unhandled_failure_of_an_earlier_attempt_is_forgotten():
    tries = []

    @task
    def bad() -> None:
        raise ValueError

    @flow(retries=1)
    def one() -> str:
        tries.append(1)
        if len(tries) == 1:
            bad.submit()
        return "fine"

    assert one() == "fine"
    assert len(tries) == 2
