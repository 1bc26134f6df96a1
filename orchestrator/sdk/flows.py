"""The `@flow` decorator and the value it makes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, overload

from orchestrator.sdk.decorated import Decorated
from orchestrator.sdk.load_guard import leave_out
from orchestrator.sdk.runners.kinds import check_runner
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.tracebacks import user_frames

if TYPE_CHECKING:
    from orchestrator.sdk.futures import Future, FutureList
    from orchestrator.sdk.retries import Delays
    from orchestrator.sdk.runners.base import TaskRunner

P = ParamSpec("P")
R = TypeVar("R")
RunnerKind: TypeAlias = Literal["threads", "inline", "processes", "dask", "ray", "celery"]
T = TypeVar("T")


class Flow(Decorated, Generic[P, R]):
    """A function whose every call is a flow run. Make one with `@flow`.

    Attributes:
        fn: The function itself.
        name: The flow's name, the function's unless given.
        key: By which subflow calls of it are known across attempts of the flow run that calls it.
    """

    retries: int
    retry_delay_seconds: Delays
    flow_run_name: str | Callable[[], str] | None
    task_runner: TaskRunner | str | None
    validate_parameters: bool
    on_unhandled_failure: str

    @property
    def entrypoint(self) -> str:
        """`path:function`, empty where the function has no file."""
        code = getattr(self.fn, "__code__", None)
        path = getattr(code, "co_filename", "")
        qualname = getattr(self.fn, "__qualname__", self.name)
        return f"{os.path.abspath(path)}:{qualname}" if path and not path.startswith("<") else ""

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(
        self: Flow[P, Coroutine[Any, Any, T]],
        /,
        *args: Any,
        return_state: Literal[True],
        wait_for: Any = ...,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State[T]]: ...
    @overload
    def __call__(self, /, *args: Any, return_state: Literal[True], wait_for: Any = ..., **kwargs: Any) -> State[R]: ...
    @overload
    def __call__(self, /, *args: Any, return_state: Literal[False] = ..., wait_for: Any, **kwargs: Any) -> R: ...
    @overload
    def __call__(self, /, *args: Any, return_state: bool, wait_for: Any = ..., **kwargs: Any) -> Any: ...
    def __call__(self, /, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any) -> Any:  # type: ignore[misc]
        """Run the flow here and now; inside a flow, as a subflow.

        Args:
            args: As the function takes them; they are fitted to its annotations.
            return_state: Whether to return the State instead of the value, and not to raise; that of a
                generator comes once it has ended, with a list.
            wait_for: Futures that must have completed before.
            kwargs: As the function takes them.

        Returns:
            What the function returns (a coroutine function's call is awaited as usual).

        Raises:
            ParameterError: The arguments do not fit; no user code has run.
        """
        if not self.isasync and leave_out(f"{self.name}()"):
            return None
        from orchestrator.sdk import engine  # 60 ms at import, which decorating alone does not pay

        try:
            return engine.call_flow(self, args, kwargs, wait_for, return_state)
        except BaseException as error:
            error.__traceback__ = user_frames(error.__traceback__)
            raise

    @overload
    def submit(
        self: Flow[P, Coroutine[Any, Any, T]], /, *args: Any, wait_for: Any = ..., **kwargs: Any
    ) -> Future[T]: ...
    @overload
    def submit(self, /, *args: Any, wait_for: Any = ..., **kwargs: Any) -> Future[R]: ...
    def submit(self, /, *args: Any, wait_for: Any = None, **kwargs: Any) -> Future[Any]:
        """Run the flow beside the caller, by the task runner of the flow that calls.

        Args:
            args: As the function takes them; futures and states anywhere in them are waited for and put in.
            wait_for: Futures that must have completed before.
            kwargs: As the function takes them.

        Returns:
            A future, at once.
        """
        if leave_out(f"{self.name}.submit()"):
            return None  # type: ignore[return-value]
        from orchestrator.sdk import engine  # as in __call__

        return engine.submit_flow(self, args, kwargs, wait_for)

    @overload
    def map(
        self: Flow[P, Coroutine[Any, Any, T]], /, *args: Any, wait_for: Any = ..., **kwargs: Any
    ) -> FutureList[T]: ...
    @overload
    def map(self, /, *args: Any, wait_for: Any = ..., **kwargs: Any) -> FutureList[R]: ...
    def map(self, /, *args: Any, wait_for: Any = None, **kwargs: Any) -> FutureList[Any]:
        """Submit the flow once for each element of the iterables among the arguments; see `Task.map`."""
        if leave_out(f"{self.name}.map()"):
            return None  # type: ignore[return-value]
        from orchestrator.sdk import engine  # as in __call__
        from orchestrator.sdk.mapping import map_calls

        try:
            return map_calls(self, args, kwargs, lambda a, k: engine.submit_flow(self, a, k, wait_for))
        except BaseException as error:
            error.__traceback__ = user_frames(error.__traceback__)
            raise

    if TYPE_CHECKING:
        # A method's first parameter is bound, unless it is static: type checkers cannot tell, so nothing is said.
        def __get__(self, instance: Any, owner: type | None = None) -> Flow[..., R]: ...

    def with_options(self, **options: Any) -> Flow[P, R]:
        """Return a copy with other options, which are those of `@flow`."""
        made: Flow[P, R] = flow(**{**self.options, **options})(self.fn)
        made.keep_hooks(self, options)
        return made

    def on_completion(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(flow, flow_run, state)`: it is called when a run has completed."""
        return self.add_hook(StateType.COMPLETED, hook)

    def on_failure(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(flow, flow_run, state)`: it is called when a run has failed and is not retried."""
        return self.add_hook(StateType.FAILED, hook)

    def on_cancellation(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(flow, flow_run, state)`: it is called when a run was cancelled."""
        return self.add_hook(StateType.CANCELLED, hook)

    def on_crashed(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(flow, flow_run, state)`: it is called when a run has crashed."""
        return self.add_hook(StateType.CRASHED, hook)

    def on_running(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(flow, flow_run, state)`: it is called when a run begins."""
        return self.add_hook(StateType.RUNNING, hook)


@overload
def flow(fn: Callable[P, R]) -> Flow[P, R]: ...
@overload
def flow(
    *,
    name: str | None = ...,
    version: str | None = ...,
    flow_run_name: str | Callable[[], str] | None = ...,
    retries: int | None = ...,
    retry_delay_seconds: Delays = ...,
    task_runner: TaskRunner | RunnerKind | None = ...,
    description: str | None = ...,
    timeout_seconds: float | None = ...,
    validate_parameters: bool = ...,
    persist_result: bool | None = ...,
    result_storage: Any = ...,
    result_serializer: Any = ...,
    cache_result_in_memory: bool = ...,
    log_prints: bool | None = ...,
    on_completion: Iterable[Callable[..., Any]] | None = ...,
    on_failure: Iterable[Callable[..., Any]] | None = ...,
    on_cancellation: Iterable[Callable[..., Any]] | None = ...,
    on_crashed: Iterable[Callable[..., Any]] | None = ...,
    on_running: Iterable[Callable[..., Any]] | None = ...,
    on_unhandled_failure: Literal["fail", "ignore"] = ...,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    flow_run_name: str | Callable[[], str] | None = None,
    retries: int | None = None,
    retry_delay_seconds: Delays = None,
    task_runner: TaskRunner | RunnerKind | None = None,
    description: str | None = None,
    timeout_seconds: float | None = None,
    validate_parameters: bool = True,
    persist_result: bool | None = None,
    result_storage: Any = None,
    result_serializer: Any = None,
    cache_result_in_memory: bool = True,
    log_prints: bool | None = None,
    on_completion: Iterable[Callable[..., Any]] | None = None,
    on_failure: Iterable[Callable[..., Any]] | None = None,
    on_cancellation: Iterable[Callable[..., Any]] | None = None,
    on_crashed: Iterable[Callable[..., Any]] | None = None,
    on_running: Iterable[Callable[..., Any]] | None = None,
    on_unhandled_failure: Literal["fail", "ignore"] = "fail",
) -> Any:
    """Make a function a flow: each call of it is recorded as a flow run.

    Works with and without parentheses, on functions, coroutines, generators and methods of all kinds.

    Args:
        fn: The function.
        name: The flow's name; the function's by default.
        version: For people.
        flow_run_name: The runs' name: text with parameters in braces, or a function without arguments.
        retries: How many times a run that failed is tried again.
        retry_delay_seconds: A number, a list (its last value repeats), or a function such as `exponential_backoff(2)`.
        task_runner: Where submitted tasks execute: a runner, or the name of a kind ("threads", "inline", "processes",
            "dask", "ray", "celery"); by default what `ORCHESTRATOR_TASK_RUNNER` names, else threads. A deployment's own
            choice comes before it.
        description: For people; the docstring by default.
        timeout_seconds: How long one attempt may take.
        validate_parameters: Whether to fit the arguments to the annotations.
        persist_result: Whether to store results.
        result_storage: Where to store them.
        result_serializer: In which format.
        cache_result_in_memory: Whether to keep results for later attempts in the same process.
        log_prints: Whether prints become log lines on the terminal; they are recorded in any case.
        on_completion: Hooks `hook(flow, flow_run, state)` for runs that completed.
        on_failure: Hooks for runs that failed.
        on_cancellation: Hooks for runs that were cancelled.
        on_crashed: Hooks for runs that crashed.
        on_running: Hooks for runs that begin.
        on_unhandled_failure: "fail": a submitted task that failed, and whose result nobody looked at, fails the run;
            "ignore": it does not.

    Returns:
        A Flow, or a decorator where `fn` is left out.
    """
    options = {key: value for key, value in locals().items() if key != "fn"}
    if fn is None:
        return functools.partial(flow, **options)
    if isinstance(task_runner, str):
        check_runner(task_runner, "@flow")
    if on_unhandled_failure not in ("fail", "ignore"):
        raise ValueError(f'@flow: on_unhandled_failure must be "fail" or "ignore", not {on_unhandled_failure!r}.')
    made: Flow[..., Any] = Flow(fn, options, "flow")
    made.key = f"flow:{made.source}"
    made.flow_run_name = flow_run_name
    made.retries = retries or 0
    made.retry_delay_seconds = retry_delay_seconds
    made.task_runner = task_runner
    made.validate_parameters = validate_parameters
    made.on_unhandled_failure = on_unhandled_failure
    made.add_hooks(
        {
            StateType.COMPLETED: on_completion,
            StateType.FAILED: on_failure,
            StateType.CANCELLED: on_cancellation,
            StateType.CRASHED: on_crashed,
            StateType.RUNNING: on_running,
        }
    )
    return made
