"""What flows and tasks share: a decorated function with options and hooks that also works as a method."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, cast

from orchestrator.sdk.callables import Kind, kind_of
from orchestrator.sdk.states import StateType

_HOOK_OPTIONS = {
    StateType.COMPLETED: "on_completion",
    StateType.FAILED: "on_failure",
    StateType.CANCELLED: "on_cancellation",
    StateType.CRASHED: "on_crashed",
    StateType.RUNNING: "on_running",
}


class Decorated:
    """A function that a decorator made a flow or a task.

    Attributes:
        fn: The function itself.
        name: Of the flow or task.
        kind: How the function must be called.
        source: The function's module and qualified name.
        key: By which calls of it are known across attempts of a flow run.
        options: The decorator's arguments, for `with_options`.
        hooks: By the type of the state that they are for.
    """

    fn: Callable[..., Any]
    key: str
    timeout_seconds: float | None
    log_prints: bool | None
    cache_result_in_memory: bool

    def __init__(self, fn: Any, options: dict[str, Any], decorator: str) -> None:
        if isinstance(fn, Decorated):
            raise TypeError(f"@{decorator} stands on '{fn.name}', which is a {type(fn).__name__.lower()} already.")
        self._binding: type | None = type(fn) if isinstance(fn, classmethod | staticmethod) else None
        self.fn = fn.__func__ if isinstance(fn, classmethod | staticmethod) else fn
        if not callable(self.fn):
            raise TypeError(f"@{decorator} wants a function, not {type(self.fn).__name__}: {self.fn!r}.")
        _check(options, decorator)
        _check_parameters(self.fn, decorator)
        self.options = options
        functools.update_wrapper(cast(Any, self), self.fn)
        self.name: str = options["name"] or getattr(self.fn, "__name__", type(self.fn).__name__)
        self.version: str | None = options["version"]
        self.kind: Kind = kind_of(self.fn)
        self.source = f"{getattr(self.fn, '__module__', '')}.{getattr(self.fn, '__qualname__', self.name)}"
        self.timeout_seconds = float(options["timeout_seconds"]) if options["timeout_seconds"] else None
        self.log_prints = options["log_prints"]
        self.cache_result_in_memory = options["cache_result_in_memory"]
        self.hooks: dict[StateType, list[Callable[..., Any]]] = {}

    @property
    def description(self) -> str | None:
        """What was given, else the function's docstring."""
        text = self.options["description"] or self.fn.__doc__
        if text is None:
            return None
        from inspect import cleandoc  # 17 ms at import

        return cleandoc(text)

    @property
    def isasync(self) -> bool:
        """Whether the function is a coroutine function or an async generator."""
        return self.kind.is_async

    def add_hook(self, type_: StateType, hook: Callable[..., Any]) -> Callable[..., Any]:
        """Add a hook for runs that enter a state of this type, and return it."""
        if not callable(hook):
            raise TypeError(f"A hook of '{self.name}' must be a function, not {hook!r}.")
        self.hooks.setdefault(type_, []).append(hook)
        return hook

    def add_hooks(self, hooks: dict[StateType, Iterable[Callable[..., Any]] | None]) -> None:
        """Add the hooks that the decorator was given."""
        for type_, several in hooks.items():
            for hook in several or ():
                self.add_hook(type_, hook)

    def keep_hooks(self, before: Decorated, replaced: Iterable[str]) -> None:
        """Take over the hooks that decorators added to the one this is a copy of, except replaced ones."""
        for type_, hooks in before.hooks.items():
            if _HOOK_OPTIONS[type_] not in replaced:
                self.hooks[type_] = list(hooks)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind to an object or class, as functions do when they are methods."""
        if self._binding is classmethod:
            instance = owner if owner is not None else type(instance)
        if instance is None or self._binding is staticmethod:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.fn = self.fn.__get__(instance, owner)
        return bound

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by reference, as functions are, where the name leads here; else by value, which cloudpickle can.

        What a script holds goes by value too, since other programs do not have the script; multiprocessing's have it.
        """
        script = self.__module__ == "__main__"
        if not script or sys._getframe(1).f_globals.get("__name__") == "multiprocessing.reduction":
            found: Any = sys.modules.get(self.__module__)
            path: str = getattr(self, "__qualname__", "")  # a partial has none
            for name in path.split("."):
                found = getattr(found, name, None)
            if found is self:
                return path
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}' of {self.source}>"


def _check(options: dict[str, Any], decorator: str) -> None:
    """Refuse options that could only fail later, when the flow runs at night."""
    name, retries, timeout = options["name"], options["retries"], options["timeout_seconds"]
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise TypeError(f"@{decorator}: name must be text that is not empty, not {name!r}.")
    if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
        raise ValueError(f"@{decorator}: retries must be a whole number of at least 0, not {retries!r}.")
    if timeout is not None and (not isinstance(timeout, int | float) or timeout < 0):
        raise ValueError(f"@{decorator}: timeout_seconds must be a number of at least 0, not {timeout!r}.")
    delays = options["retry_delay_seconds"]
    numbers = delays if isinstance(delays, list | tuple) else [] if delays is None or callable(delays) else [delays]
    for seconds in numbers:
        if not isinstance(seconds, int | float) or seconds < 0:
            raise ValueError(f"@{decorator}: retry_delay_seconds must be numbers of at least 0, not {seconds!r}.")


def _check_parameters(fn: Any, decorator: str) -> None:
    """Refuse parameters that could never be passed, since a call keeps their names for itself."""
    code = getattr(fn, "__code__", None)
    if code is None:
        return
    named = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    for name in ("wait_for", "return_state"):
        if name in named:
            raise TypeError(
                f"@{decorator}: a parameter '{name}' of '{fn.__qualname__}' could not be passed, since "
                f"every call has an option of that name. Give it another name."
            )
