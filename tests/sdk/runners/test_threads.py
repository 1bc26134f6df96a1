"""Task runners: places, order, what never deadlocks."""

import threading
import time
from typing import Any

import pytest

from orchestrator import InlineTaskRunner, ThreadPoolTaskRunner, as_completed, flow, task, wait
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@task
def one_more(x: int) -> int:
    return x + 1


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner(max_workers=1), InlineTaskRunner()])
def test_nested_submits_and_maps_do_not_deadlock(runner: Any):
    @task
    def level(depth: int) -> int:
        if depth == 0:
            return 1
        return sum(level.map([depth - 1] * 2).result()) + level.submit(0).result()

    @flow(task_runner=runner)
    def whole() -> int:
        return level.submit(4).result()

    assert whole() == 31


def test_as_completed_and_wait_inside_a_task_do_not_deadlock():
    @task
    def outer() -> int:
        futures = one_more.map([1, 2, 3])
        wait(futures)
        return sum(future.result() for future in as_completed(one_more.map([1, 2, 3])))

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def whole() -> int:
        return outer.submit().result()

    assert whole() == 9


def test_subflows_in_a_full_pool_do_not_deadlock():
    @flow
    def child(x: int) -> int:
        return one_more.submit(x).result()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def whole() -> Any:
        return child.map([1, 2, 3]).result()

    assert whole() == [2, 3, 4]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_max_workers_execute_at_a_time(workers: int):
    lock = threading.Lock()
    now, most = [0], [0]

    def enter() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])

    def leave() -> None:
        with lock:
            now[0] -= 1

    @task
    def inner() -> None:
        enter()
        time.sleep(0.005)
        leave()

    @task
    def outer() -> None:
        enter()
        time.sleep(0.005)
        leave()
        inner.submit().result()
        enter()
        time.sleep(0.005)
        leave()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=workers))
    def whole() -> None:
        wait([outer.submit() for _ in range(6)])

    whole()
    assert most[0] <= workers


def test_waiting_for_an_upstream_holds_no_worker():
    gate = threading.Event()

    @task
    def first() -> int:
        gate.wait(10)
        return 1

    @task
    def opens() -> None:
        gate.set()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def whole() -> Any:
        upstream = first.submit()
        waiting = [one_more.submit(upstream) for _ in range(10)]
        opens.submit()
        return [future.result() for future in waiting]

    assert whole() == [2] * 10


def test_pending_run_can_be_cancelled(recorded: Recorded):
    gate = threading.Event()

    @task
    def blocks() -> None:
        gate.wait(10)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def whole() -> Any:
        running, pending = blocks.submit(), one_more.submit(1)
        begun = threading.Event()
        while running.state.name != "Running":
            begun.wait(0.001)
        cancelled = (pending.cancel(), pending.cancel())
        gate.set()
        running.wait()
        return cancelled, running.cancel(), pending.state.name

    assert whole() == ((True, True), False, "Cancelled")
    assert recorded.task_states("one_more-0") == [(1, "Pending"), (1, "Cancelled")]


def test_failing_flow_cancels_what_has_not_begun(recorded: Recorded):
    gate = threading.Event()

    @task
    def blocks() -> None:
        gate.wait(10)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def whole() -> None:
        running = blocks.submit()
        begun = threading.Event()
        while running.state.name != "Running":
            begun.wait(0.001)
        one_more.submit(1)
        threading.Timer(0.05, gate.set).start()
        raise ValueError("boom")

    with pytest.raises(ValueError):
        whole()
    assert recorded.task_states("blocks-0")[-1] == (1, "Completed")
    assert recorded.task_states("one_more-0")[-1] == (1, "Cancelled")


def test_inline_runner_executes_in_the_submitting_thread():
    @task
    def where() -> str:
        return threading.current_thread().name

    @flow(task_runner=InlineTaskRunner())
    def whole() -> str:
        return where.submit().result()

    assert whole() == threading.current_thread().name


def test_threads_end_with_their_flow():
    @flow
    def whole() -> None:
        one_more.map(range(50)).wait()

    before = set(threading.enumerate())
    whole()
    until = time.monotonic() + 5
    while set(threading.enumerate()) - before:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_pool_of_no_workers_is_refused():
    with pytest.raises(ValueError, match="max_workers"):
        ThreadPoolTaskRunner(max_workers=0)
