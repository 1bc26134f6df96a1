"""`future.cancel()` of what is under way: async code, waits in the engine, threads that nobody can stop, subflows."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import CancelledRun, Future, ThreadPoolTaskRunner, as_completed, flow, task
from orchestrator.sdk import jobs
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What blocked code waits for; opened at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


def until(condition: Any) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def name_of(future: Future[Any]) -> str:
    return future.state.name


def test_async_task_is_cancelled_where_it_awaits(recorded: Recorded):
    seen: list[str] = []

    @task(retries=3)
    async def naps() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            seen.append("cleaned up")

    @flow
    def whole() -> None:
        future = naps.submit()
        until(lambda: seen)
        assert future.cancel()
        future.wait()
        with pytest.raises(CancelledRun, match="Cancelled by the code that submitted it"):
            future.result()
        assert future.cancel()  # it has ended so

    whole()
    assert seen == ["begun", "cancelled", "cleaned up"]
    assert recorded.task_states("naps-0") == [(1, "Pending"), (1, "Running"), (1, "Cancelled")]
    assert not recorded.errors()


def test_async_task_that_swallows_it_ends_cancelled_all_the_same(recorded: Recorded):
    begun = threading.Event()

    @task
    async def stubborn() -> int:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return 1
        return 2

    @flow
    def whole() -> str:
        future = stubborn.submit()
        begun.wait(20)
        assert future.cancel()
        future.wait()
        return name_of(future)

    assert whole() == "Cancelled"


def test_async_task_that_does_not_end_is_left_behind(gate: threading.Event, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "UNWIND_SECONDS", 0.05)
    begun = threading.Event()

    @task
    async def blocks() -> None:
        begun.set()
        gate.wait(30)

    @flow
    def whole() -> str:
        future = blocks.submit()
        begun.wait(20)
        assert future.cancel()
        future.wait()
        return name_of(future)

    assert whole() == "Cancelled"


def test_waiting_for_the_next_attempt_ends_at_once(recorded: Recorded):
    @task(retries=1, retry_delay_seconds=60)
    def fails() -> None:
        raise ValueError("boom")

    @flow
    def whole() -> None:
        future = fails.submit()
        until(lambda: name_of(future) == "AwaitingRetry")
        assert future.cancel()
        assert future.done()

    whole()
    assert recorded.task_states("fails-0")[-2:] == [(1, "AwaitingRetry"), (1, "Cancelled")]


def test_function_in_a_thread_is_left_behind_and_its_thread_replaced(
    recorded: Recorded, gate: threading.Event, capsys: pytest.CaptureFixture[str]
):
    begun, over = threading.Event(), threading.Event()

    @task
    def blocks() -> int:
        begun.set()
        gate.wait(30)
        try:
            late()  # nothing more may begin in its name
        finally:
            over.set()
        return 1

    @task
    def late() -> None: ...

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def whole() -> int:
        future = blocks.submit()
        begun.wait(20)
        assert future.cancel()
        assert future.done()
        value = task(lambda: 7, name="next").submit().result()  # the only place is free again
        gate.set()
        assert over.wait(20)
        assert task(lambda: 8, name="next").submit().result() == 8
        return value

    assert whole() == 7
    assert recorded.task_states("blocks-0") == [(1, "Pending"), (1, "Running"), (1, "Cancelled")]
    assert [fact["task"] for fact in recorded.facts("task_run")] == ["blocks", "next", "next"]
    assert capsys.readouterr().err.count("left behind") == 1


def test_function_that_waits_for_a_future_ends_there(recorded: Recorded, gate: threading.Event):
    cleaned_up: list[str] = []

    @task
    def inner() -> None:
        gate.wait(30)

    @task
    def by_result() -> None:
        try:
            inner.submit().result()
        finally:
            cleaned_up.append("result")

    @task
    def by_order() -> None:
        try:
            list(as_completed([inner.submit()]))
        finally:
            cleaned_up.append("as_completed")

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def whole() -> None:
        futures = [by_result.submit(), by_order.submit()]
        until(lambda: [fact["name"] for fact in recorded.facts("task_state")].count("Running") == 4)
        until(lambda: all(future.cancel() and future.done() for future in futures))
        gate.set()

    whole()
    assert sorted(cleaned_up) == ["as_completed", "result"]


def test_subflow_is_cancelled_with_what_it_submitted(recorded: Recorded, gate: threading.Event):
    hooks: list[str] = []
    begun = threading.Event()

    @task
    async def naps() -> None:
        begun.set()
        await asyncio.sleep(60)

    @task
    def blocks() -> None:
        gate.wait(30)

    @flow(
        on_cancellation=[lambda flow, run, state: hooks.append(state.name)], on_failure=[lambda *_: hooks.append("!")]
    )
    def child() -> None:
        naps.submit()
        blocks.submit().result()

    @flow
    def whole() -> None:
        future = child.submit()
        begun.wait(20)
        until(lambda: [fact["name"] for fact in recorded.facts("task_state")].count("Running") >= 3)
        assert future.cancel()
        future.wait()
        assert name_of(future) == "Cancelled"

    whole()
    assert hooks == ["Cancelled"]
    assert recorded.flow_states("child")[-1] == (1, "CANCELLED", "Cancelled")
    until(lambda: recorded.task_states("naps-0")[-1] == (1, "Cancelled"))
    assert recorded.task_states("blocks-0")[-1] == (1, "Cancelled")
    assert recorded.flow_states("whole")[-1][1] == "COMPLETED"


def test_subflow_in_user_code_is_left_behind_and_begins_nothing_more(recorded: Recorded, gate: threading.Event):
    begun, over = threading.Event(), threading.Event()

    @task
    def late() -> None: ...

    @flow(on_cancellation=[lambda *_: hooks.append("hook")])
    def child() -> None:
        begun.set()
        gate.wait(30)
        try:
            late()
        finally:
            over.set()

    hooks: list[str] = []

    @flow
    def whole() -> None:
        future = child.submit()
        begun.wait(20)
        assert future.cancel()
        assert (future.done(), hooks) == (True, ["hook"])
        gate.set()
        assert over.wait(20)

    whole()
    assert recorded.flow_states("child")[-1] == (1, "CANCELLED", "Cancelled")
    assert not [fact for fact in recorded.facts("task_run") if fact["task"] == "late"]


def test_one_ending_only_however_cancelling_meets_it(recorded: Recorded):
    @task
    def quick() -> int:
        return 1

    @flow
    def whole() -> list[tuple[bool, str]]:
        futures = [quick.submit() for _ in range(200)]
        cancelled = [future.cancel() for future in futures]
        for future in futures:
            future.wait()
        return [(asked, name_of(future)) for asked, future in zip(cancelled, futures, strict=True)]

    endings = whole()
    assert {(True, "Cancelled"), (False, "Completed")} >= set(endings)
    finals = [fact["id"] for fact in recorded.facts("task_state") if fact["type"] in ("COMPLETED", "CANCELLED")]
    assert len(finals) == len(set(finals)) == 200
