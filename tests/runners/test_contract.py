"""What every task runner holds, on its real engine. A runner is in here by one line in `conftest.KINDS`."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    Future,
    RunTimeoutError,
    State,
    TransferError,
    UpstreamError,
    allow_failure,
    as_completed,
    flow,
    get_run_logger,
    runtime,
    tags,
    task,
    unmapped,
    wait,
)
from orchestrator.sdk.runners.base import TaskRunner
from tests.runners.conftest import (
    CELERY,
    PROCESSES,
    RAY,
    Gate,
    Kind,
    only_parallel,
    only_remote,
    until_gone,
    until_recorded,
    until_running,
)
from tests.sdk.conftest import Recorded
from tests.sdk.slot_server import SlotServer, slot_server

BIG = 20_000_000


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def pid() -> int:
    return os.getpid()


@dataclass
class Order:
    """Something that holds other things."""

    number: int
    lines: list[Any]


# --- values, exceptions, arguments


def test_values_come_back(runner: TaskRunner, recorded: Recorded):
    @flow(task_runner=runner)
    def whole() -> Any:
        return add.submit(1).result(), add.submit(2, y=3).result(), add.submit(4).state.name

    assert whole()[:2] == (2, 5)
    assert recorded.task_states("add-0") == [(1, "Pending"), (1, "Running"), (1, "Completed")]


def test_functions_execute_where_the_runner_says(kind: Kind, recorded: Recorded):
    @flow(task_runner=kind.runner)
    def whole() -> int:
        return pid.submit().result()

    assert (whole() != os.getpid()) == kind.is_remote


def test_tasks_of_the_script_itself_see_their_closure(runner: TaskRunner):
    factor = 7

    @task
    def times(x: int) -> int:
        return x * factor

    @flow(task_runner=runner)
    def whole() -> Any:
        return times.map([1, 2]).result()

    assert whole() == [7, 14]


class OutOfStock(Exception):
    """An exception of the user's whose `__init__` takes something else than its message, as many do."""

    def __init__(self, item: str) -> None:
        super().__init__(f"no more {item}")
        self.item = item


