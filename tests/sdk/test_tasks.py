"""Tasks: calls, kinds of functions, inputs, names, options."""

import functools
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator import Future, UpstreamError, allow_failure, flow, get_run_logger, quote, tags, task, wait
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def fail() -> None:
    raise ValueError("boom")


@task
def echo(value: Any) -> Any:
    return value


def test_call_returns_the_value_and_records_two_facts(recorded: Recorded):
    @flow
    def one() -> int:
        return add(1, y=2)

    assert one() == 3
    (created,) = recorded.facts("task_run")
    assert (created["task"], created["name"], created["type"]) == ("add", "add-0", "RUNNING")
    assert created["key"].endswith(".add")
    assert recorded.task_states("add-0") == [(1, "Running"), (1, "Completed")]


def test_calls_of_a_task_are_counted(recorded: Recorded):
    @flow
    def one() -> None:
        for _ in range(3):
            add(1)
        fail(return_state=True)

    one()
    assert [(fact["name"], fact.get("index", 0)) for fact in recorded.facts("task_run")] == [
        ("add-0", 0),
        ("add-1", 1),
        ("add-2", 2),
        ("fail-0", 0),
    ]


def test_task_outside_a_flow_works_and_records_nothing(recorded: Recorded):
    assert add(1) == 2
    assert add.submit(1).result() == 2
    assert add.map([1, 2]).result() == [2, 3]
    assert fail(return_state=True).is_failed()
    assert recorded.facts() == []


def test_futures_anywhere_in_arguments_are_resolved_and_become_inputs(recorded: Recorded):
    @dataclass
    class Box:
        inside: Any

    @flow
    def one() -> Any:
        a, b = add.submit(1), add.submit(10)
        got = echo({"list": [a, {"deep": b}], "box": Box((a,)), "plain": 5})
        return got["list"], got["box"].inside, got["plain"]

    assert one() == ([2, {"deep": 11}], (2,), 5)
    ids = {fact["name"]: fact["id"] for fact in recorded.facts("task_run")}
    echoed = next(fact for fact in recorded.facts("task_run") if fact["task"] == "echo")
    assert echoed["inputs"] == {"value": [ids["add-0"], ids["add-1"], ids["add-0"]]}


def test_arguments_without_futures_stay_the_same_objects():
    many = [{"row": number} for number in range(5)]

    @flow
    def one() -> Any:
        return echo(many)

    assert one() is many


def test_states_are_resolved_too():
    @flow
    def one() -> int:
        return add(add(1, return_state=True))

    assert one() == 3


def test_quoted_value_is_not_searched():
    @task
    def look(value: list[Any]) -> bool:
        return isinstance(value[0], Future)

    @flow
    def one() -> Any:
        return look(quote([add.submit(1)]))

    assert one() is True


def test_wait_for_orders_without_passing_data(recorded: Recorded):
    order = []

    @task
    def slow() -> None:
        time.sleep(0.05)
        order.append("slow")

    @task
    def after() -> None:
        order.append("after")

    @flow
    def one() -> None:
        first = slow.submit()
        after.submit(wait_for=[first]).result()
        after(wait_for=[first])

    one()
    assert order == ["slow", "after", "after"]
    created = next(fact for fact in recorded.facts("task_run") if fact["name"] == "after-0")
    assert list(created["inputs"]) == ["wait_for"]


def test_wait_for_a_failed_run_keeps_from_starting_unless_it_is_allowed():
    @flow
    def one() -> list[str]:
        failed = fail.submit()
        wait([failed])
        return [
            add(1, wait_for=[failed], return_state=True).name,
            add(1, wait_for=[allow_failure(failed)], return_state=True).name,
        ]

    assert one() == ["NotReady", "Completed"]


@pytest.mark.parametrize("through", ["argument", "wait_for"])
def test_allowed_failure_lets_a_run_that_was_not_ready_through_too(through: str):
    @flow(on_unhandled_failure="ignore")
    def one() -> Any:
        not_ready = add.submit(fail.submit())
        if through == "argument":
            return echo(allow_failure(not_ready))
        return echo.submit("cleaned up", wait_for=[allow_failure(not_ready)]).result()

    got = one()
    assert isinstance(got, UpstreamError) if through == "argument" else got == "cleaned up"


