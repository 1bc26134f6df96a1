"""Typed settings of a block: from one annotated struct come its form, its JSON schema, its options and its checks.

A field is annotated so:

    memory_mb: Annotated[int, about("Memory", "The most that …", ge=64, unit="MB", opened=True)] | None = None
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

import msgspec

MAX_TEXT: Final = 4_096
_ABOUT: Final = "x-orchestrator"


class Shape(StrEnum):
    """How a field's value is written down."""

    TEXT = "text"
    LINES = "lines"  #: text of several lines
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    LIST = "list"  #: of texts
    MAPPING = "mapping"  #: names to texts
    JSON = "json"  #: anything else


def about(
    title: str,
    help: str,
    *,
    ge: int | float | None = None,
    le: int | float | None = None,
    pattern: str | None = None,
    max_length: int | None = None,
    unit: str = "",
    secret: bool = False,
    opened: bool = False,
    lines: bool = False,
    block: str = "",
    example: str = "",
) -> msgspec.Meta:
    """Describe a field of settings.

    Args:
        title: As people read it.
        help: A sentence or two.
        ge, le, pattern, max_length: What the value is held to.
        unit: Behind a number: `MB`.
        secret: It is stored encrypted, and shown to nobody again.
        opened: A new block lets deployments and runs override it, and operators may for a run: it says how much, never
            which code executes or with what power. Everything else takes an editor, where a block opens it.
        lines: A text of several lines.
        block: Its value is the name of a block of this type in the same team, whose values the worker is given.
        example: What could stand there.
    """
    words = {
        "unit": unit, "secret": secret, "opened": opened, "lines": lines, "block": block, "example": example,
    }  # fmt: skip
    bounds: dict[str, Any] = {"ge": ge, "le": le, "pattern": pattern, "max_length": max_length}
    return msgspec.Meta(
        title=title, description=help, **{name: bound for name, bound in bounds.items() if bound is not None},
        extra_json_schema={_ABOUT: {name: word for name, word in words.items() if word}},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A field of settings, as a form, an option or a reference page needs it."""

    name: str
    type: Any
    title: str
    help: str
    shape: Shape
    default: Any
    required: bool = False
    choices: tuple[str, ...] = ()
    unit: str = ""
    secret: bool = False
    opened: bool = False
    block: str = ""
    example: str = ""

    @property
    def option(self) -> str:
        """As the command line spells it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_many(self) -> bool:
        """Whether its option may be given several times."""
        return self.shape in (Shape.LIST, Shape.MAPPING)

    def read(self, texts: Sequence[str]) -> Any:
        """Return the value that people wrote: one text, or several for a list or a mapping (`NAME=value`).

        Raises:
            ValueError: It cannot be read; the message says what to write.
        """
        if self.shape is Shape.LIST:
            return [text for text in texts if text.strip()]
        if self.shape is Shape.MAPPING:
            return dict(_pair(text) for text in texts if text.strip())
        text = texts[-1] if texts else ""
        if self.shape is not Shape.LINES:
            text = text.strip()
        if not text:
            return None if self.default is None or self.required else self.default
        if self.shape is Shape.BOOLEAN:
            if text.lower() not in _BOOLEANS:
                raise ValueError("Write true or false.")
            return _BOOLEANS[text.lower()]
        if self.shape is Shape.JSON:
            try:
                return msgspec.json.decode(text)
            except msgspec.DecodeError as error:
                raise ValueError(f"This is not JSON: {error}.") from None
        try:
            return msgspec.convert(text, self.type, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(_complaint(self, error)) from None

    def write(self, value: Any) -> str:
        """Return a value as `read` takes it, a list or mapping one entry a line."""
        if value is None:
            return ""
        if self.shape is Shape.LIST:
            return "\n".join(map(str, value))
        if self.shape is Shape.MAPPING:
            return "\n".join(f"{name}={text}" for name, text in value.items())
        if self.shape is Shape.BOOLEAN:
            return "true" if value else "false"
        return msgspec.json.encode(value).decode() if self.shape is Shape.JSON else str(value)


Errors: TypeAlias = dict[str, str]
_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def fields_of(settings: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return the fields of a struct of settings, in their order."""
    hints = typing.get_type_hints(settings, include_extras=True)
    return tuple(_field(each, hints[each.name]) for each in msgspec.structs.fields(settings))


def check(settings: type[msgspec.Struct], values: Mapping[str, Any]) -> tuple[dict[str, Any], Errors]:
    """Return the values, as they are to be stored, and what is wrong with them, by field.

    Values that are the field's default are left out, so that a better default reaches blocks that never set it.
    """
    fields = {field.name: field for field in fields_of(settings)}
    errors = {name: f"There is no such field. There are {', '.join(fields)}." for name in values.keys() - fields.keys()}
    kept: dict[str, Any] = {}
    for name, field in fields.items():
        value = values.get(name, field.default)
        if field.required and value in (None, "", [], {}):
            errors[name] = "This field is needed."
            continue
        try:
            checked = msgspec.to_builtins(msgspec.convert(value, field.type))
        except msgspec.ValidationError as error:
            errors[name] = _complaint(field, error)
            continue
        if isinstance(checked, str) and len(checked) > MAX_TEXT and field.shape is not Shape.LINES:
            errors[name] = f"At most {MAX_TEXT:,} characters."
        if "\0" in str(checked):
            errors[name] = "This holds a null character."
        if name in values and checked != field.default:
            kept[name] = checked
    return kept, errors


def schema_of(settings: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a struct of settings."""
    schema = msgspec.json.schema(settings)
    name = schema.pop("$ref").rpartition("/")[2]
    found: dict[str, Any] = schema["$defs"].pop(name)
    if schema["$defs"]:
        found["$defs"] = schema["$defs"]
    found.pop("description", None)
    found["additionalProperties"] = False
    return found


def _field(raw: msgspec.structs.FieldInfo, hint: Any) -> Field:
    parts = [part for part in _parts(hint) if part is not types.NoneType]
    found = [each for part in parts for each in getattr(part, "__metadata__", ()) if isinstance(each, msgspec.Meta)]
    meta = found[0] if found else msgspec.Meta()
    words = dict((meta.extra_json_schema or {}).get(_ABOUT, {}))
    shape, choices = _shape([typing.get_args(part)[0] if hasattr(part, "__metadata__") else part for part in parts])
    if shape is Shape.TEXT and words.pop("lines", False):
        shape = Shape.LINES
    default = raw.default
    if raw.default_factory is not msgspec.NODEFAULT:
        default = raw.default_factory()
    return Field(
        name=raw.name,
        type=hint,
        title=meta.title or raw.name,
        help=meta.description or "",
        shape=shape,
        default=None if default is msgspec.NODEFAULT else default,
        required=raw.required,
        choices=choices,
        **words,
    )


def _parts(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _shape(options: Sequence[Any]) -> tuple[Shape, tuple[str, ...]]:
    only = options[0] if len(options) == 1 else None
    origin = typing.get_origin(only)
    if origin is Literal:
        return Shape.CHOICE, tuple(map(str, typing.get_args(only)))
    if origin in (list, tuple) and typing.get_args(only)[0] is str:
        return Shape.LIST, ()
    if origin is dict and typing.get_args(only)[1] is str:
        return Shape.MAPPING, ()
    return _SIMPLE.get(only, Shape.JSON), ()


_SIMPLE: Final[dict[Any, Shape]] = {
    str: Shape.TEXT, int: Shape.INTEGER, float: Shape.NUMBER, bool: Shape.BOOLEAN,
}  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"Write NAME=value, not {text!r}.")
    return name.strip(), value


def _complaint(field: Field, error: msgspec.ValidationError) -> str:
    """Return what msgspec found, as a sentence for whoever wrote the value."""
    found = str(error)
    if bound := _BOUND.search(found):
        unit = f" {field.unit}" if field.unit else ""
        return f"At {_BOUNDS[bound[1]]} {float(bound[2]):,.12g}{unit}."
    if length := _LENGTH.search(found):
        return f"At most {length[1]} characters."
    if pattern := _PATTERN.search(found):
        return f"Write it like {field.example}." if field.example else f"It has to match {pattern[1]}."
    if field.shape is Shape.CHOICE:
        return f"One of {', '.join(field.choices)}."
    return _WANTED.get(field.shape) or f"{found.replace(' - at `$`', '')}."


_BOUND: Final = re.compile(r"Expected `(?:int|float)` ([<>]=) (\S+)")
_BOUNDS: Final = {">=": "least", "<=": "most"}
_LENGTH: Final = re.compile(r"Expected `str` of length <= (\d+)")
_PATTERN: Final = re.compile(r"matching regex '(.*)'")
_WANTED: Final = {
    Shape.TEXT: "Write text.",
    Shape.LINES: "Write text.",
    Shape.INTEGER: "Write a whole number.",
    Shape.NUMBER: "Write a number.",
    Shape.BOOLEAN: "Write true or false.",
    Shape.LIST: "Write a list of texts.",
    Shape.MAPPING: "Write a text for each name.",
}
