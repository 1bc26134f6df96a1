"""Submitted runs: waiting for their upstreams, for a place, under way, parked while they wait; and cancelled.

Whoever resumes a run's machine holds the run's lock, so that its worker thread and whoever cancels it never both do. A
cancelled run's machine is taken over by the canceller where its thread cannot be reached: the machine ends there, with
its facts and hooks, and a thread that is still in user code finds on its return that the run is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from orchestrator.sdk import capture, terminal
from orchestrator.sdk.cancellation import Cancellation, CancelRequested
from orchestrator.sdk.context import current_tags
from orchestrator.sdk.drivers import Life, drive
from orchestrator.sdk.effects import CALL, AskSlot, Begin, Call, Effect, Outcome, Sleep, WaitForSlot
from orchestrator.sdk.futures import Future, Submitted
from orchestrator.sdk.journal import record
from orchestrator.sdk.machines import flow_run_life, task_run_life
from orchestrator.sdk.performing import BLOCKING
from orchestrator.sdk.runners.base import Place, TaskRunner, here
from orchestrator.sdk.runners.kinds import DEFAULT, new_runner
from orchestrator.sdk.runs import FlowRun, TaskRun
from orchestrator.sdk.session import session
from orchestrator.sdk.states import FINAL, State, StateType
from orchestrator.sdk.task_facts import task_state
from orchestrator.sdk.timers import call_later

if TYPE_CHECKING:
    from orchestrator.sdk.runners.calls import RemoteCall

UNWIND_SECONDS: Final = 5.0  #: how long cancelled code that the engine could reach has to come to its end
_WARNING: Final = 30
_PARKED: Final = (Sleep, WaitForSlot, Begin)  #: what a job waits for without a thread
_LEFT_BEHIND: Final = "Cancelled and left behind: a thread cannot be stopped, its function goes on"

_lock = threading.Lock()
_outside: TaskRunner | None = None  #: for what is submitted outside a flow


class Job(Cancellation):
    """A submitted run and the way it goes. Calling it goes on until the end or the next wait that holds no thread."""

    __slots__ = (
        "_arrived",
        "_begun",
        "_call",
        "_context",
        "_doing",
        "_future",
        "_is_over",
        "_is_resuming",
        "_is_told",
        "_life",
        "_parked",
        "_place",
        "_run",
        "_runner",
        "_submitted",
        "_taken",
        "_waiting",
    )

    def __init__(self, run: TaskRun | FlowRun, owner: FlowRun | None) -> None:
        super().__init__()
        self._run = run
        self._future = Future(run)
        self._context = copy_context()
        self._life: Life | None = None
        self._begun = False
        self._taken = False  #: whether a canceller ends the run: no thread may resume it any more
        self._is_over = False  #: whether the machine has ended
        self._is_resuming = False
        self._is_told = False  #: whether the machine knows that it is cancelled
        self._doing: Effect | None = None  #: what the machine waits for
        self._parked: Effect | None = None  #: the same, where no thread does
        self._place: Place | None = None
        self._call: RemoteCall | None = None  #: the attempt that another process executes
        self._arrived: Outcome | None = None  #: what came of it
        self._waiting = 0
        self._runner = _runner_of(owner)
        self._submitted: Submitted | None = None
        if owner is not None:
            with _lock:
                if owner.submitted is None:
                    owner.submitted = Submitted()
                self._submitted = owner.submitted
            self._submitted.add(self._future)
        self._future.on_cancel(self._cancel)

    def schedule(self) -> Future:
        """Start the run once its upstreams have ended; no thread waits for them."""
        sources = [upstream.source for upstream in self._run.upstreams or ()]
        futures = [source for source in sources if isinstance(source, Future) and not source.done()]
        self._waiting = len(futures)
        if futures:
            for future in futures:
                future.add_done_callback(self._upstream_ended)
        else:
            self._runner.run(self)
        return self._future

    def _upstream_ended(self, future: Future) -> None:
        with _lock:
            self._waiting -= 1
            ready = self._waiting == 0
        if ready:
            self._runner.run(self)

    # --- under way

    def __call__(self) -> None:
        """Go on; what a task runner calls."""
        outer, here.cancellation = here.cancellation, self
        self._place = here.place
        try:
            self._context.run(self._go)
        finally:
            here.cancellation = outer
        parked = self._parked
        if parked is not None:  # not before the context was left: the next thread enters it
            self._resume_after(parked)

    def _go(self) -> None:
        try:
            if isinstance(self._run, FlowRun):
                with self._surroundings(self._run):
                    state = self._drive()
            else:
                state = self._drive()
        except BaseException as error:  # a bug of the engine's: the future must not stay open for ever
            state = State(StateType.CRASHED, message=f"The engine failed: {error!r}", data=error)
        if state is not None:
            self._end(state)

    @contextmanager
    def _surroundings(self, run: FlowRun) -> Iterator[None]:
        """What surrounds a flow run's life; a task run has its flow run's."""
        try:
            if run.parent is not None:
                yield
            else:
                with session(run):
                    yield
        finally:
            close_runner(run)

    def _drive(self) -> State | None:
        """Perform the machine's effects until it ends; None where it is parked, or somebody else ends it."""
        run = self._run
        parks = self._runner.can_park and isinstance(run, TaskRun)
        value: Any = self._arrived
        error: BaseException | None = None
        while True:
            with self._lock:
                if self._taken or self._future.done():
                    return None
                effect = self._doing = self._resume(value, error)
                if effect is None:
                    self._is_over = True
                    assert self._life is not None
                    return self._life.state
                if parks and (type(effect) in _PARKED or (effect is CALL and self._call is not None)):
                    self._parked = effect
                    return None
            value = error = None
            try:
                value = BLOCKING[type(effect)](effect, run)
            except BaseException as raised:
                error = raised

    def _resume(self, value: Any, error: BaseException | None) -> Effect | None:
        """Go on with what came of the last effect, or with the cancelling in its stead. Holds the run's lock."""
        self._parked = self._arrived = None
        life = self._life
        if life is None:
            run = self._run
            if isinstance(run, FlowRun):
                machine = flow_run_life(run)
            else:
                machine = task_run_life(run, created=True, elsewhere=self._runner.is_remote)
            self._life = life = Life(machine, run)
            self._begun = True
        elif self.asked and not self._is_told and not self._has_ending():
            self._is_told = True
            error = CancelRequested()
        self._is_resuming = True
        try:
            return life.advance(value) if error is None else life.interrupt(error)
        finally:
            self._is_resuming = False

    def _resume_after(self, parked: Effect) -> None:
        if isinstance(parked, Sleep):
            self._runner.run_later(self, parked.seconds)
            return
        if isinstance(parked, Begin | Call):
            self._resume_after_call(parked)
            return
        from orchestrator.sdk import control  # only where a tag is limited; loaded by the asking already

        assert isinstance(self._run, TaskRun)
        with self._lock:  # whoever cancels it withdraws after this, or has done so
            if not self._taken:
                control.wait(self._run, lambda: self._runner.run(self))

    def _resume_after_call(self, parked: Effect) -> None:
        """Go on once another process has begun the attempt, or has ended it."""
        run = self._run
        assert isinstance(run, TaskRun)
        with self._lock:  # whoever cancels it aborts the call after this, or has taken the run already
            if self._taken:
                return
            if type(parked) is Begin:
                self._call = self._runner.call(run, self._context.get(current_tags, frozenset()))
                self._call.when_begun(lambda: self._runner.run(self))
                return
            assert self._call is not None
            self._call.when_ended(self._take_outcome)

    def _take_outcome(self, outcome: Outcome, unhandled: list[Future]) -> None:
        """Go on with what came of the attempt; called in whichever thread."""
        with self._lock:
            if self._taken:
                return
            self._call, self._arrived = None, outcome
        if self._submitted is not None:
            for future in unhandled:
                self._submitted.failed(future)
        self._runner.run(self)

    def _has_ending(self) -> bool:
        """Whether the run's final state is recorded, so that only hooks are left."""
        state = self._run.state
        return self._is_over or (state is not None and state.type in FINAL)

    def _end(self, state: State) -> None:
        submitted, future = self._submitted, self._future
        if isinstance(state._data, CancelRequested):
            state._data = None  # who asks for the result gets a CancelledRun
        if submitted is not None and state.type in (StateType.FAILED, StateType.CRASHED):
            submitted.failed(future)
        try:
            future.finish(state)
        finally:  # whatever a callback of the user's raises
            self._life = None
            if submitted is not None:
                submitted.ended(future)

    # --- cancelling

    def _cancel(self, running: bool) -> bool:
        """Cancel the run, if it is not under way or `running`. Returns whether it ends CANCELLED."""
        with self._lock:
            if self._taken or self.asked or self._has_ending() or self._is_resuming:
                state = self._run.state
                return running and (self.asked or (state is not None and state.type is StateType.CANCELLED))
            begun, parked = self._begun, self._parked
            doing, call = type(self._doing), self._call
            is_queued = doing in (AskSlot, WaitForSlot) or (doing is Begin and not (call and call.has_begun))
            if begun and not running and not (is_queued and self._run.run_count == 1):
                return False
            self.asked = True
            self._taken = not begun or parked is not None
        if not begun:
            self._end_unbegun()
        elif parked is not None:
            self._take_over()
        else:
            self._reach_thread()
        return True

    def _end_unbegun(self) -> None:
        run = self._run
        run.state = State(StateType.CANCELLED, message="Cancelled before it began")
        run.state.run_id = run.id
        if isinstance(run, TaskRun) and run.flow_run is not None:
            record(task_state(run, run.flow_run, run.state))
        self._end(run.state)

    def _reach_thread(self) -> None:
        """End what executes in a thread: where it waits in the engine or an event loop, else by leaving it behind."""
        if isinstance(self._run, FlowRun) and self._run.submitted is not None:
            self._run.submitted.cancel(running=True)
        if self.wake() or type(self._doing) is AskSlot:  # an answer comes soon, or a time-out
            call_later(UNWIND_SECONDS, self._leave_later)
        else:
            self._leave_behind()

    def _leave_later(self) -> None:
        if not self._future.done():  # a thread, since hooks are user code, and the timers wait for nobody
            threading.Thread(target=self._leave_behind, name=f"orchestrator-{self._run.name}", daemon=True).start()

    def _leave_behind(self) -> None:
        """End a run whose thread cannot be reached, and have that thread replaced."""
        with self._lock:
            if self._taken or self._is_told or self._has_ending() or self._life is None:
                return
            self._taken = True
            if self._place is not None:  # before its thread can come back and take another job
                self._place.leave()
        self._say_left_behind()
        self._take_over()

    def _say_left_behind(self) -> None:
        with capture.muted():
            terminal.write(_WARNING, self._run.label, _LEFT_BEHIND)
        logger = "orchestrator.task_runs" if isinstance(self._run, TaskRun) else "orchestrator.flow_runs"
        capture.record_log(self._run, _WARNING, logger, _LEFT_BEHIND)

    def _take_over(self) -> None:
        """End the machine in this thread. A copy of its context: the thread that is left behind is in the original."""
        call, self._call = self._call, None
        if call is not None and not call.abort():
            self._say_left_behind()
        self._context.copy().run(self._end_cancelled)

    def _end_cancelled(self) -> None:
        run, life = self._run, self._life
        assert life is not None
        try:
            state = drive(life, life.interrupt(CancelRequested()))
        except BaseException as error:
            state = State(StateType.CRASHED, message=f"The engine failed: {error!r}", data=error)
        if isinstance(run, FlowRun):
            close_runner(run)
        elif run.tags:
            from orchestrator.sdk import control  # loaded by the asking already, where it matters

            control.withdraw(run)
        self._end(state)


def _runner_of(owner: FlowRun | None) -> TaskRunner:
    """Return the task runner of a flow run, made at its first use; outside a flow, the process's."""
    global _outside
    runner = _outside if owner is None else owner.runner
    if runner is not None:
        return runner
    made = new_runner(_wanted_runner(owner))  # outside the lock: it may import a lot
    with _lock:
        if owner is None:
            _outside = _outside or made
            return _outside
        owner.runner = owner.runner or made
        return owner.runner


def _wanted_runner(owner: FlowRun | None) -> TaskRunner | str | None:
    """Return what a flow run's runner is made from: its deployment's choice comes before what stands in its code."""
    return DEFAULT if owner is None else owner.task_runner or owner.flow.task_runner


def close_runner(run: FlowRun) -> None:
    """Let the threads of a flow run that has ended go."""
    runner, run.runner = run.runner, None
    if runner is not None:
        runner.close()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
