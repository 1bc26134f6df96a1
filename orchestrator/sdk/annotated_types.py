"""Values fitted to annotations: by msgspec, by pydantic where an annotation is pydantic's, by `isinstance` otherwise."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import msgspec


def convert(value: Any, annotation: Any) -> Any:
    """Return a value as the type that its annotation asks for: "3" becomes 3 for an int, text becomes a datetime.

    Args:
        value: What the caller passed.
        annotation: A type, or what typing makes of types. One that nothing is known about accepts every value.

    Raises:
        ValueError: It does not fit.
    """
    if value is None and annotation in (None, type(None)):
        return None
    if is_pydantic(annotation):
        return _convert_by_pydantic(value, annotation)
    try:
        msgspec.inspect.type_info(annotation)
    except Exception:  # a TypeVar, a Callable, a union msgspec does not take
        return _convert_otherwise(value, annotation)
    try:
        return msgspec.convert(value, annotation, strict=False, from_attributes=False, dec_hook=_convert_custom)
    except msgspec.ValidationError as error:
        if _fits(value, annotation):
            return value
        raise ValueError(_lower(str(error))) from None


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
        details = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" if item["loc"] else item["msg"] for item in error.errors()]
        raise ValueError("; ".join(map(_lower, details))) from None


def _convert_custom(annotation: type, value: Any) -> Any:
    """Fit a value to a class that msgspec does not know."""
    if isinstance(annotation, type):
        if isinstance(value, annotation):
            return value
        if issubclass(annotation, PurePath) and isinstance(value, str | PurePath):
            return annotation(value)
        if annotation is complex and isinstance(value, int | float | str):
            return complex(value)
        if annotation in (range, types.NoneType):
            raise TypeError
        raise ValueError(f"Expected `{annotation.__qualname__}`")
    return value


def _convert_otherwise(value: Any, annotation: Any) -> Any:
    """Fit a value to an annotation that msgspec does not take: the first member of a union that fits, else as it is."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return value
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
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_fits(value, member) for member in typing.get_args(annotation))
    return isinstance(annotation, type) and not typing.get_args(annotation) and isinstance(value, annotation)


def describe(annotation: Any) -> str:
    """Return an annotation as its author would write it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "").replace(f"{Path.__module__}.", "")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