def test_submitted_run_with_a_failed_upstream_is_never_called(recorded: Recorded):
    called = []

    @task
    def downstream(x: int) -> None:
        called.append(x)

    @flow(on_unhandled_failure="ignore")
    def one() -> str:
        with pytest.raises(UpstreamError):
            downstream.submit(fail.submit()).result()
        return "fine"

    assert one() == "fine"
    assert not called
    assert recorded.task_states("downstream-0") == [(1, "Pending"), (1, "NotReady")]


def test_generator_task_is_running_while_it_is_consumed(recorded: Recorded):
    @task
    def numbers(count: int) -> Iterator[int]:
        for number in range(count):
            print("making", number)
            yield number

    @flow
    def one() -> list[int]:
        got = []
        for number in numbers(3):
            print("got", number)
            got.append(number)
        return got

    assert one() == [0, 1, 2]
    assert recorded.task_states("numbers-0") == [(1, "Running"), (1, "Completed")]
    lines = [(fact["message"], "task_run" in fact) for fact in recorded.facts("log") if fact["logger"] == "stdout"]
    assert lines[:3] == [("making 0", True), ("got 0", False), ("making 1", True)]


def test_generator_task_that_is_left_early_completes(recorded: Recorded):
    @task
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    @flow
    def one() -> None:
        for _ in numbers():
            break

    one()
    assert recorded.task_states("numbers-0")[-1] == (1, "Completed")


def test_generator_task_that_fails_raises_where_it_is_consumed(recorded: Recorded):
    @task
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("half-way")

    @flow
    def one() -> list[int]:
        return list(numbers())

    with pytest.raises(ValueError, match="half-way"):
        one()
    assert recorded.task_states("numbers-0")[-1] == (1, "Failed")


def test_state_of_a_generator_carries_a_list():
    @task
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    @flow
    def one() -> Iterator[Any]:
        yield numbers(return_state=True).result()

    assert one(return_state=True).result() == [[1, 2]]


def test_generator_task_takes_what_is_sent_and_thrown():
    @task
    def talk() -> Generator[str, str, None]:
        try:
            heard = yield "hello"
            yield heard
        except KeyError as error:
            yield f"caught {error}"

    @flow
    def one() -> list[Any]:
        sent, thrown = talk(), talk()
        return [next(sent), sent.send("you too"), next(thrown), thrown.throw(KeyError("x"))]

    assert one() == ["hello", "you too", "hello", "caught 'x'"]


def test_submitted_generator_gives_a_list():
    @task
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    @flow
    def one() -> Any:
        return numbers.submit().result()

    assert one() == [1, 2]


def test_methods_of_all_kinds():
    class Loader:
        factor = 3

        def __init__(self, base: int) -> None:
            self.base = base

        @task
        def on_instance(self, x: int) -> int:
            return self.base + x

        @task
        @classmethod
        def on_class(cls, x: int) -> int:
            return cls.factor * x

        @classmethod
        @task
        def on_class_too(cls, x: int) -> int:
            return cls.factor * x

        @task
        @staticmethod
        def on_nothing(x: int) -> int:
            return x

        @staticmethod
        @task
        def on_nothing_too(x: int) -> int:
            return x

        @flow
        def as_flow(self, x: int) -> int:
            return self.base - x

    @flow
    def one() -> list[Any]:
        loader = Loader(10)
        return [
            loader.on_instance(1),
            loader.on_instance.submit(2).result(),
            loader.on_instance.map([1, 2]).result(),
            Loader.on_class(2),
            loader.on_class(2),
            loader.on_class_too(2),
            loader.on_nothing(4),
            Loader.on_nothing_too(5),
            loader.as_flow("1"),
        ]

    assert one() == [11, 12, [11, 12], 6, 6, 6, 4, 5, 9]


def test_partials_and_callable_objects_can_be_tasks():
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    assert task(functools.partial(add.fn, y=5), name="five")(1) == 6
    assert task(Adder())(1) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "retries"),
        ({"retries": "3"}, "retries"),
        ({"timeout_seconds": -5}, "timeout_seconds"),
        ({"name": ""}, "name"),
        ({"retry_delay_seconds": [1, -1]}, "retry_delay_seconds"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options: dict[str, Any], message: str):
    with pytest.raises((ValueError, TypeError), match=message):
        task(**options)(lambda: None)


