"""The life of a flow run and of a task run: one generator each, for sync and async alike.

A machine yields effects and facts and receives what came of them; its drivers do the work. It reads no clock (but for
the time that a state carries), touches no file and never blocks, so that tests send it values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeAlias

from orchestrator.sdk.cancellation import CancelRequested
from orchestrator.sdk.effects import (
    ASK_SLOT,
    BEGIN,
    CALL,
    COERCE,
    JOIN,
    RESOLVE,
    WAIT_FOR_SLOT,
    Effect,
    Invoke,
    Join,
    Outcome,
    Say,
    Sleep,
)
from orchestrator.sdk.endings import ending_of, error_fact, flow_ending
from orchestrator.sdk.events import (
    Error,
    Fact,
    FlowRunCreated,
    FlowRunSnapshot,
    FlowRunState,
    TaskRunCreated,
    TaskRunState,
)
from orchestrator.sdk.exceptions import TransferError
from orchestrator.sdk.inputs import upstream_error
from orchestrator.sdk.interrupts import crash_cause
from orchestrator.sdk.parameters import recorded
from orchestrator.sdk.retries import delay_before
from orchestrator.sdk.runs import FlowRun, Run, TaskRun
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.task_facts import task_created, task_state
from orchestrator.sdk.tracebacks import summary

Machine: TypeAlias = Generator[Effect | Fact, Any, State]
Steps: TypeAlias = Generator[Effect | Fact, Any, Any]

WARNING, ERROR, INFO = 30, 40, 20


# --- task runs


def task_run_life(run: TaskRun, created: bool = False, elsewhere: bool = False) -> Machine:
    """Live a task run.

    Args:
        run: The run, its upstreams found.
        created: Whether its creation is recorded already, as for a submitted one.
        elsewhere: Whether another process executes its function: it is running once that process has begun.

    Returns:
        How it ended. A run whose upstreams did not complete ends NotReady without having begun.
    """
    try:
        if run.upstreams is not None:
            if run.upstreams and not created:
                yield from _enter_task_state(run, State(StateType.PENDING), created)
                created = True
            reason = yield RESOLVE
            if reason:
                state = State(StateType.PENDING, "NotReady", reason, upstream_error(run, reason))
                yield from _enter_task_state(run, state, created)
                yield Say(WARNING, f"Not started: {reason}")
                return state
        reuse = run.flow_run.reuse if run.flow_run is not None else None
        if reuse is not None:
            reused = reuse.find(run)
            if reused is not None:
                yield from _enter_task_state(run, reused, created)
                return reused
        state = yield from _task_attempts(run, created, elsewhere)
        if reuse is not None and state.type is StateType.COMPLETED:
            reuse.keep(run, state)
    except GeneratorExit:  # thrown away half-way
        raise
    except BaseException as error:  # what interrupts the engine itself; user code's own errors come as outcomes
        state = ending_of(run, Outcome(error=error))
    yield from _enter_task_state(run, state, True)
    if state.type is not StateType.COMPLETED:
        yield Say(ERROR, f"Finished in state {state!r}")
    hooks = run.task.hooks
    if hooks:
        yield from _run_hooks(hooks.get(state.type), run.task, run, state)
    return state


def _task_attempts(run: TaskRun, created: bool, elsewhere: bool) -> Generator[Effect | Fact, Any, State]:
    task = run.task
    state = State(StateType.RUNNING)
    run.start_us = state.timestamp_us
    if task.task_run_name is not None:
        yield from _name_run(run, task.task_run_name)
    if run.tags and run.flow_run is not None and (yield from _waited_for_slot(run, created)):
        state, created = State(StateType.RUNNING), True
        run.start_us = state.timestamp_us
    if elsewhere:
        yield BEGIN
        state = State(StateType.RUNNING)
        run.start_us = state.timestamp_us
    yield from _enter_task_state(run, state, created)
    if task.hooks:
        yield from _run_hooks(task.hooks.get(StateType.RUNNING), task, run, state)
    while True:
        outcome = yield CALL
        state = ending_of(run, outcome)
        if not (state.type is StateType.FAILED or outcome.crashed) or run.attempt > task.retries:
            return state
        if not (yield from _wants_retry(run, state)):
            return state
        seconds = yield from _delay(run, task.retries, task.retry_delay_seconds, task.retry_jitter_factor)
        waiting = State(StateType.SCHEDULED, "AwaitingRetry", state.message, state.result(raise_on_failure=False))
        yield Say(WARNING, _retry_line(run.attempt, task.retries, state, seconds))
        yield from _enter_task_state(run, waiting, True, until=waiting.timestamp_us + int(seconds * 1_000_000))
        if seconds:
            yield Sleep(seconds)
        run.attempt += 1
        if run.tags and run.flow_run is not None:
            yield from _waited_for_slot(run, True)
        if elsewhere:
            yield BEGIN
        yield from _enter_task_state(run, State(StateType.RUNNING, "Retrying"), True)


def _waited_for_slot(run: TaskRun, created: bool) -> Generator[Effect | Fact, Any, bool]:
    """Take a slot of each limited tag for an attempt that is about to begin; return whether it had to wait."""
    reason = yield ASK_SLOT
    if not reason:
        return False
    if not created:
        yield from _enter_task_state(run, State(StateType.PENDING), False)
    waiting = State(StateType.SCHEDULED, "AwaitingConcurrencySlot", reason)
    yield from _enter_task_state(run, waiting, True)
    yield WAIT_FOR_SLOT
    return True


def _wants_retry(run: TaskRun, state: State) -> Generator[Effect | Fact, Any, bool]:
    condition = run.task.retry_condition_fn
    if isinstance(state._data, TransferError):  # the next attempt could not send it either
        return False
    if condition is None:
        return True
    outcome = yield Invoke(condition, run.task, run, state)
    if outcome.error is not None:
        yield Say(ERROR, f"Not tried again: its retry_condition_fn failed: {summary(outcome.error)}")
        return False
    return bool(outcome.value)


def _enter_task_state(run: TaskRun, state: State, created: bool, until: int = 0) -> Steps:
    """Record a task run's new state; the first one goes with the fact that creates it."""
    run.state = state
    state.run_id = run.id
    flow_run = run.flow_run
    if flow_run is None:
        return
    if not created:
        yield task_created(run, flow_run, state)
        return
    yield task_state(run, flow_run, state, until)


