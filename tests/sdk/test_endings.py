"""How a run ends, by what its function returns or raises (SEMANTICS: results and states)."""

from typing import Any

import pytest

from orchestrator import (
    Cancelled,
    CancelledRun,
    Completed,
    Crashed,
    Failed,
    FailedRun,
    State,
    StateType,
    UpstreamError,
    allow_failure,
    flow,
    task,
)
from orchestrator.sdk.states import Running
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@task
def good(value: object = 1) -> object:
    return value


@task
def bad(message: str = "boom") -> None:
    raise ValueError(message)


def test_value_completes():
    @flow
    def one() -> int:
        return 5

    assert one() == 5
    assert one(return_state=True).is_completed()
    assert one(return_state=True).result() == 5


def test_exception_fails_and_is_raised_as_it_is():
    error = ValueError("boom")

    @flow
    def one() -> None:
        raise error

    with pytest.raises(ValueError) as raised:
        one()
    assert raised.value is error
    state = one(return_state=True)
    assert (state.type, state.name, state.message) == (StateType.FAILED, "Failed", "ValueError: boom")
    assert state.result(raise_on_failure=False) is error
    with pytest.raises(ValueError):
        state.result()


@pytest.mark.parametrize(
    ("returned", "error"),
    [(Failed(message="no rows"), FailedRun), (Cancelled(message="not today"), CancelledRun)],
)
def test_returned_state_is_the_state(returned: State, error: type[Exception]):
    @flow
    def one() -> State:
        return returned

    assert one(return_state=True) is returned
    with pytest.raises(error, match=returned.message):
        one()


def test_returned_completed_state_carries_the_result():
    @flow
    def one() -> State:
        return Completed(message="enough", data=[1, 2])

    assert one() == [1, 2]
    assert one(return_state=True).message == "enough"


def test_task_may_return_a_state_too():
    @task
    def one() -> State:
        return Failed(message="empty file")

    @flow
    def whole() -> str:
        return repr(one(return_state=True))

    assert whole() == "Failed('empty file')"


def test_returned_futures_complete_if_all_do_and_give_their_results():
    @flow
    def one(shape: str) -> object:
        futures = good.map([1, 2])
        return {"one": futures[0], "list": futures, "dict": {"a": futures[0]}, "tuple": tuple(futures)}[shape]

    assert [one(shape) for shape in ("one", "list", "dict", "tuple")] == [1, [1, 2], {"a": 1}, (1, 2)]


def test_returned_futures_fail_if_one_does():
    @flow
    def one() -> object:
        return [good.submit(), bad.submit("boom")]

    state = one(return_state=True)
    assert state.is_failed()
    assert state.message == "1 of 2 did not complete: 'bad-0' Failed('ValueError: boom')"
    with pytest.raises(ValueError, match="boom"):
        one()


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([Cancelled(), Failed()], StateType.CANCELLED),
        ([State("PAUSED"), Failed()], StateType.PAUSED),
        ([State("PAUSED"), Cancelled()], StateType.CANCELLED),
        ([Crashed()], StateType.FAILED),
        ([Running()], StateType.FAILED),
        ([Completed(data=1)], StateType.COMPLETED),
    ],
)
def test_several_states_fold(others: list[State], expected: StateType):
    @flow
    def one() -> object:
        return [Completed(), *others]

    assert one(return_state=True).type is expected


@pytest.mark.parametrize("value", [[], {}, [1, 2], "text", None, {"a": 1}, [Completed(), 1]])
def test_any_other_value_completes(value: object):
    @flow
    def one() -> object:
        return value

    assert one() == value


def test_failure_that_nobody_looked_at_fails_the_flow(recorded: Recorded):
    @flow
    def one() -> str:
        bad.submit("first")
        good.submit()
        return "fine"

    with pytest.raises(
        FailedRun, match=r"failure that nobody looked at: 'bad-0' Failed\('ValueError: first'\)"
    ) as raised:
        one()
    assert isinstance(raised.value.__cause__, ValueError)
    assert recorded.flow_states()[-1] == (1, "FAILED", "Failed")


def test_failure_that_nobody_looked_at_may_be_ignored():
    @flow(on_unhandled_failure="ignore")
    def one() -> str:
        bad.submit()
        return "fine"

    assert one() == "fine"


