"""Calls of flows and tasks, from the decorators to the drivers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.callables import Kind
from orchestrator.sdk.capture import attributed_run
from orchestrator.sdk.context import current_flow_run, current_tags
from orchestrator.sdk.drivers import Life, drive, drive_async, drive_async_generator, drive_generator
from orchestrator.sdk.futures import Future
from orchestrator.sdk.ids import new_id
from orchestrator.sdk.inputs import find_upstreams
from orchestrator.sdk.jobs import Job, close_runner
from orchestrator.sdk.journal import record
from orchestrator.sdk.load_guard import leave_out
from orchestrator.sdk.machines import flow_run_life, task_run_life
from orchestrator.sdk.names import generate_name
from orchestrator.sdk.runners.base import here
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.session import session
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.task_facts import task_created
from orchestrator.sdk.tracebacks import user_frames

if TYPE_CHECKING:
    from orchestrator.sdk.flows import Flow
    from orchestrator.sdk.tasks import Task

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


# --- tasks


def call_task(task: Task[Any, Any], arguments: Arguments, keywords: Keywords, wait_for: Any, return_state: bool) -> Any:
    """Run a task where it is called; see `Task.__call__`."""
    run = _task_run(task, arguments, keywords, wait_for)
    if task.kind is Kind.SYNC or (return_state and task.kind is Kind.GENERATOR):
        life = Life(task_run_life(run), run)
        state = drive(life, life.advance())
        if state.type is StateType.COMPLETED and not return_state:
            return state._data
        return _hand_over(state, return_state)
    life = Life(task_run_life(run), run)
    if task.kind is Kind.ASYNC or (return_state and task.kind is Kind.ASYNC_GENERATOR):
        return _called_like(task, _finish_async(life, return_state))
    if task.kind is Kind.GENERATOR:
        return _finish_generator(life)
    return _finish_async_generator(life)


def submit_task(task: Task[Any, Any], arguments: Arguments, keywords: Keywords, wait_for: Any) -> Future:
    """Run a task by the flow's task runner; see `Task.submit`."""
    run = _task_run(task, arguments, keywords, wait_for)
    run.state = State(StateType.PENDING)
    run.state.run_id = run.id
    if run.flow_run is not None:
        record(task_created(run, run.flow_run, run.state))
    return Job(run, run.flow_run).schedule()


def _task_run(task: Task[Any, Any], arguments: Arguments, keywords: Keywords, wait_for: Any) -> TaskRun:
    if here.cancellation is not None:
        here.cancellation.check()
    caller = attributed_run()  # a pool of threads that user code makes is the only flow run's
    run = TaskRun(
        task,
        arguments,
        keywords,
        id=new_id(),
        tags=task.tags | current_tags.get(),
        wait_for=wait_for,
        flow_run=None if caller is None else caller.flow_run,
    )
    run.upstreams = find_upstreams(run)
    return run


# --- flows


def call_flow(flow: Flow[Any, Any], arguments: Arguments, keywords: Keywords, wait_for: Any, return_state: bool) -> Any:
    """Run a flow where it is called; see `Flow.__call__`."""
    run = new_flow_run(flow, arguments, keywords, wait_for)
    if flow.kind is Kind.SYNC or (return_state and flow.kind is Kind.GENERATOR):
        return _hand_over(live(run), return_state)
    if flow.kind is Kind.ASYNC or (return_state and flow.kind is Kind.ASYNC_GENERATOR):
        return _called_like(flow, _call_flow_async(run, return_state))
    if flow.kind is Kind.GENERATOR:
        return _call_generator_flow(run)
    return _call_async_generator_flow(run)


def submit_flow(flow: Flow[Any, Any], arguments: Arguments, keywords: Keywords, wait_for: Any) -> Future:
    """Run a flow by the task runner of the flow that submits it; see `Flow.submit`."""
    run = new_flow_run(flow, arguments, keywords, wait_for)
    run.state = State(StateType.PENDING)
    return Job(run, run.parent).schedule()