# --- flow runs


def flow_run_life(run: FlowRun) -> Machine:
    """Live a flow run, in as many attempts as its retries allow.

    Returns:
        How it ended.
    """
    announced = False
    try:
        reason = (yield RESOLVE) if run.upstreams is not None else ""
        outcome: Outcome = yield COERCE
        if run.flow.flow_run_name is not None and outcome.error is None:
            yield from _name_run(run, run.flow.flow_run_name)
        yield from _announce(run)
        announced = True
        if reason:
            state = State(StateType.FAILED, message=reason, data=upstream_error(run, reason))
        elif outcome.error is not None:
            state = ending_of(run, outcome)
        else:
            state = yield from _flow_attempts(run)
    except GeneratorExit:  # thrown away half-way
        raise
    except BaseException as error:  # what interrupts the engine itself; user code's own errors come as outcomes
        state = ending_of(run, Outcome(error=error))
        if not announced:
            yield from _announce(run)
        yield Join(cancel=True, wait=False, running=isinstance(error, CancelRequested))
    if run.on_concluded is not None:
        run.on_concluded()
    yield from _enter_flow_state(run, state)
    yield from _run_hooks(run.flow.hooks.get(state.type), run.flow, run, state)
    yield Say(INFO if state.type is StateType.COMPLETED else ERROR, f"Finished in state {state!r}")
    yield from _enter_stand_in_state(run, state)
    return state


def _announce(run: FlowRun) -> Steps:
    parameters = recorded(run.parameters)
    if run.claimed:  # the server has a row for it
        yield FlowRunSnapshot(run=run.id, attempt=run.attempt, parameters=parameters, run_name=run.name)
        return
    parent = run.parent
    if parent is not None:
        yield _stand_in_created(run, parent)
    flow = run.flow
    yield FlowRunCreated(
        run=run.id,
        attempt=run.attempt,
        flow=flow.name,
        name=run.name,
        version=flow.version or "",
        parameters=parameters,
        tags=sorted(run.tags),
        parent="" if parent is None else parent.id,
        parent_task_run=run.parent_task_run_id,
        entrypoint=flow.entrypoint,
        description=flow.description or "",
    )
    if parent is None:
        yield Say(INFO, f"Created flow run '{run.name}' for flow '{flow.name}'", "orchestrator.engine")
    else:
        yield Say(INFO, f"Created subflow run '{run.name}' for flow '{flow.name}'", parent.label)


def _stand_in_created(run: FlowRun, parent: FlowRun) -> TaskRunCreated:
    """Return the fact of the task run that stands for a subflow in its parent."""
    key = run.flow.key
    return TaskRunCreated(
        run=parent.id,
        attempt=parent.attempt,
        id=run.parent_task_run_id,
        task=run.flow.name,
        key=key,
        index=parent.count_call(key),
        name=run.name,
        tags=sorted(run.tags),
        inputs=run.inputs,
        type=StateType.PENDING,
        state="Pending",
        subflow=run.id,
    )


