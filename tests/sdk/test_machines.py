"""Machines as values: effects are received and outcomes sent; no clock, no loop, nothing written."""

from typing import Any

import pytest

from orchestrator.sdk.cancellation import CancelRequested
from orchestrator.sdk.effects import AskSlot, Call, Coerce, Invoke, Join, Outcome, Resolve, Say, Sleep, WaitForSlot
from orchestrator.sdk.events import FlowRunCreated, FlowRunSnapshot, FlowRunState, TaskRunCreated, TaskRunState
from orchestrator.sdk.flows import Flow, flow
from orchestrator.sdk.machines import Machine, flow_run_life, task_run_life
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.tasks import task


class Played:
    """A machine that is played against answers."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._answer: Any = None
        self.state: State | None = None

    def until(self, kind: type) -> Any:
        """Go on to the next effect of a kind; all before it are answered with nothing or with their own outcome."""
        while True:
            effect = self.next()
            if isinstance(effect, kind):
                return effect

    def next(self) -> Any:
        """Return the next effect, None at the end."""
        try:
            effect = self._machine.send(self._answer)
        except StopIteration as stop:
            self.state = stop.value
            return None
        self._answer = _usual_answer(effect)
        return effect

    def answer(self, value: Any) -> None:
        """Say what came of the last effect."""
        self._answer = value

    def rest(self) -> list[Any]:
        """Go on to the end and return all effects."""
        effects = []
        while (effect := self.next()) is not None:
            effects.append(effect)
        return effects


def _usual_answer(effect: Any) -> Any:
    if isinstance(effect, Coerce | Call):
        return Outcome(None)
    if isinstance(effect, Invoke):
        return Outcome(effect.function(*effect.arguments))
    return True if isinstance(effect, Join) else ""


def _flow_run(made: Flow[Any, Any], **changes: Any) -> FlowRun:
    run = FlowRun(made, (), {}, id="f-1", name="calm-crab", tags=frozenset())
    run.call_parameters = {}
    for name, value in changes.items():
        setattr(run, name, value)
    return run


@flow
def parent() -> None: ...


def _task_run(made: Any, *arguments: Any) -> TaskRun:
    return TaskRun(made, arguments, {}, id="t-1", tags=frozenset(), flow_run=_flow_run(parent))


def test_plain_task_run_is_two_facts_around_a_call():
    @task
    def one() -> None: ...

    played = Played(task_run_life(_task_run(one)))
    created, call, ended = played.rest()

    assert isinstance(created, TaskRunCreated)
    assert (created.run, created.name, created.type, created.state) == ("f-1", "one-0", "RUNNING", "Running")
    assert isinstance(call, Call)
    assert isinstance(ended, TaskRunState)
    assert (ended.type, ended.name, ended.error) == ("COMPLETED", "Completed", None)
    assert played.state is not None
    assert played.state.is_completed()


def test_failed_attempts_sleep_for_their_delays_and_keep_their_errors():
    @task(retries=2, retry_delay_seconds=[5, 9])
    def one() -> None: ...

    played = Played(task_run_life(_task_run(one)))
    slept, states = [], []
    for error in (ValueError("first"), ValueError("second"), None):
        played.until(Call)
        played.answer(Outcome("done", error) if error else Outcome("done"))
        while (effect := played.next()) is not None:
            if isinstance(effect, TaskRunState):
                states.append((effect.task_attempt, effect.name, effect.error and effect.error.message))
            if isinstance(effect, Sleep):
                slept.append(effect.seconds)
            if isinstance(effect, TaskRunState) and effect.name == "Retrying":
                break

    assert slept == [5, 9]
    assert states == [
        (1, "AwaitingRetry", "first"),
        (2, "Retrying", None),
        (2, "AwaitingRetry", "second"),
        (3, "Retrying", None),
        (3, "Completed", None),
    ]


def test_retry_is_due_its_delay_after_the_failure():
    @task(retries=1, retry_delay_seconds=60)
    def one() -> None: ...

    run = _task_run(one)
    played = Played(task_run_life(run))
    played.until(Call)
    played.answer(Outcome(error=ValueError()))
    waiting = played.until(TaskRunState)

    assert run.state is not None
    assert waiting.until == run.state.timestamp_us + 60_000_000


def test_no_sleep_without_a_delay():
    @task(retries=1)
    def one() -> None: ...

    played = Played(task_run_life(_task_run(one)))
    played.until(Call)
    played.answer(Outcome(error=ValueError()))

    assert not [effect for effect in played.rest() if isinstance(effect, Sleep)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_interrupted_task_run_crashes_and_is_not_retried(error: BaseException):
    @task(retries=5)
    def one() -> None: ...

    played = Played(task_run_life(_task_run(one)))
    played.until(Call)
    played.answer(Outcome(error=error))
    effects = played.rest()

    assert [effect.type for effect in effects if isinstance(effect, TaskRunState)] == ["CRASHED"]
    assert not [effect for effect in effects if isinstance(effect, Call)]


def test_interrupt_in_the_engine_still_ends_the_run():
    @task
    def one() -> None: ...

    machine = task_run_life(_task_run(one))
    next(machine)
    ended = machine.throw(KeyboardInterrupt())

    assert isinstance(ended, TaskRunState)
    assert ended.type == "CRASHED"


def test_upstream_that_did_not_complete_keeps_the_function_from_being_called():
    @task
    def one(x: int) -> None: ...

    run = _task_run(one, 1)
    run.upstreams = []
    played = Played(task_run_life(run))
    played.until(Resolve)
    played.answer("Upstream run 'zero-0' did not complete: Failed()")
    effects = played.rest()

    assert not [effect for effect in effects if isinstance(effect, Call)]
    assert played.state is not None
    assert (played.state.type, played.state.name) == (StateType.PENDING, "NotReady")


def test_condition_decides_on_each_retry():
    seen = []

    @task(retries=3, retry_condition_fn=lambda task, run, state: seen.append(run.attempt) or run.attempt < 2)
    def one() -> None: ...

    played = Played(task_run_life(_task_run(one)))
    for _ in range(2):
        played.until(Call)
        played.answer(Outcome(error=ValueError()))
    effects = played.rest()

    assert seen == [1, 2]
    assert [effect.name for effect in effects if isinstance(effect, TaskRunState)] == ["Failed"]


def test_hooks_run_once_after_all_retries():
    failed, began = [], []

    @task(retries=2, on_failure=[lambda *all: failed.append(all)], on_running=[lambda *all: began.append(all)])
    def one() -> None: ...

    run = _task_run(one)
    played = Played(task_run_life(run))
    for _ in range(3):
        played.until(Call)
        played.answer(Outcome(error=ValueError()))
    played.rest()

    assert len(began) == 1
    assert [(hooked is one, hooked_run is run, state.name) for hooked, hooked_run, state in failed] == [
        (True, True, "Failed")
    ]


def test_failing_hook_is_logged_and_changes_nothing():
    @task
    def one() -> None: ...

    @one.on_completion
    def hook(*all: object) -> None: ...

    played = Played(task_run_life(_task_run(one)))
    played.until(Invoke)
    played.answer(Outcome(error=RuntimeError("no network")))
    (line,) = played.rest()

    assert isinstance(line, Say)
    assert line.message == "Hook 'hook' failed: RuntimeError: no network"
    assert played.state is not None
    assert played.state.is_completed()


def test_flow_run_is_created_runs_and_ends():
    played = Played(flow_run_life(_flow_run(parent)))
    kinds = [type(effect) for effect in played.rest()]

    assert kinds == [Coerce, FlowRunCreated, Say, FlowRunState, Call, Join, FlowRunState, Say]


def test_claimed_run_is_not_created_again():
    played = Played(flow_run_life(_flow_run(parent, claimed=True, attempt=3)))
    facts = [effect for effect in played.rest() if isinstance(effect, FlowRunCreated | FlowRunSnapshot | FlowRunState)]

    assert [type(fact) for fact in facts] == [FlowRunSnapshot, FlowRunState, FlowRunState]
    assert {fact.attempt for fact in facts} == {3}


def test_parameters_that_do_not_fit_fail_the_run_before_its_function():
    played = Played(flow_run_life(_flow_run(parent)))
    played.until(Coerce)
    played.answer(Outcome(error=ValueError("'n' (int): expected `int`")))
    effects = played.rest()

    assert not [effect for effect in effects if isinstance(effect, Call)]
    assert [effect.type for effect in effects if isinstance(effect, FlowRunState)] == ["FAILED"]


def test_flow_retry_is_the_next_attempt_of_the_same_run():
    @flow(retries=1, retry_delay_seconds=7)
    def one() -> None: ...

    played = Played(flow_run_life(_flow_run(one, attempt=4)))
    played.until(Call)
    played.answer(Outcome(error=ValueError("first")))
    effects = played.rest()

    states = [(effect.attempt, effect.name) for effect in effects if isinstance(effect, FlowRunState)]
    assert states == [(4, "AwaitingRetry"), (5, "Retrying"), (5, "Completed")]
    assert [effect.seconds for effect in effects if isinstance(effect, Sleep)] == [7]


def test_flow_that_raised_cancels_what_has_not_begun_and_waits_for_the_rest():
    played = Played(flow_run_life(_flow_run(parent)))
    played.until(Call)
    played.answer(Outcome(error=ValueError()))
    join = played.until(Join)

    assert (join.cancel, join.wait) == (True, True)


def test_crashed_flow_waits_for_nothing():
    played = Played(flow_run_life(_flow_run(parent)))
    played.until(Call)
    played.answer(Outcome(error=KeyboardInterrupt()))
    join = played.until(Join)

    assert (join.cancel, join.wait) == (True, False)


def test_subflow_has_a_task_run_that_stands_for_it_in_its_parent():
    run = _flow_run(parent)
    child = _flow_run(parent, id="f-2", parent=run, parent_task_run_id="t-9")
    effects = Played(flow_run_life(child)).rest()

    stand_in = next(effect for effect in effects if isinstance(effect, TaskRunCreated))
    assert (stand_in.run, stand_in.id, stand_in.subflow) == ("f-1", "t-9", "f-2")
    created = next(effect for effect in effects if isinstance(effect, FlowRunCreated))
    assert (created.parent, created.parent_task_run) == ("f-1", "t-9")
    assert [effect.name for effect in effects if isinstance(effect, TaskRunState)] == ["Running", "Completed"]


# --- slots of limited tags


def tagged_run(**options: Any) -> TaskRun:
    tagged = task(tags=["database"], **options)(lambda: None)
    return TaskRun(tagged, (), {}, id="task-run", tags=tagged.tags, flow_run=_flow_run(parent))


def test_granted_slot_is_no_state():
    played = Played(task_run_life(tagged_run()))
    assert isinstance(played.next(), AskSlot)
    assert played.next().state == "Running"
    assert isinstance(played.next(), Call)


def test_slot_that_is_waited_for_is_a_state_and_the_start_comes_after():
    run = tagged_run()
    played = Played(task_run_life(run))
    asked = played.until(AskSlot)
    played.answer("Waits for a slot of tag 'database'")
    effects = [asked, *(played.next() for _ in range(3))]
    assert [type(effect) for effect in effects] == [AskSlot, TaskRunCreated, TaskRunState, WaitForSlot]
    assert (effects[1].state, effects[2].type, effects[2].name) == ("Pending", "SCHEDULED", "AwaitingConcurrencySlot")
    assert effects[2].message == "Waits for a slot of tag 'database'"
    assert (played.next().name, type(played.next())) == ("Running", Call)


def test_each_attempt_asks_and_none_between_them():
    played = Played(task_run_life(tagged_run(retries=1, retry_delay_seconds=3)))
    played.until(Call)
    played.answer(Outcome(error=ValueError("boom")))
    kinds = [type(effect) for effect in (played.until(Sleep), played.next(), played.next(), played.next())]
    assert kinds == [Sleep, AskSlot, TaskRunState, Call]


def test_task_outside_a_flow_takes_no_slot():
    tagged = task(tags=["database"])(lambda: None)
    played = Played(task_run_life(TaskRun(tagged, (), {}, id="task-run", tags=tagged.tags)))
    assert isinstance(played.next(), Call)


def test_waiting_that_is_cancelled_ends_the_run():
    life = task_run_life(tagged_run(), created=True)
    played = Played(life)
    played.until(AskSlot)
    played.answer("full")
    played.until(WaitForSlot)
    ending = life.throw(CancelRequested())
    assert (ending.type, ending.error) == ("CANCELLED", None)
