"""`map`: one call for each element of the iterables among the arguments."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import Any

from orchestrator.sdk.annotations import allow_failure, quote, unmapped
from orchestrator.sdk.decorated import Decorated
from orchestrator.sdk.exceptions import MapError
from orchestrator.sdk.futures import Future, FutureList
from orchestrator.sdk.states import State

_SCALAR = (str, bytes, bytearray, io.IOBase)


def map_calls(
    owner: Decorated,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    submit: Callable[[tuple[Any, ...], dict[str, Any]], Future],
) -> FutureList:
    """Submit one call for each element.

    Args:
        owner: The task or flow that is mapped.
        arguments, keywords: As `map` got them. Futures and states among them are waited for.
        submit: Submits one call.

    Returns:
        The futures, in the order of the elements.

    Raises:
        MapError: Nothing to iterate over, or different lengths.
    """
    names = [*_positional_names(owner, len(arguments)), *keywords]
    columns = [_column(value) for value in (*arguments, *keywords.values())]
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True) if isinstance(column, list)}
    if not lengths:
        raise MapError(
            f"Nothing to map '{owner.name}' over: at least one argument must be an iterable that is not text or in "
            f"unmapped(…). Use submit() for a single call."
        )
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
        raise MapError(
            f"'{owner.name}' cannot be mapped over different lengths: {got}. Put what stays the same in unmapped(…)."
        )
    split = len(arguments)
    futures = FutureList()
    for index in range(next(iter(lengths.values()))):
        row = [column[index] if isinstance(column, list) else column.value for column in columns]
        futures.append(submit(tuple(row[:split]), dict(zip(keywords, row[split:], strict=True))))
    return futures


def _column(value: Any) -> list[Any] | unmapped[Any]:
    """Return an argument's elements, or what is the same in every call."""
    if isinstance(value, unmapped):
        return value
    if isinstance(value, quote):
        return unmapped(value)
    if isinstance(value, allow_failure):
        column = _column(value.value)
        return (
            [allow_failure(item) for item in column]
            if isinstance(column, list)
            else unmapped(allow_failure(column.value))
        )
    if isinstance(value, Future | State):
        return _column(value.result())
    if isinstance(value, _SCALAR) or not _is_iterable(value):
        return unmapped(value)
    return list(value)


def _is_iterable(value: Any) -> bool:
    try:
        iter(value)
    except TypeError:
        return False
    return True


def _positional_names(owner: Decorated, count: int) -> list[str]:
    try:
        parameters = list(inspect.signature(owner.fn).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [parameter.name for parameter in parameters if parameter.kind < inspect.Parameter.VAR_POSITIONAL][:count]
    return names + [f"argument {number + 1}" for number in range(len(names), count)]
