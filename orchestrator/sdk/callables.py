"""What kind of function a user decorated, told from its flags: importing inspect costs 17 ms."""

from __future__ import annotations

from enum import Enum
from typing import Any

_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200  # inspect.CO_*


class Kind(Enum):
    """How a function must be called."""

    SYNC = "sync"
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    is_async: bool

    def __init__(self, value: str) -> None:
        self.is_async = value.startswith("async")


def kind_of(function: Any) -> Kind:
    """Return how a function must be called; partials and methods are seen through."""
    while True:
        if hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
            function = function.func
        elif hasattr(function, "__func__"):
            function = function.__func__
        else:
            break
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)  # noqa: B004 - its code is wanted
    flags = getattr(code, "co_flags", 0)
    if flags & _ASYNC_GENERATOR:
        return Kind.ASYNC_GENERATOR
    # What asyncio.iscoroutinefunction and inspect.markcoroutinefunction look at in wrappers without the flag.
    if flags & _COROUTINE or hasattr(function, "_is_coroutine_marker") or hasattr(function, "_is_coroutine_mark"):
        return Kind.ASYNC
    return Kind.GENERATOR if flags & _GENERATOR else Kind.SYNC
