"""The `@task` decorator and the value it makes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from orchestrator.sdk.decorated import Decorated
from orchestrator.sdk.states import State, StateType
from orchestrator.sdk.tracebacks import user_frames

if TYPE_CHECKING:
    from orchestrator.sdk.futures import Future, FutureList
    from orchestrator.sdk.retries import Delays

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Task(Decorated, Generic[P, R]):
    """A function whose every call is a task run. Make one with `@task`.

    Attributes:
        fn: The function itself.
        name: The task's name, the function's unless given.
        key: Module-qualified name of the function, by which the task is known across attempts.
    """

    tags: frozenset[str]
    retries: int
    retry_delay_seconds: Delays
    retry_jitter_factor: float | None
    retry_condition_fn: Callable[[Any, Any, Any], bool] | None
    task_run_name: str | Callable[[], str] | None
    resources: dict[str, float] | None

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(
        self: Task[P, Coroutine[Any, Any, T]],
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
        """Run the task here and now.

        Args:
            args: As the function takes them; futures and states anywhere in them are waited for and put in.
            return_state: Whether to return the State instead of the value, and not to raise; that of a
                generator comes once it has ended, with a list.
            wait_for: Futures that must have completed before.
            kwargs: As the function takes them.

        Returns:
            What the function returns (a coroutine function's call is awaited as usual).

        Raises:
            UpstreamError: A run that this one needs did not complete.
        """
        from orchestrator.sdk import engine  # 60 ms at import, which decorating alone does not pay

        try:
            return engine.call_task(self, args, kwargs, wait_for, return_state)
        except BaseException as error:
            error.__traceback__ = user_frames(error.__traceback__)
            raise

    @overload
    def submit(
        self: Task[P, Coroutine[Any, Any, T]], /, *args: Any, wait_for: Any = ..., **kwargs: Any
    ) -> Future[T]: ...
    @overload
    def submit(self, /, *args: Any, wait_for: Any = ..., **kwargs: Any) -> Future[R]: ...
    def submit(self, /, *args: Any, wait_for: Any = None, **kwargs: Any) -> Future[Any]:
        """Run the task by the flow's task runner, once what it needs has ended.

        Args:
            args: As the function takes them; futures and states anywhere in them are waited for and put in.
            wait_for: Futures that must have completed before.
            kwargs: As the function takes them.

        Returns:
            A future, at once.
        """
        from orchestrator.sdk import engine  # as in __call__

        return engine.submit_task(self, args, kwargs, wait_for)

    @overload
    def map(
        self: Task[P, Coroutine[Any, Any, T]], /, *args: Any, wait_for: Any = ..., **kwargs: Any
    ) -> FutureList[T]: ...
    @overload
    def map(self, /, *args: Any, wait_for: Any = ..., **kwargs: Any) -> FutureList[R]: ...
    def map(self, /, *args: Any, wait_for: Any = None, **kwargs: Any) -> FutureList[Any]:
        """Submit the task once for each element of the iterables among the arguments.

        Args:
            args: Iterables of one length; text, and what is in `unmapped(…)`, is the same in every call.
            wait_for: Futures that must have completed before.
            kwargs: As `args`.

        Returns:
            A list of futures in the order of the elements.

        Raises:
            MapError: Nothing to iterate over, or different lengths; the message names the arguments.
        """
        from orchestrator.sdk import engine  # as in __call__
        from orchestrator.sdk.mapping import map_calls

        try:
            return map_calls(self, args, kwargs, lambda a, k: engine.submit_task(self, a, k, wait_for))
        except BaseException as error:
            error.__traceback__ = user_frames(error.__traceback__)
            raise

    if TYPE_CHECKING:
        # A method's first parameter is bound, unless it is static: type checkers cannot tell, so nothing is said.
        def __get__(self, instance: Any, owner: type | None = None) -> Task[..., R]: ...

    def with_options(self, **options: Any) -> Task[P, R]:
        """Return a copy with other options, which are those of `@task`."""
        made: Task[P, R] = task(**{**self.options, **options})(self.fn)
        made.keep_hooks(self, options)
        return made

    def on_completion(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(task, task_run, state)`: it is called when a run has completed."""
        return self.add_hook(StateType.COMPLETED, hook)

    def on_failure(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(task, task_run, state)`: it is called when a run has failed and is not retried."""
        return self.add_hook(StateType.FAILED, hook)

    def on_running(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function `hook(task, task_run, state)`: it is called when a run begins."""
        return self.add_hook(StateType.RUNNING, hook)

    def on_commit(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function for when the transaction of a run is committed."""
        self.options["on_commit"] = [*(self.options["on_commit"] or ()), hook]
        return hook

    def on_rollback(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function for when the transaction of a run is rolled back."""
        self.options["on_rollback"] = [*(self.options["on_rollback"] or ()), hook]
        return hook


@overload
def task(fn: Callable[P, R]) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = ...,
    description: str | None = ...,
    tags: Iterable[str] | None = ...,
    version: str | None = ...,
    cache_policy: Any = ...,
    cache_key_fn: Callable[..., str | None] | None = ...,
    cache_expiration: Any = ...,
    task_run_name: str | Callable[[], str] | None = ...,
    retries: int | None = ...,
    retry_delay_seconds: Delays = ...,
    retry_jitter_factor: float | None = ...,
    retry_condition_fn: Callable[[Any, Any, Any], bool] | None = ...,
    persist_result: bool | None = ...,
    result_storage: Any = ...,
    result_storage_key: str | None = ...,
    result_serializer: Any = ...,
    cache_result_in_memory: bool = ...,
    timeout_seconds: float | None = ...,
    log_prints: bool | None = ...,
    refresh_cache: bool | None = ...,
    resources: dict[str, float] | None = ...,
    on_completion: Iterable[Callable[..., Any]] | None = ...,
    on_failure: Iterable[Callable[..., Any]] | None = ...,
    on_running: Iterable[Callable[..., Any]] | None = ...,
    on_commit: Iterable[Callable[..., Any]] | None = ...,
    on_rollback: Iterable[Callable[..., Any]] | None = ...,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] | None = None,
    version: str | None = None,
    cache_policy: Any = None,
    cache_key_fn: Callable[..., str | None] | None = None,
    cache_expiration: Any = None,
    task_run_name: str | Callable[[], str] | None = None,
    retries: int | None = None,
    retry_delay_seconds: Delays = None,
    retry_jitter_factor: float | None = None,
    retry_condition_fn: Callable[[Any, Any, Any], bool] | None = None,
    persist_result: bool | None = None,
    result_storage: Any = None,
    result_storage_key: str | None = None,
    result_serializer: Any = None,
    cache_result_in_memory: bool = True,
    timeout_seconds: float | None = None,
    log_prints: bool | None = None,
    refresh_cache: bool | None = None,
    resources: dict[str, float] | None = None,
    on_completion: Iterable[Callable[..., Any]] | None = None,
    on_failure: Iterable[Callable[..., Any]] | None = None,
    on_running: Iterable[Callable[..., Any]] | None = None,
    on_commit: Iterable[Callable[..., Any]] | None = None,
    on_rollback: Iterable[Callable[..., Any]] | None = None,
) -> Any:
    """Make a function a task: each call of it inside a flow is recorded as a task run.

    Works with and without parentheses, on functions, coroutines, generators and methods of all kinds.

    Args:
        fn: The function.
        name: The task's name; the function's by default.
        description: For people; the docstring by default.
        tags: Given to every run, beside those of enclosing `tags(…)` blocks.
        version: For people.
        cache_policy: How the key is made under which a result is found again.
        cache_key_fn: Makes that key: `fn(context, parameters)`.
        cache_expiration: How long a cached result is good for, a timedelta.
        task_run_name: The runs' name: text with parameters in braces, or a function without arguments.
        retries: How many times a run that failed is tried again.
        retry_delay_seconds: A number, a list (its last value repeats), or a function such as `exponential_backoff(2)`.
        retry_jitter_factor: Spreads the delays at random, by a factor of up to `1 + retry_jitter_factor`.
        retry_condition_fn: `fn(task, task_run, state)`: whether to try again.
        persist_result: Whether to store results.
        result_storage: Where to store them.
        result_storage_key: Under which name.
        result_serializer: In which format.
        cache_result_in_memory: Whether to keep results for later attempts of a flow run in the same process.
        timeout_seconds: How long one attempt may take.
        log_prints: Whether prints become log lines on the terminal; the flow's choice by default.
        refresh_cache: Whether to run even where a cached result is found.
        resources: What a run needs of where it executes: names that Dask's workers or Ray's cluster were given, and on
            Ray `num_cpus`, `num_gpus` and `memory` (bytes); other runners do not look at it.
        on_completion: Hooks `hook(task, task_run, state)` for runs that completed.
        on_failure: Hooks for runs that failed.
        on_running: Hooks for runs that begin.
        on_commit: Hooks for the commit of a run's transaction.
        on_rollback: Hooks for its rollback.

    Returns:
        A Task, or a decorator where `fn` is left out.
    """
    options = {key: value for key, value in locals().items() if key != "fn"}
    if fn is None:
        return functools.partial(task, **options)
    made: Task[..., Any] = Task(fn, options, "task")
    made.key = made.source
    made.tags = frozenset(tags or ())
    made.task_run_name = task_run_name
    made.retries = retries or 0
    made.retry_delay_seconds = retry_delay_seconds
    made.retry_jitter_factor = retry_jitter_factor
    made.retry_condition_fn = retry_condition_fn
    made.resources = resources
    made.add_hooks({StateType.COMPLETED: on_completion, StateType.FAILED: on_failure, StateType.RUNNING: on_running})
    return made