@pytest.mark.parametrize("look", ["result", "state", "allow_failure"])
def test_failure_that_was_looked_at_is_the_flows_own_business(look: str):
    @flow
    def one() -> str:
        future = bad.submit()
        future.wait()
        if look == "result":
            future.result(raise_on_failure=False)
        elif look == "state":
            assert future.state.is_failed()
        else:
            assert isinstance(good(allow_failure(future)), ValueError)
        return "fine"

    assert one() == "fine"


def test_waiting_is_not_looking():
    @flow
    def one() -> str:
        bad.map(["a", "b"]).wait()
        return "fine"

    with pytest.raises(FailedRun, match=r"'bad-0'.*'bad-1'"):
        one()


def test_not_ready_run_is_blamed_on_the_one_that_failed():
    @flow
    def one() -> None:
        good.submit(bad.submit())

    state = one(return_state=True)
    assert "'bad-0'" in state.message
    assert "good" not in state.message


def test_upstream_that_failed_keeps_a_called_task_from_starting(recorded: Recorded):
    @flow
    def one() -> None:
        good(bad.submit())

    with pytest.raises(UpstreamError, match="'bad-0' did not complete"):
        one()
    assert recorded.task_states("good-0") == [(1, "Pending"), (1, "NotReady")]


@pytest.mark.parametrize("how", ["call", "submit", "state", "flow"])
def test_upstream_error_leads_to_what_the_upstream_raised(how: str):
    @flow
    def below(x: Any) -> None: ...

    @flow
    def one() -> None:
        upstream = bad.submit()
        match how:
            case "call":
                good(upstream)
            case "submit":
                good.submit(good.submit(upstream)).result()
            case "state":
                good(bad(return_state=True))
            case "flow":
                below(upstream)

    with pytest.raises(UpstreamError) as raised:
        one()
    cause: BaseException | None = raised.value
    while isinstance(cause, UpstreamError):
        cause = cause.__cause__
    assert isinstance(cause, ValueError)


def test_failed_state_as_an_argument_is_an_upstream_that_failed():
    @flow
    def one() -> str:
        state = bad(return_state=True)
        assert good(allow_failure(state)).args == ("boom",)
        return good(state, return_state=True).name

    assert one() == "NotReady"


def test_futures_left_unwaited_are_joined(recorded: Recorded):
    @flow
    def one() -> None:
        good.map(range(20))

    one()
    facts = recorded.facts()
    done = [fact for fact in facts if fact["k"] == "task_state" and fact["type"] == "COMPLETED"]
    end = next(fact for fact in facts if fact["k"] == "flow_state" and fact["type"] == "COMPLETED")
    assert len(done) == 20
    assert max(fact["n"] for fact in done) < end["n"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_system_exit_and_ctrl_c_crash_and_go_on_up(error: BaseException, recorded: Recorded):
    crashed = []

    @task
    def inner() -> None:
        raise error

    @flow(on_crashed=[lambda *all: crashed.append(all[2].name)])
    def one() -> None:
        inner()

    with pytest.raises(type(error)):
        one(return_state=True)
    assert crashed == ["Crashed"]
    assert recorded.flow_states()[-1][1] == "CRASHED"
    assert recorded.task_states("inner-0")[-1] == (1, "Crashed")


def test_very_long_message_is_cut_and_says_so(recorded: Recorded):
    @flow
    def one() -> None:
        raise ValueError("x" * 1_000_000)

    state = one(return_state=True)
    assert len(state.message) < 11_000
    assert state.message.endswith("(1,000,000 characters in all)")


def test_error_that_cannot_be_printed_is_recorded(recorded: Recorded):
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("odd")

    @flow
    def one() -> None:
        raise OddError

    assert one(return_state=True).is_failed()
    assert recorded.errors()[0]["type"].endswith("OddError")


def test_traceback_has_only_the_users_frames(recorded: Recorded):
    @task
    def deep() -> None:
        raise ValueError("boom")

    @flow
    def one() -> None:
        deep.submit().result()

    with pytest.raises(ValueError) as raised:
        one()
    files = {entry.path for entry in raised.traceback}
    assert not [path for path in files if "orchestrator/sdk" in str(path)]
    recorded_errors = recorded.errors()
    assert recorded_errors
    for error in recorded_errors:
        assert error["type"] == "ValueError"
        assert error["message"] == "boom"
        assert "orchestrator/sdk" not in error["traceback"]
        assert 'raise ValueError("boom")' in error["traceback"]
