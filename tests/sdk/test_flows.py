"""Flows: calls, parameters, names, hooks, subflows."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

from orchestrator import Future, ParameterError, UpstreamError, flow, runtime, task
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


def test_script_is_recorded_and_says_so_on_the_terminal(recorded: Recorded, capsys: pytest.CaptureFixture[str]):
    @flow
    def the_new_thing() -> None:
        """Make something big.

        Really.
        """
        print("Its gonna be big!")

    the_new_thing()
    out, err = capsys.readouterr()
    (created,) = recorded.facts("flow_run")
    name = created["name"]
    assert out == "Its gonna be big!\n"
    first, last = err.splitlines()
    clock, rest = first.split(" | ", 1)
    assert len(clock) == len("15:27:42.543")
    assert rest == f"INFO    | orchestrator.engine - Created flow run '{name}' for flow 'the_new_thing'"
    assert last.split(" | ", 1)[1] == f"INFO    | Flow run '{name}' - Finished in state Completed()"
    assert created["flow"] == "the_new_thing"
    assert created["description"] == "Make something big.\n\nReally."
    assert created["entrypoint"].endswith(
        "test_flows.py:test_script_is_recorded_and_says_so_on_the_terminal.<locals>.the_new_thing"
    )
    assert recorded.flow_states() == [(1, "RUNNING", "Running"), (1, "COMPLETED", "Completed")]
    assert recorded.printed() == ["Its gonna be big!"]
    assert recorded.printed("orchestrator.engine") == [f"Created flow run '{name}' for flow 'the_new_thing'"]


def test_parameters_are_coerced_and_recorded(recorded: Recorded):
    class Size(enum.Enum):
        BIG = "big"

    @dataclass
    class Place:
        city: str
        zip: int = 0

    class Model(pydantic.BaseModel):
        n: int

    @flow
    def one(
        n: int,
        when: date,
        size: Size,
        place: Place,
        path: Path,
        kind: Literal["a", "b"] = "a",
        maybe: int | None = None,
        many: list[float] = [],  # noqa: B006
        model: Model | None = None,
        untyped=5,
    ) -> Any:
        return n, when, size, place, path, kind, maybe, many, model, untyped

    got = one(
        "3",
        "2026-11-22",
        "big",
        {"city": "Paris", "zip": "75001"},
        "/tmp/x",
        many=["1", 2],
        maybe="7",
        model={"n": "4"},
    )
    assert got == (
        *(3, date(2026, 11, 22), Size.BIG, Place("Paris", 75001), Path("/tmp/x"), "a", 7, [1.0, 2.0], Model(n=4)),
        5,
    )
    (created,) = recorded.facts("flow_run")
    assert created["parameters"] == {
        "n": 3,
        "when": "2026-11-22",
        "size": "big",
        "place": {"city": "Paris", "zip": 75001},
        "path": "/tmp/x",
        "kind": "a",
        "maybe": 7,
        "many": [1.0, 2.0],
        "model": {"n": 4},
        "untyped": 5,
    }


def test_bad_parameter_fails_the_run_before_user_code(recorded: Recorded):
    called = []

    @flow
    def one(n: int, kind: Literal["a", "b"] = "a") -> None:
        called.append(n)

    with pytest.raises(ParameterError, match=r"'n' \(int\): expected `int`.*got 'three'; 'kind'"):
        one("three", kind="c")
    assert not called
    assert recorded.flow_states() == [(1, "FAILED", "Failed")]
    assert recorded.facts("flow_run")[0]["parameters"] == {"n": "three", "kind": "c"}


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((), {}, "missing a required argument: 'n'"),
        ((1, 2, 3), {}, "too many positional"),
        ((1,), {"m": 2}, "unexpected keyword argument 'm'"),
    ],
)
def test_call_that_does_not_fit_the_signature_fails_the_run(
    arguments: Any, keywords: Any, message: str, recorded: Recorded
):
    @flow
    def one(n: int) -> None: ...

    with pytest.raises(ParameterError, match=message):
        one(*arguments, **keywords)
    assert recorded.flow_states() == [(1, "FAILED", "Failed")]


def test_validation_can_be_switched_off():
    @flow(validate_parameters=False)
    def one(n: int) -> Any:
        return n

    assert one("3") == "3"


def test_what_json_cannot_hold_is_recorded_as_text(recorded: Recorded):
    @flow
    def one(value: Any, other: Any) -> None: ...

    one({1, 2} and object, {"a": lambda: None, 5: b"x"})
    parameters = recorded.facts("flow_run")[0]["parameters"]
    assert parameters["value"] == "<class 'object'>"
    assert set(parameters["other"]) == {"a", "5"}


def test_parameters_too_large_to_record_are_left_out_and_say_so(recorded: Recorded):
    @flow
    def one(small: int, large: str) -> int:
        return len(large)

    assert one(1, "x" * 600_000) == 600_000
    assert recorded.facts("flow_run")[0]["parameters"] == {
        "small": 1,
        "large": "<left out: 600,002 bytes, and parameters are recorded up to 524,288>",
    }


def test_names_by_template_and_by_function(recorded: Recorded):
    @flow(flow_run_name="load {table} of {day:%d.%m.}")
    def one(table: str, day: date) -> str | None:
        return runtime.flow_run.name

    @flow(flow_run_name=lambda: f"by {runtime.flow_run.flow_name}")
    def two() -> None: ...

    @flow(flow_run_name=lambda parameters: f"with {parameters}")
    def four(n: int) -> None: ...

    @flow(flow_run_name="{missing}")
    def three() -> None: ...

    assert one("users", "2026-11-22") == "load users of 22.11."
    two()
    three()
    four(1)
    names = [fact["name"] for fact in recorded.facts("flow_run")]
    assert names[:2] == ["load users of 22.11.", "by two"]
    assert "-" in names[2]
    assert names[3] == "with {'n': 1}"


def test_hooks_of_every_kind():
    seen: list[Any] = []

    def hook(hooked: Any, run: Any, state: Any) -> None:
        seen.append((hooked.name, run.name, state.name))

    @flow(flow_run_name="x", on_running=[hook], on_completion=[hook], on_failure=[hook])
    def one(fails: bool) -> None:
        if fails:
            raise ValueError

    @one.on_completion
    def second(hooked: Any, run: Any, state: Any) -> None:
        seen.append("second")
        raise RuntimeError("a failing hook changes nothing")

    one(False)
    one(True, return_state=True)
    assert seen == [
        ("one", "x", "Running"),
        ("one", "x", "Completed"),
        "second",
        ("one", "x", "Running"),
        ("one", "x", "Failed"),
    ]


def test_cancellation_hook():
    seen = []

    @flow(on_cancellation=[lambda *all: seen.append(all[2].message)])
    def one() -> Any:
        from orchestrator import Cancelled

        return Cancelled(message="enough")

    one(return_state=True)
    assert seen == ["enough"]


def test_subflow_is_a_flow_run_with_a_task_run_that_stands_for_it(recorded: Recorded):
    @flow
    def child(x: int) -> int:
        return x * 2

    @flow
    def parent() -> int:
        return child("4")

    assert parent() == 8
    above, below = recorded.facts("flow_run")
    (stand_in,) = recorded.facts("task_run")
    assert below["parent"] == above["run"]
    assert below["parent_task_run"] == stand_in["id"]
    assert (stand_in["run"], stand_in["subflow"], stand_in["task"]) == (above["run"], below["run"], "child")
    assert [fact["name"] for fact in recorded.facts("task_state")] == ["Running", "Completed"]


def test_failed_subflow_raises_in_its_parent(recorded: Recorded):
    @flow
    def child() -> None:
        raise ValueError("inner")

    @flow
    def parent() -> str:
        return child(return_state=True).name

    assert parent() == "Failed"
    assert recorded.flow_states("child")[-1] == (1, "FAILED", "Failed")
    assert recorded.flow_states("parent")[-1] == (1, "COMPLETED", "Completed")
    assert recorded.facts("task_state")[-1]["error"]["message"] == "inner"


def test_subflows_by_submit_run_beside_each_other_and_resolve_futures():
    @task
    def number() -> int:
        return 5

    @flow
    def child(x: int) -> int:
        return x + 1

    @flow
    def parent() -> Any:
        first = child.submit(number.submit())
        second = child.submit(first)
        assert isinstance(second, Future)
        return second.result()

    assert parent() == 7


def test_subflow_of_a_failed_upstream_does_not_run(recorded: Recorded):
    called = []

    @task
    def bad() -> int:
        raise ValueError("boom")

    @flow
    def child(x: int) -> None:
        called.append(x)

    @flow(on_unhandled_failure="ignore")
    def parent() -> None:
        with pytest.raises(UpstreamError, match="'bad-0' did not complete"):
            child(bad.submit())

    parent()
    assert not called


def test_flow_submitted_outside_a_flow():
    @flow
    def one(x: int) -> int:
        return x

    assert one.submit(3).result() == 3


def test_generator_flow():
    @flow
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    assert list(numbers("3")) == [0, 1, 2]


def test_recursion_of_flows(recorded: Recorded):
    @flow
    def down(n: int) -> int:
        return n + down(n - 1) if n else 0

    assert down(5) == 15
    assert len(recorded.facts("flow_run")) == 6


def test_options_of_a_copy_keep_hooks_of_decorators():
    @flow
    def one() -> None: ...

    @one.on_failure
    def hook(*all: object) -> None: ...

    copy = one.with_options(name="two", retries=2)
    assert (copy.name, copy.retries, copy.hooks) == ("two", 2, one.hooks)
    assert one.with_options(on_failure=[]).hooks == {}


def test_unhandled_failure_option_is_checked():
    with pytest.raises(ValueError, match="on_unhandled_failure"):
        flow(on_unhandled_failure="whatever")(lambda: None)  # type: ignore[call-overload]