class Unreadable(Exception):
    """One that says itself how it is pickled, and is wrong."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    def __reduce__(self) -> Any:
        return Unreadable, (self.code,)


def take_from_shelf() -> None:
    raise LookupError("the shelf is empty")


@task
def sell(item: str) -> None:
    try:
        take_from_shelf()
    except LookupError as error:
        raise OutOfStock(item) from error


@task
def fails_unreadably() -> None:
    raise Unreadable(7, "out of order")


def test_exceptions_are_raised_again_with_the_lines_they_came_from(runner: TaskRunner, recorded: Recorded):
    caught: list[OutOfStock] = []

    @flow(task_runner=runner)
    def whole() -> str:
        try:
            sell.submit("tea").result()
        except OutOfStock as error:
            caught.append(error)
        return "sold out"

    assert whole() == "sold out"
    assert (caught[0].item, str(caught[0])) == ("tea", "no more tea")
    (error,) = recorded.errors()
    assert error["type"] == "OutOfStock"
    assert "take_from_shelf()" in error["traceback"]
    assert "LookupError: the shelf is empty" in error["traceback"]
    assert "orchestrator/sdk" not in error["traceback"]


def test_a_failure_that_nobody_looks_at_fails_the_flow(runner: TaskRunner, recorded: Recorded):
    @flow(task_runner=runner)
    def whole() -> None:
        sell.submit("tea")

    with pytest.raises(FailedRun, match="sell-0"):
        whole()


def test_futures_anywhere_in_arguments_are_put_in(runner: TaskRunner, recorded: Recorded):
    @task
    def total(order: Order, by_name: dict[str, Any]) -> int:
        return order.number + sum(order.lines) + by_name["x"][0]

    @flow(task_runner=runner)
    def whole() -> int:
        one, two = add.submit(0), add.submit(1)
        return total.submit(Order(10, [one, two]), {"x": (one,)}).result()

    assert whole() == 14
    total_run = next(fact for fact in recorded.facts("task_run") if fact["name"] == "total-0")
    assert {name: len(runs) for name, runs in total_run["inputs"].items()} == {"order": 2, "by_name": 1}


def test_map_and_wait_for(runner: TaskRunner, recorded: Recorded):
    @flow(task_runner=runner)
    def whole() -> Any:
        first = add.submit(1)
        sums = add.map([1, 2, 3], unmapped(10), wait_for=[first])
        done, not_done = wait(sums)
        return sums.result(), len(done), len(not_done), sum(future.result() for future in as_completed(sums))

    assert whole() == ([11, 12, 13], 3, 0, 36)


def test_what_needs_a_failed_run_does_not_begin(runner: TaskRunner, recorded: Recorded):
    @task
    def length(value: Any) -> int:
        return len(str(value))

    @flow(task_runner=runner)
    def whole() -> Any:
        failed = sell.submit("tea")
        return length.submit(failed).state.name, length.submit(allow_failure(failed)).result(), _message(failed)

    @flow(task_runner=runner)
    def raising() -> None:
        length.submit(sell.submit("tea")).result()

    assert whole()[1:] == (len("no more tea"), "no more tea")
    with pytest.raises(UpstreamError):
        raising()


def _message(future: Future) -> str:
    return str(future.result(raise_on_failure=False))


def test_all_kinds_of_functions(runner: TaskRunner):
    @task
    async def awaited(x: int) -> int:
        return x

    @task
    def yielded(n: int) -> Iterator[int]:
        yield from range(n)

    @flow(task_runner=runner)
    def whole() -> Any:
        return awaited.submit(1).result(), yielded.submit(2).result(), Shop("tea").sign.submit().result()

    assert whole() == (1, [0, 1], "tea for sale")


class Shop:
    """An object with a task."""

    def __init__(self, goods: str) -> None:
        self.goods = goods

    @task
    def sign(self) -> str:
        return f"{self.goods} for sale"


async def test_async_flows_await_their_futures(runner: TaskRunner):
    @flow(task_runner=runner)
    async def whole() -> int:
        return await add.submit(await add.submit(1))

    assert await whole() == 3


# --- within a task


def test_tasks_submit_and_map_tasks_at_any_depth(runner: TaskRunner, recorded: Recorded):
    @task
    def level(depth: int) -> int:
        if depth == 0:
            return add.submit(0).result()
        return sum(level.map([depth - 1] * 2).result()) + add(0)

    @flow(task_runner=runner)
    def whole() -> int:
        return level.submit(3).result()

    assert whole() == 15
    assert len(recorded.facts("task_run")) == 15 + 15
    states = [fact["name"] for fact in recorded.facts("task_state")]
    assert states.count("Completed") == 30
    assert len({fact["run"] for fact in recorded.facts("task_run")}) == 1


def test_futures_that_a_task_returns_are_resolved_and_its_unwatched_failures_seen(runner: TaskRunner):
    @task
    def hands_on() -> Any:
        return [add.submit(1), add.submit(2)]

    @task
    def forgets() -> int:
        sell.submit("tea")
        return 1

    @flow(task_runner=runner)
    def whole() -> Any:
        return hands_on.submit().result()

    @flow(task_runner=runner)
    def forgetful() -> int:
        return forgets.submit().result()

    assert whole() == [2, 3]
    with pytest.raises(FailedRun, match="sell-0"):
        forgetful()


def test_a_task_may_return_a_state(runner: TaskRunner):
    @task
    def judges() -> State:
        return State("FAILED", message="not good enough")

    @flow(task_runner=runner)
    def whole() -> Any:
        future = judges.submit()
        future.wait()
        return repr(future.state)

    assert whole() == "Failed('not good enough')"


def test_flows_are_called_and_submitted_within(runner: TaskRunner, recorded: Recorded):
    @flow
    def child(x: int) -> int:
        return add.submit(x).result()

    @task
    def calls() -> int:
        return child(1)

    @flow(task_runner=runner)
    def whole() -> Any:
        return calls.submit().result(), child.submit(2).result()

    assert whole() == (2, 3)
    assert recorded.flow_states("child").count((1, "COMPLETED", "Completed")) == 2
    parents = {fact.get("parent") for fact in recorded.facts("flow_run") if fact["flow"] == "child"}
    assert parents == {fact["run"] for fact in recorded.facts("flow_run") if fact["flow"] == "whole"}


def test_runtime_and_tags_within_a_task(runner: TaskRunner, recorded: Recorded):
    @task(tags=["own"])
    def looks() -> Any:
        add(1)
        return (
            runtime.flow_run.id,
            runtime.flow_run.flow_name,
            runtime.flow_run.parameters,
            runtime.task_run.name,
            runtime.task_run.run_count,
            runtime.task_run.tags,
        )

    @flow(task_runner=runner)
    def whole(day: str) -> Any:
        with tags("daily"):
            return looks.submit().result()

    flow_run, *others = whole("Monday")
    assert others == ["whole", {"day": "Monday"}, "looks-0", 1, ["daily", "own"]]
    assert flow_run == recorded.facts("flow_run")[0]["run"]
    assert {fact["name"]: fact.get("tags") for fact in recorded.facts("task_run")} == {
        "looks-0": ["daily", "own"],
        "add-0": ["daily"],
    }


@only_parallel
def test_limits_of_tags_hold(kind: Kind, recorded: Recorded, home: Path, monkeypatch: pytest.MonkeyPatch):
    with slot_server(database=1) as server:
        monkeypatch.setenv("ORCHESTRATOR_API_URL", server.url)
        monkeypatch.setenv("ORCHESTRATOR_RUN_ID", "a-run-of-a-worker")
        (home / "limits.json").write_text(json.dumps({"version": 1, "tags": ["database"]}))
        give_back = threading.Thread(target=_give_back_as_they_end, args=(server, recorded, 3), daemon=True)
        give_back.start()

        @task(tags=["database"])
        def load(x: int) -> int:
            return x

        @flow(task_runner=kind.runner)
        def whole() -> Any:
            return load.map([1, 2, 3]).result()

        assert whole() == [1, 2, 3]
        give_back.join(10)
    assert len({asked["task_run"] for asked in server.asked}) == 3
    running: set[str] = set()
    for fact in recorded.facts("task_state"):
        if fact["type"] == "RUNNING":
            running.add(fact["id"])
        else:
            running.discard(fact["id"])
        assert len(running) <= 1


def _give_back_as_they_end(server: SlotServer, recorded: Recorded, count: int) -> None:
    """Do what a real server does when it brings an ending in: free the slot."""
    freed: set[str] = set()
    until = time.monotonic() + 30
    while len(freed) < count and time.monotonic() < until:
        ended = {fact["id"] for fact in recorded.facts("task_state") if fact["type"] == "COMPLETED"}
        for task_run in ended - freed:
            server.free(task_run)
        freed |= ended
        time.sleep(0.005)


# --- retries and timeouts


def test_retries_as_the_policy_says(runner: TaskRunner, recorded: Recorded):
    @task(retries=3, retry_delay_seconds=0.01)
    def third_time() -> int:
        count = runtime.task_run.run_count or 0
        if count < 3:
            raise ValueError(f"attempt {count}")
        return count

    @task(retries=3, retry_condition_fn=lambda task, run, state: False)
    def never_again() -> None:
        raise ValueError("no")

    @flow(task_runner=runner)
    def whole() -> Any:
        return third_time.submit().result(), type(never_again.submit().result(raise_on_failure=False))

    assert whole() == (3, ValueError)
    names = [name for _, name in recorded.task_states("third_time-0")]
    assert names == ["Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]
    assert (1, "Failed") in recorded.task_states("never_again-0")


def test_a_timeout_ends_the_run(kind: Kind, recorded: Recorded, gates: tuple[Gate, Gate]):
    begun, go_on = gates

    @task(timeout_seconds=0.3)
    def waits_for_ever() -> None:
        go_on.wait()
        Path(begun.path).with_suffix(".went-on").touch()

    @task(timeout_seconds=0.3, retries=1)
    async def awaits_for_ever() -> None:
        import asyncio

        if runtime.task_run.run_count == 1:
            await asyncio.Event().wait()

    @flow(task_runner=kind.runner)
    def whole() -> Any:
        slow, retried = waits_for_ever.submit(), awaits_for_ever.submit()
        with pytest.raises(RunTimeoutError):
            slow.result()
        retried.result()
        return slow.state.name

    assert whole() == "TimedOut"
    if kind.ends_work:
        go_on.open_later()  # nobody is there any more
        assert not begun.path.with_suffix(".went-on").exists()


@pytest.mark.parametrize("kind", [PROCESSES, CELERY, RAY], indirect=True, scope="module")
def test_a_timeout_ends_what_cannot_be_interrupted(kind: Kind, recorded: Recorded):
    @task(timeout_seconds=0.2)
    def swallows() -> None:
        print(f"pid {os.getpid()}")
        while True:
            try:
                threading.Event().wait(60)
            except BaseException:
                pass

    @flow(task_runner=kind.runner)
    def whole() -> Any:
        future = swallows.submit()
        future.wait()
        return future.state.name, add.submit(1).result()

    assert whole() == ("TimedOut", 2)
    (line,) = [line for line in recorded.printed() if line.startswith("pid ")]
    until_gone(int(line.removeprefix("pid ")))


# --- cancelling


@only_parallel
def test_cancelling_what_is_under_way(kind: Kind, recorded: Recorded, gates: tuple[Gate, Gate]):
    begun, go_on = gates

    @task
    def blocks() -> None:
        try:
            begun.open()
            go_on.wait()
            begun.path.with_suffix(".went-on").touch()
        finally:
            begun.path.with_suffix(".cleaned-up").touch()

    @flow(task_runner=kind.runner)
    def whole() -> Any:
        future = blocks.submit()
        begun.wait()
        until_running(future)
        assert future.cancel()
        with pytest.raises(CancelledRun):
            future.result()
        return future.state.name, add.submit(1).result()

    assert whole() == ("Cancelled", 2)
    assert recorded.task_states("blocks-0") == [(1, "Pending"), (1, "Running"), (1, "Cancelled")]
    if kind.ends_work:
        go_on.open_later()
        assert not begun.path.with_suffix(".went-on").exists()


@only_parallel
def test_what_waits_for_its_upstream_or_a_place_is_called_off_when_the_flow_fails(
    kind: Kind, recorded: Recorded, gates: tuple[Gate, Gate]
):
    begun, go_on = gates

    @task
    def blocks() -> None:
        begun.open()
        go_on.wait()

    @flow(task_runner=kind.runner)
    def whole() -> None:
        blocking = blocks.submit()
        begun.wait()
        until_running(blocking)
        waiting = add.submit(1, wait_for=[blocking])
        waiting.add_done_callback(lambda _: go_on.open())  # not before: what it waits for would end, and it begin
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        whole()
    assert recorded.task_states("blocks-0")[-1] == (1, "Completed")
    assert recorded.task_states("add-0") == [(1, "Pending"), (1, "Cancelled")]


# --- logs and prints


@only_parallel
def test_log_lines_and_prints_are_recorded_while_the_task_executes(
    kind: Kind, recorded: Recorded, gates: tuple[Gate, Gate]
):
    _, go_on = gates

    @task
    def talks() -> None:
        print("half done")
        get_run_logger().info("logged by %s", runtime.task_run.name)
        sys.stderr.write("no newline")
        sys.stdout.write("and ")
        go_on.wait()
        print("done")

    @flow(task_runner=kind.runner)
    def whole() -> None:
        talking = talks.submit()
        until_recorded(recorded, "half done")
        until_recorded(recorded, "logged by talks-0", "orchestrator.task_runs")
        go_on.open()
        talking.result()

    whole()
    talk = recorded.facts("task_run")[0]["id"]
    lines = {fact["message"]: fact for fact in recorded.facts("log") if fact.get("task_run") == talk}
    assert set(lines) == {"half done", "logged by talks-0", "no newline", "and done"}
    assert {fact.get("task_attempt") for fact in lines.values()} == {1}


def test_prints_reach_the_terminal_once(runner: TaskRunner, capfd: pytest.CaptureFixture[str], recorded: Recorded):
    @task
    def prints() -> None:
        print("tea is ready")

    @flow(task_runner=runner)
    def whole() -> None:
        prints.submit().result()

    whole()
    assert capfd.readouterr().out.count("tea is ready") == 1
    assert recorded.printed() == ["tea is ready"]


# --- what cannot travel


def test_results_and_arguments_of_any_size(runner: TaskRunner):
    @task
    def grows(data: bytes) -> bytes:
        return data * 2

    @flow(task_runner=runner)
    def whole() -> int:
        return len(grows.submit(grows.submit(bytes(BIG // 2))).result())

    assert whole() == BIG * 2


@only_remote
def test_an_argument_that_cannot_be_sent_is_named(kind: Kind, recorded: Recorded):
    @task(retries=3, retry_delay_seconds=60)
    def reads(path: str, connection: Any) -> None: ...

    @flow(task_runner=kind.runner)
    def whole() -> None:
        database = sqlite3.connect(":memory:")
        try:
            reads.submit("x", database).result()
        finally:
            database.close()

    with pytest.raises(TransferError, match=r"argument 'connection' of task 'reads' \(a sqlite3.Connection\)"):
        whole()
    assert [name for _, name in recorded.task_states("reads-0")][-1] == "Failed"


@only_remote
def test_a_function_that_cannot_be_sent_is_named(kind: Kind, recorded: Recorded):
    lock = threading.Lock()

    @task
    def holds() -> bool:
        return lock.locked()

    @flow(task_runner=kind.runner)
    def whole() -> None:
        holds.submit().result()

    with pytest.raises(TransferError, match="function of task 'holds'"):
        whole()


@only_remote
def test_a_future_that_is_no_argument_cannot_be_sent(kind: Kind, recorded: Recorded):
    @flow(task_runner=kind.runner)
    def whole() -> None:
        one = add.submit(1)

        @task
        def looks() -> int:
            return one.result()

        looks.submit().result()

    with pytest.raises(TransferError, match="pass it as an argument of the task"):
        whole()


@only_remote
def test_a_result_that_cannot_be_sent_back_is_told(kind: Kind, recorded: Recorded):
    @task
    def opens() -> Any:
        return threading.Lock()

    @flow(task_runner=kind.runner)
    def whole() -> None:
        opens.submit().result()

    with pytest.raises(TransferError, match=r"result of Task run 'opens-0' \(a _thread.lock\)"):
        whole()


@only_remote
def test_an_exception_that_cannot_be_sent_back_is_told(kind: Kind, recorded: Recorded):
    @flow(task_runner=kind.runner)
    def whole() -> None:
        fails_unreadably.submit().result()

    with pytest.raises(FailedRun, match="Unreadable: out of order"):
        whole()
    assert "raise Unreadable" in recorded.errors()[0]["traceback"]


# --- processes that die


@task
def dies(gate: Path, until_attempt: int) -> int:
    if (runtime.task_run.run_count or 0) < until_attempt:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@only_remote
def test_a_killed_process_crashes_its_task_run_and_the_flow_goes_on(kind: Kind, recorded: Recorded, tmp_path: Path):
    @flow(task_runner=kind.runner)
    def whole() -> Any:
        lost = dies.submit(tmp_path, 99)
        error = lost.result(raise_on_failure=False)
        return type(error), lost.state.name, add.map([1, 2, 3]).result()

    assert whole() == (CrashedRun, "Crashed", [2, 3, 4])
    assert recorded.task_states("dies-0") == [(1, "Pending"), (1, "Running"), (1, "Crashed")]


@only_remote
def test_a_killed_process_is_retried_as_the_policy_says(kind: Kind, recorded: Recorded, tmp_path: Path):
    @flow(task_runner=kind.runner)
    def whole() -> Any:
        return dies.with_options(retries=2).submit(tmp_path, 3).result()

    assert whole() != os.getpid()
    names = [name for _, name in recorded.task_states("dies-0")]
    assert names == ["Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]


@only_remote
def test_a_process_killed_from_outside_in_the_middle(kind: Kind, recorded: Recorded, gates: tuple[Gate, Gate]):
    begun, go_on = gates

    @task(retries=1)
    def blocks() -> str:
        begun.open(str(os.getpid()))
        return go_on.wait()

    @flow(task_runner=kind.runner)
    def whole() -> str:
        future = blocks.submit()
        os.kill(int(begun.wait()), signal.SIGKILL)
        begun.wait()
        go_on.open("second time")
        return future.result()

    assert whole() == "second time"
    assert (2, "Completed") in recorded.task_states("blocks-0")


def test_sys_exit_in_a_task_crashes_it_alone(runner: TaskRunner):
    @task
    def leaves() -> None:
        sys.exit(3)

    @flow(task_runner=runner)
    def whole() -> Any:
        future = leaves.submit()
        future.wait()
        return future.state.name, add.submit(1).result()

    assert whole() == ("Crashed", 2)


def test_children_of_a_task_work_as_in_a_script(runner: TaskRunner):
    @task
    def starts() -> str:
        return subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True).stdout

    @flow(task_runner=runner)
    def whole() -> str:
        return starts.submit().result()

    assert whole() == "42\n"