@pytest.mark.parametrize("decorator", [task, flow])
def test_parameters_named_like_those_of_a_call_are_refused(decorator: Any):
    def waits(x: int, wait_for: Any = None) -> None: ...
    def returns(*, return_state: bool) -> None: ...
    def positional(wait_for: int, /) -> int:
        return wait_for

    for function in (waits, returns):
        with pytest.raises(TypeError, match=r"'(wait_for|return_state)'.*another name"):
            decorator(function)
    assert decorator(positional)(3) == 3


def test_parameter_may_be_called_self():
    @task
    def echo_self(self: int, function: int) -> list[int]:
        return [self, function]

    @flow
    def one(self: int) -> list[Any]:
        return [*echo_self(self=self, function=2), *echo_self.submit(self=3, function=4).result()]

    assert one(self=1) == [1, 2, 3, 4]


def test_decorating_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="wants a function"):
        task(5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="is a task already"):
        flow(add)


def test_function_stays_reachable_and_looks_like_itself():
    assert add.fn(1, 2) == 3
    assert add.name == "add"
    assert add.__name__ == "add"  # type: ignore[attr-defined]


def test_options_of_a_copy():
    @add.on_completion
    def hook(*all: object) -> None: ...

    copy = add.with_options(name="sum", retries=3)
    assert (copy.name, copy.retries, copy.fn) == ("sum", 3, add.fn)
    assert (add.name, add.retries) == ("add", 0)
    assert copy.hooks == add.hooks
    add.hooks.clear()


def test_names_by_template_and_by_function(recorded: Recorded):
    @task(task_run_name="load {table}/{row[id]}")
    def load(table: str, row: dict[str, int]) -> None: ...

    @task(task_run_name=lambda: "by function")
    def named() -> None: ...

    @task(task_run_name="{nonsense}")
    def odd() -> None: ...

    @flow
    def one() -> None:
        load("users", {"id": 7})
        named()
        odd()
        load.submit(echo.submit("later"), {"id": 8}).wait()

    one()
    assert [fact["name"] for fact in recorded.facts("task_run")] == [
        "load users/7",
        "by function",
        "odd-0",
        "echo-0",
        "load-1",
    ]
    assert [fact["run_name"] for fact in recorded.facts("task_state") if "run_name" in fact] == ["load later/8"]


def test_tags_of_the_task_and_of_blocks(recorded: Recorded):
    @task(tags=["io"])
    def tagged() -> None: ...

    @flow
    def inner() -> None: ...

    @flow
    def one() -> None:
        with tags("a", "b"), tags("c"):
            tagged()
            tagged.submit().wait()
            inner()
        add(1)

    with tags("outer"):
        one()
    by_name = {fact["name"]: fact.get("tags", []) for fact in recorded.facts("task_run")}
    assert by_name["tagged-0"] == by_name["tagged-1"] == ["a", "b", "c", "io", "outer"]
    assert by_name["add-0"] == ["outer"]
    assert [fact["tags"] for fact in recorded.facts("flow_run")] == [["outer"], ["a", "b", "c", "outer"]]


def test_mistaken_call_fails_the_task_run(recorded: Recorded):
    @flow
    def one() -> None:
        add()

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        one()
    assert recorded.task_states("add-0")[-1] == (1, "Failed")


def test_failing_done_callback_changes_nothing(capsys: pytest.CaptureFixture[str]):
    @flow
    def one() -> list[Any]:
        gate, called = threading.Event(), []
        waiting = task(gate.wait).submit()
        waiting.add_done_callback(lambda future: 1 / 0)
        waiting.add_done_callback(called.append)
        gate.set()
        waiting.wait()
        return [waiting.result(), add.submit(1).result(), called == [waiting]]

    assert one.with_options(timeout_seconds=5)() == [True, 2, True]
    assert "A done callback failed: ZeroDivisionError" in capsys.readouterr().err


def test_tasks_in_threads_of_the_users_belong_to_the_only_flow_run(recorded: Recorded):
    @flow
    def one() -> list[int]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(add, [1, 2]))

    assert one() == [2, 3]
    (run,) = recorded.facts("flow_run")
    assert [fact["run"] for fact in recorded.facts("task_run")] == [run["run"]] * 2


def test_nested_tasks_belong_to_the_flow_run(recorded: Recorded):
    @task
    def outer() -> int:
        get_run_logger().info("outer")
        return add(1) + add.submit(2).result()

    @flow
    def one() -> int:
        return outer.submit().result()

    assert one() == 5
    (run,) = recorded.facts("flow_run")
    assert {fact["run"] for fact in recorded.facts("task_run")} == {run["run"]}