def _flow_attempts(run: FlowRun) -> Generator[Effect | Fact, Any, State]:
    flow = run.flow
    for retry in range(1, flow.retries + 2):
        running = State(StateType.RUNNING, "Running" if run.attempt == 1 else "Retrying")
        run.start_us = run.start_us or running.timestamp_us
        yield from _enter_flow_state(run, running)
        if retry == 1:
            yield from _enter_stand_in_state(run, running)
            yield from _run_hooks(flow.hooks.get(StateType.RUNNING), flow, run, running)
        state = yield from _one_flow_attempt(run)
        if state.type is not StateType.FAILED or retry > flow.retries:
            break
        seconds = yield from _delay(run, flow.retries, flow.retry_delay_seconds, retry=retry)
        yield Say(WARNING, _retry_line(retry, flow.retries, state, seconds))
        # Whoever brings this in keeps the run in its process's hands: no worker may claim it meanwhile.
        waiting = State(StateType.SCHEDULED, "AwaitingRetry", state.message)
        yield from _enter_flow_state(run, waiting, error_fact(state))
        if seconds:
            yield Sleep(seconds)
        run.begin_attempt(run.attempt + 1)
    return state


def _one_flow_attempt(run: FlowRun) -> Generator[Effect | Fact, Any, State]:
    outcome: Outcome = yield CALL
    crashed = outcome.error is not None and not isinstance(outcome.error, Exception)
    if crashed or outcome.timed_out:
        yield Join(cancel=True, wait=False, running=isinstance(outcome.error, CancelRequested))
    elif outcome.error is not None:
        yield Join(cancel=True)
    elif not (yield JOIN):
        outcome = Outcome(timed_out=True)
        yield Join(cancel=True, wait=False)
    return flow_ending(run, outcome)


def _enter_flow_state(run: FlowRun, state: State, error: Error | None = None) -> Steps:
    run.state = state
    state.run_id = run.id
    yield FlowRunState(
        run=run.id,
        attempt=run.attempt,
        type=state.type,
        name=state.name,
        message=state.message,
        error=error_fact(state) if error is None else error,
        pid=os.getpid() if state.type is StateType.RUNNING else 0,
        cause=crash_cause(state._data) if state.type is StateType.CRASHED else "",
    )


def _enter_stand_in_state(run: FlowRun, state: State) -> Steps:
    """Record the state of the task run that stands for a subflow in its parent."""
    if run.parent is not None and run.parent_task_run_id:
        yield TaskRunState(
            run=run.parent.id,
            attempt=run.parent.attempt,
            id=run.parent_task_run_id,
            type=state.type,
            name=state.name,
            message=state.message,
            error=error_fact(state),
        )


def hooks_life(run: FlowRun, state: State) -> Machine:
    """Run the hooks of a flow run that ended in a process which is gone, in place of that process."""
    run.state = state
    state.run_id = run.id
    yield from _run_hooks(run.flow.hooks.get(state.type), run.flow, run, state)
    return state


# --- what both share


def _delay(
    run: Run, retries: int, delays: Any, jitter_factor: float | None = None, retry: int | None = None
) -> Generator[Effect | Fact, Any, float]:
    outcome = yield Invoke(
        delay_before, getattr(run, "attempt", 1) if retry is None else retry, retries, delays, jitter_factor
    )
    if outcome.error is None:
        return float(outcome.value)
    yield Say(ERROR, f"Tried again at once: its retry_delay_seconds failed: {summary(outcome.error)}")
    return 0.0


def _retry_line(attempt: int, retries: int, state: State, seconds: float) -> str:
    when = f"in {round(seconds, 3):g} s" if seconds else "now"
    return f"Attempt {attempt} of {retries + 1} ended in {state!r}; trying again {when}"


def _name_run(run: FlowRun | TaskRun, template: str | Callable[..., str]) -> Steps:
    """Give a run the name that its flow or task wants; one that cannot be made fails nothing."""
    if isinstance(template, str):
        outcome = yield Invoke(template.format_map, run.parameters)
    else:
        code = getattr(template, "__code__", None)
        takes_parameters = code is not None and "parameters" in code.co_varnames[: code.co_argcount]
        outcome = yield Invoke(template, *([run.parameters] if takes_parameters else []))
    if outcome.error is not None:
        yield Say(WARNING, f"Named '{run.name}', since its own name cannot be made: {summary(outcome.error)}")
    elif outcome.value:
        run.name = str(outcome.value)


def _run_hooks(hooks: Iterable[Callable[..., Any]] | None, owner: Any, run: Run, state: State) -> Steps:
    for hook in hooks or ():
        outcome = yield Invoke(hook, owner, run, state)
        if outcome.error is not None:
            name = getattr(hook, "__name__", repr(hook))
            yield Say(ERROR, f"Hook '{name}' failed: {summary(outcome.error)}")