def new_flow_run(flow: Flow[Any, Any], arguments: Arguments, keywords: Keywords, wait_for: Any = None) -> FlowRun:
    """Return a flow run that is about to live, a subflow run where this is called inside a flow."""
    if here.cancellation is not None:
        here.cancellation.check()
    parent = current_flow_run()
    run = FlowRun(
        flow,
        arguments,
        keywords,
        id=new_id(),
        name=generate_name(),
        tags=current_tags.get(),
        wait_for=wait_for,
        parent=parent,
    )
    if parent is not None:
        run.parent_task_run_id = new_id()
    if flow.retries:
        from orchestrator.sdk.reuse import Reuse  # 8 ms at import (hashlib, pickle), only for flows that retry

        run.reuse = Reuse()
    run.upstreams = find_upstreams(run)
    return run


def live(run: FlowRun) -> State:
    """Live a flow run in this thread, whatever the kind of its function."""
    life = Life(flow_run_life(run), run)
    with nullcontext() if run.parent is not None else session(run):
        try:
            return drive(life, life.advance())
        finally:
            close_runner(run)


async def live_async(run: FlowRun) -> State:
    """Live a flow run in the running event loop."""
    life = Life(flow_run_life(run), run)
    try:
        with nullcontext() if run.parent is not None else session(run):
            return await drive_async(life)
    finally:
        close_runner(run)


async def _call_flow_async(run: FlowRun, return_state: bool) -> Any:
    if leave_out(f"{run.flow.name}()"):
        return None
    try:
        return _hand_over(await live_async(run), return_state)
    except BaseException as error:
        error.__traceback__ = user_frames(error.__traceback__)
        raise


def _call_generator_flow(run: FlowRun) -> Generator[Any, Any, Any]:
    try:
        with nullcontext() if run.parent is not None else session(run):
            return (yield from _finish_generator(Life(flow_run_life(run), run)))
    finally:
        close_runner(run)


async def _call_async_generator_flow(run: FlowRun) -> AsyncGenerator[Any, Any]:
    try:
        with nullcontext() if run.parent is not None else session(run):
            async with aclosing(_finish_async_generator(Life(flow_run_life(run), run))) as items:
                async for item in items:
                    yield item
    finally:
        close_runner(run)


# --- what both share


def _called_like(owner: Flow[Any, Any] | Task[Any, Any], coroutine: Any) -> Any:
    """Give a coroutine the name of the user's function, for "was never awaited" and asyncio's own messages."""
    coroutine.__name__ = owner.name
    coroutine.__qualname__ = owner.source
    return coroutine


def _hand_over(state: State, return_state: bool) -> Any:
    """Return or raise what the caller gets. Ctrl-C and the like are raised even where a state was asked for."""
    data = state._data
    if isinstance(data, BaseException) and not isinstance(data, Exception) and state.type is not StateType.COMPLETED:
        raise data
    return state if return_state else state.result()


async def _finish_async(life: Life, return_state: bool) -> Any:
    try:
        return _hand_over(await drive_async(life), return_state)
    except BaseException as error:
        error.__traceback__ = user_frames(error.__traceback__)
        raise


def _finish_generator(life: Life) -> Generator[Any, Any, Any]:
    try:
        return _hand_over((yield from drive_generator(life)), return_state=False)
    except GeneratorExit:
        raise
    except BaseException as error:
        error.__traceback__ = user_frames(error.__traceback__)
        raise


async def _finish_async_generator(life: Life) -> AsyncGenerator[Any, Any]:
    states: list[State] = []
    try:
        async with aclosing(drive_async_generator(life, states.append)) as items:
            async for item in items:
                yield item
        _hand_over(states[0], return_state=False)
    except GeneratorExit:
        raise
    except BaseException as error:
        error.__traceback__ = user_frames(error.__traceback__)
        raise
