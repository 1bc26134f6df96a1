"""Timeouts of sync functions: by signal in the main thread, by abandoning the thread in others."""

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import FailedRun, RunTimeoutError, ThreadPoolTaskRunner, as_completed, flow, task
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@task(timeout_seconds=0.05)
def stuck() -> None:
    time.sleep(30)


def _took(seconds: float, began: float) -> bool:
    return time.monotonic() - began < seconds


def test_task_in_the_main_thread_is_ended(recorded: Recorded):
    @flow
    def one() -> None:
        stuck()

    before = signal.getsignal(signal.SIGALRM)
    began = time.monotonic()
    with pytest.raises(RunTimeoutError, match=r"Took longer than 0\.05 s"):
        one()
    assert _took(5, began)
    assert recorded.task_states("stuck-0")[-1] == (1, "TimedOut")
    assert signal.getsignal(signal.SIGALRM) is before


def test_catching_exceptions_does_not_swallow_a_timeout():
    @task(timeout_seconds=0.05)
    def stubborn() -> str:
        try:
            time.sleep(30)
        except Exception:
            pass
        return "went on"

    @flow
    def one() -> Any:
        return stubborn(return_state=True).name

    assert one() == "TimedOut"


def test_flow_is_ended_with_the_task_that_it_waits_for(recorded: Recorded):
    @task
    def slow() -> None:
        time.sleep(30)

    @flow(timeout_seconds=0.1)
    def one() -> None:
        slow()

    began = time.monotonic()
    state = one(return_state=True)
    assert _took(5, began)
    assert state.name == "TimedOut"
    assert recorded.task_states("slow-0")[-1] == (1, "Crashed")


def test_inner_timeout_does_not_end_the_flow():
    @flow(timeout_seconds=10)
    def one() -> list[str]:
        names = [stuck(return_state=True).name, stuck(return_state=True).name]
        time.sleep(0.01)
        return names

    assert one() == ["TimedOut", "TimedOut"]


def test_outer_timeout_still_works_after_an_inner_one():
    @flow(timeout_seconds=0.3)
    def one() -> None:
        stuck(return_state=True)
        time.sleep(30)

    began = time.monotonic()
    assert one(return_state=True).name == "TimedOut"
    assert _took(5, began)


def test_flow_timeout_covers_what_it_left_unwaited():
    release = threading.Event()

    @task
    def slow() -> None:
        release.wait(30)

    @flow(timeout_seconds=0.1)
    def one() -> str:
        slow.submit()
        return "fine"

    began = time.monotonic()
    state = one(return_state=True)
    release.set()
    assert state.name == "TimedOut"
    assert _took(5, began)


def test_waiting_for_a_future_is_ended_too():
    release = threading.Event()

    @task
    def slow() -> None:
        release.wait(30)

    @flow(timeout_seconds=0.1)
    def one() -> None:
        slow.submit().result()

    began = time.monotonic()
    assert one(return_state=True).name == "TimedOut"
    release.set()
    assert _took(5, began)


def test_waiting_for_the_first_of_several_is_ended_too():
    release = threading.Event()

    @task
    def slow() -> None:
        release.wait(30)

    @flow(timeout_seconds=0.1)
    def one() -> None:
        list(as_completed([slow.submit()]))

    began = time.monotonic()
    assert one(return_state=True).name == "TimedOut"
    release.set()
    assert _took(5, began)


def test_generator_is_ended_too():
    @task
    def slow() -> Iterator[int]:
        yield 1
        time.sleep(30)

    @flow(timeout_seconds=0.1)
    def one() -> None:
        list(slow())

    began = time.monotonic()
    assert one(return_state=True).name == "TimedOut"
    assert _took(5, began)


def test_task_in_a_worker_thread_is_abandoned_with_a_warning(recorded: Recorded):
    release = threading.Event()

    @task(timeout_seconds=0.05)
    def left() -> None:
        release.wait(30)

    @flow
    def one() -> Any:
        return left.submit().result(raise_on_failure=False)

    result = one(return_state=True).result()
    release.set()
    assert isinstance(result, RunTimeoutError)
    assert recorded.task_states("left-0")[-1] == (1, "TimedOut")
    assert any("is left behind" in line for line in recorded.printed("orchestrator.task_runs"))


def test_abandoned_task_holds_no_place():
    release = threading.Event()

    @task(timeout_seconds=0.05)
    def left() -> None:
        release.wait(30)

    @task
    def quick() -> int:
        return 1

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def one() -> int:
        left.submit().wait()
        return quick.submit().result()

    with pytest.raises(FailedRun):  # nobody looked at the one that timed out
        one()
    release.set()


def test_timed_out_run_is_retried(recorded: Recorded):
    tries = []

    @task(timeout_seconds=0.05, retries=1)
    def slow_once() -> int:
        tries.append(1)
        if len(tries) == 1:
            time.sleep(30)
        return 7

    @flow
    def one() -> list[int]:
        first = slow_once()
        tries.clear()
        return [first, slow_once.submit().result()]

    assert one() == [7, 7]
    assert recorded.task_states("slow_once-0") == [
        (1, "Running"),
        (1, "AwaitingRetry"),
        (2, "Retrying"),
        (2, "Completed"),
    ]


def test_timer_of_the_users_goes_on():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *all: rang.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:

        @flow
        def one() -> None:
            stuck(return_state=True)

        one()
        until = time.monotonic() + 5
        while not rang and time.monotonic() < until:
            signal.pause() if signal.getitimer(signal.ITIMER_REAL)[0] else time.sleep(0.01)
        assert rang == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_deadline_does_not_tear_what_the_engine_writes(recorded: Recorded):
    @task
    def noop() -> None: ...

    @flow(timeout_seconds=0.2)
    def one() -> None:
        while True:
            noop()

    assert one(return_state=True).name == "TimedOut"
    numbers = [fact["n"] for fact in recorded.facts()]
    assert numbers == list(range(1, len(numbers) + 1))
    states = {fact["id"]: fact["type"] for fact in recorded.facts("task_state")}
    created = [fact["id"] for fact in recorded.facts("task_run")]
    assert all(identifier in states for identifier in created)
