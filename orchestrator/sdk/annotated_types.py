"""Values fitted to annotations: by msgspec, by pydantic where it is pydantic's, else by `isinstance`."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from pathlib import Path, PurePath
from typing import Any

import msgspec

_BOOLEANS = {"yes": True, "y": True, "on": True, "t": True, "no": False, "n": False, "off": False, "f": False}
_UNIONS = (typing.Union, types.UnionType)
_NO_COLUMN = (str, bytes, bytearray, dict, list, tuple, set, frozenset)


def convert(value: Any, annotation: Any) -> Any:
    """Return a value as the type that its annotation asks for: "3" becomes 3 for an int, text becomes a datetime.

    Args:
        value: What the caller passed.
        annotation: A type, or what typing makes of types. One that nothing is known about accepts every value.

    Raises:
        ValueError: It does not fit.
    """
    if _fits(value, annotation):
        return value
    if is_pydantic(annotation):
        return _convert_by_pydantic(value, annotation)
    value = _leniently(value, annotation)
    try:
        return msgspec.convert(value, annotation, strict=False, dec_hook=_convert_custom)
    except msgspec.ValidationError as error:
        try:
            return _convert_parts(value, annotation)
        except (ValueError, TypeError):  # msgspec's message says where
            raise ValueError(_lower(str(error))) from None
    except (TypeError, msgspec.MsgspecError):  # a TypeVar, a Callable, a union that msgspec does not take
        return _convert_otherwise(value, annotation)


def _leniently(value: Any, annotation: Any) -> Any:
    """Bring a value nearer to its annotation where msgspec is stricter than users of pydantic know."""
    origin = typing.get_origin(annotation) or annotation
    if annotation is bool and isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower(), value)
    if annotation is bytes and isinstance(value, str):
        return value.encode()
    if annotation in (date, datetime, time) and isinstance(value, str):
        try:
            return annotation.fromisoformat(value.strip())
        except ValueError:
            return value
    if origin in (list, set, frozenset, tuple) and isinstance(value, Iterable) and not isinstance(value, _NO_COLUMN):
        return list(value)
    if annotation in (bool, int, float) and not isinstance(value, str | bool) and hasattr(value, "item"):
        return value.item()  # a number of numpy's
    return value


def _convert_parts(value: Any, annotation: Any) -> Any:
    """Fit a value to one of a union, and what is in a collection one by one: msgspec is strict inside of those."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _UNIONS:
        return _convert_to_member(value, annotation)
    if isinstance(value, dict) and origin is dict:
        return {convert(key, inner[0]): convert(item, inner[1]) for key, item in value.items()}
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | bytearray | dict):
        raise TypeError
    if origin is tuple and Ellipsis not in inner:
        return tuple(convert(item, part) for item, part in zip(value, inner, strict=True))
    if origin in (list, set, frozenset, tuple):
        return origin(convert(item, inner[0]) for item in value)
    raise TypeError


def is_pydantic(annotation: Any) -> bool:
    """Whether pydantic must judge values of an annotation. It is never imported for this: then it is loaded already."""
    if "pydantic" not in sys.modules:
        return False
    return any(
        hasattr(part, "__get_pydantic_core_schema__")
        or hasattr(part, "__pydantic_core_schema__")
        or getattr(type(part), "__module__", "").startswith("pydantic")
        for part in _parts(annotation)
    )


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    if hasattr(annotation, "__metadata__"):
        yield from annotation.__metadata__
    for argument in typing.get_args(annotation):
        yield from _parts(argument)


def _convert_by_pydantic(value: Any, annotation: Any) -> Any:
    from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError  # loaded already

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        details = [
            f"{'.'.join(map(str, item['loc']))}: {_lower(item['msg'])}" if item["loc"] else _lower(item["msg"])
            for item in error.errors()
        ]
        raise ValueError("; ".join(details)) from None


def _convert_custom(annotation: Any, value: Any) -> Any:
    """Fit a value to a class that msgspec does not know."""
    if isinstance(annotation, type):
        if _is_instance(value, annotation):
            return value
        if issubclass(annotation, PurePath) and isinstance(value, str | PurePath):
            return annotation(value)
        if annotation is complex and isinstance(value, int | float | str):
            return complex(value)
        raise ValueError(f"Expected `{annotation.__qualname__}`")
    return value


def _convert_otherwise(value: Any, annotation: Any) -> Any:
    """Fit a value to an annotation that msgspec does not take: to a member of a union, else as it is."""
    return _convert_to_member(value, annotation) if typing.get_origin(annotation) in _UNIONS else value


def _convert_to_member(value: Any, annotation: Any) -> Any:
    """Fit a value to the first member of a union that it fits."""
    members = typing.get_args(annotation)
    if any(_fits(value, member) for member in members):
        return value
    problems = []
    for member in members:
        try:
            return convert(value, member)
        except (ValueError, TypeError) as error:
            problems.append(str(error))
    raise ValueError("; ".join(dict.fromkeys(problems)))


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value is an instance already, of a class or of one in a union of classes."""
    if annotation is None or annotation is Any:
        return annotation is Any or value is None
    if typing.get_origin(annotation) in _UNIONS:
        return any(_fits(value, member) for member in typing.get_args(annotation))
    return isinstance(annotation, type) and not typing.get_args(annotation) and _is_instance(value, annotation)


def _is_instance(value: Any, annotation: type) -> bool:
    if getattr(annotation, "_is_protocol", False) and not getattr(annotation, "_is_runtime_protocol", False):
        return True  # for type checkers only
    return not typing.is_typeddict(annotation) and isinstance(value, annotation)


def describe(annotation: Any) -> str:
    """Return an annotation as its author would write it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "").replace(f"{Path.__module__}.", "")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
