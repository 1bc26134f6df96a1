"""Marks that a caller puts around an argument: how to look into it, and how `map` treats it."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Annotation(Generic[T]):
    """Base of the marks: a wrapped value."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """Return the value without the mark."""
        return self.value

    def rewrap(self, value: Any) -> Any:
        """Return another value with the same mark."""
        return type(self)(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(Annotation[T]):
    """`map` gives this value to every call as it is, instead of iterating over it."""

    __slots__ = ()


class allow_failure(Annotation[T]):
    """A run that needs this starts even when the upstream failed or was not ready, and gets the exception as value."""

    __slots__ = ()


class quote(Annotation[T]):
    """The value is handed over as it is, not searched for futures and states (large collections)."""

    __slots__ = ()
