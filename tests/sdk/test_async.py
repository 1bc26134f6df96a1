"""Coroutines and async generators, through the async driver."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator import RunTimeoutError, as_completed, flow, runtime, task
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@task
async def add(x: int, y: int = 1) -> int:
    await asyncio.sleep(0)
    return x + y


@task
def sync_add(x: int) -> int:
    return x + 1


async def test_async_flow_and_tasks(recorded: Recorded):
    @flow
    async def one(n: int) -> Any:
        return await asyncio.gather(*[add(number) for number in range(n)]), sync_add(5)

    assert await one("3") == ([1, 2, 3], 6)
    assert recorded.flow_states() == [(1, "RUNNING", "Running"), (1, "COMPLETED", "Completed")]
    assert recorded.task_states("add-2") == [(1, "Running"), (1, "Completed")]


def test_async_flow_from_a_script():
    @flow
    async def one() -> int:
        return await add(1)

    assert asyncio.run(one()) == 2


async def test_concurrent_runs_keep_their_own_context():
    @flow
    async def one(wanted: str) -> bool:
        before = runtime.flow_run.id
        await asyncio.sleep(0.01)
        return runtime.flow_run.id == before and runtime.flow_run.parameters == {"wanted": wanted}

    assert await asyncio.gather(one("a"), one("b")) == [True, True]
    assert runtime.flow_run.id is None


async def test_submitted_coroutine_task_runs_beside_the_loop():
    @flow
    async def one() -> Any:
        future = add.submit(1)
        futures = add.map([1, 2])
        return await future, futures.result(), sync_add.submit(add.submit(4)).result()

    assert await one() == (2, [2, 3], 6)


async def test_async_flow_joins_what_it_left_unwaited(recorded: Recorded):
    @task
    async def slow() -> None:
        await asyncio.sleep(0.05)

    @flow
    async def one() -> None:
        slow.submit()

    await one()
    assert recorded.task_states("slow-0")[-1] == (1, "Completed")


async def test_async_retries():
    tries = []

    @task(retries=2, retry_delay_seconds=0.01)
    async def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("boom")
        return len(tries)

    @flow
    async def one() -> int:
        return await flaky()

    assert await one() == 3


async def test_async_timeouts_end_at_await_points(recorded: Recorded):
    cleaned = []

    @task(timeout_seconds=0.05)
    async def stuck() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append("task")

    @flow
    async def one() -> Any:
        return await stuck(return_state=True)

    with pytest.raises(RunTimeoutError):
        await one()
    assert cleaned == ["task"]
    assert recorded.task_states("stuck-0")[-1] == (1, "TimedOut")


async def test_users_own_timeout_error_is_a_failure():
    @task(timeout_seconds=5)
    async def own() -> None:
        raise TimeoutError("mine")

    @flow
    async def one() -> str:
        state = await own(return_state=True)
        return f"{state.name} {state.message}"

    assert await one() == "Failed TimeoutError: mine"


async def test_async_flow_timeout():
    @flow(timeout_seconds=0.05)
    async def one() -> None:
        await asyncio.sleep(60)

    state = await one(return_state=True)
    assert state.name == "TimedOut"


async def test_cancelled_task_run_is_cancelled(recorded: Recorded):
    @task
    async def stuck() -> None:
        await asyncio.sleep(60)

    @flow
    async def one() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stuck(), 0.01)

    await one()
    assert recorded.task_states("stuck-0")[-1] == (1, "Cancelled")


async def test_cancelled_flow_crashes(recorded: Recorded):
    @flow
    async def one() -> None:
        await asyncio.sleep(60)

    running = asyncio.create_task(one())
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert recorded.flow_states()[-1][1] == "CRASHED"


async def test_async_generator_task(recorded: Recorded):
    closed = []

    @task
    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(3):
                print("making", number)
                yield number
        finally:
            closed.append(1)

    @flow
    async def one() -> Any:
        every = [number async for number in numbers()]
        generator = numbers()
        async for _ in generator:
            break
        await generator.aclose()
        return every, numbers.submit().result()

    assert await one() == ([0, 1, 2], [0, 1, 2])
    assert len(closed) == 3
    assert recorded.task_states("numbers-0")[-1] == (1, "Completed")
    assert recorded.task_states("numbers-1")[-1] == (1, "Completed")


async def test_async_generator_flow(recorded: Recorded):
    @flow
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield await add(1)

    assert [number async for number in numbers()] == [1, 2]
    assert recorded.flow_states()[-1] == (1, "COMPLETED", "Completed")


async def test_async_hooks_and_conditions():
    seen = []

    async def hook(*all: Any) -> None:
        await asyncio.sleep(0)
        seen.append(all[2].name)

    async def condition(*all: Any) -> bool:
        return False

    @task(retries=3, retry_condition_fn=condition, on_failure=[hook])
    async def bad() -> None:
        raise ValueError

    @task(on_completion=[hook])
    def good() -> None: ...

    @flow(on_completion=[hook])
    async def one() -> None:
        await bad(return_state=True)
        good()
        good.submit().wait()

    await one()
    assert seen == ["Failed", "Completed", "Completed", "Completed"]


async def test_async_subflow(recorded: Recorded):
    @flow
    async def child(x: int) -> int:
        return await add(x)

    @flow
    async def one() -> Any:
        return await child(1), child.submit(2).result(), await asyncio.gather(child(3), child(4))

    assert await one() == (2, 3, [4, 5])
    assert len([fact for fact in recorded.facts("flow_run") if "parent" in fact]) == 4


def test_coroutine_task_submitted_by_a_sync_flow():
    @flow
    def one() -> Any:
        return sorted(future.result() for future in as_completed(add.map([1, 2, 3])))

    assert one() == [2, 3, 4]


async def test_waiting_for_a_future_leaves_the_loop_free():
    ticks = []

    @task
    def slow() -> int:
        time.sleep(0.1)
        return 1

    @flow
    async def one() -> int:
        async def tick() -> None:
            for _ in range(3):
                ticks.append(1)
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        value = await slow.submit()
        await ticking
        return value

    assert await one() == 1
    assert len(ticks) == 3


async def test_traceback_of_a_coroutine_has_only_the_users_frames(recorded: Recorded):
    @task
    async def deep() -> None:
        raise ValueError("boom")

    @flow
    async def one() -> None:
        await deep()

    with pytest.raises(ValueError) as raised:
        await one()
    assert not [entry for entry in raised.traceback if "orchestrator/sdk" in str(entry.path)]


def test_coroutine_that_is_never_awaited_is_named_after_the_function():
    @flow
    async def forgetful() -> None: ...

    for call in (add(1), forgetful()):
        assert call.__qualname__.endswith((".add", ".forgetful"))
        call.close()


async def test_state_of_an_async_generator_carries_a_list():
    @task
    async def numbers() -> AsyncIterator[int]:
        yield 1

    @flow
    async def one() -> AsyncIterator[Any]:
        yield (await numbers(return_state=True)).result()

    assert (await one(return_state=True)).result() == [[1]]
