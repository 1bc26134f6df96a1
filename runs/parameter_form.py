"""A form made from a flow's parameter schema: its fields, and the values that were typed into it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "parameter."
OTHERS = "other parameters"
_FORMATS = {"date": "date", "date-time": "datetime-local", "time": "time"}
_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values that a parameter may take; `value` is its JSON."""

    value: str
    title: str


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter in a form: what is asked, what stands there, what is wrong with it."""

    name: str
    kind: str  #: text, lines, integer, number, boolean, choice, date, datetime-local, time, json, any
    description: str = ""
    required: bool = False
    nullable: bool = False
    text: str = ""
    choices: list[Choice] = field(default_factory=list)
    default: str = ""  #: the flow's own default, in words; empty without one
    errors: list[str] = field(default_factory=list)
    minimum: Any = None
    maximum: Any = None

    @property
    def input_name(self) -> str:
        """The name of its input."""
        return PREFIX + self.name

    @property
    def id(self) -> str:
        """The id of its input."""
        return "parameter-" + "".join(letter if letter.isalnum() else "-" for letter in self.name)

    @property
    def is_checked(self) -> bool:
        """Whether the box of a boolean is ticked."""
        return self.text == "true"


@dataclass(frozen=True, slots=True)
class Filled:
    """What was typed: the values that could be read, and by name what could not."""

    values: dict[str, Any]
    errors: dict[str, list[str]]


def fields_of(
    schema: Mapping[str, Any],
    values: Mapping[str, Any],
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, list[str]] | None = None,
    partial: bool = False,
) -> list[Field]:
    """Return the fields of a form.

    Args:
        schema: JSON schema of the parameters.
        values: Values to begin with.
        typed: What was typed before, shown again as it was.
        errors: By parameter (`config.retries` belongs to `config`).
        partial: A deployment's own parameters: any may be left out, so that a boolean has a third answer.
    """
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    wrong = _by_parameter(errors or {})
    result = []
    for name, declared in properties.items():
        shape, nullable = _resolve(declared, schema)
        kind = _kind(shape)
        default = declared.get("default", _MISSING)
        choices = _choices(shape, kind, partial)
        if choices:
            kind = "choice"
        value = values.get(name, _MISSING if partial else default)
        text = typed.get(PREFIX + name, "") if typed is not None else _text(value, kind)
        result.append(
            Field(
                name,
                kind,
                declared.get("description", "") or shape.get("description", ""),
                name in required and not partial,
                nullable,
                text,
                choices,
                "" if default is _MISSING else ("none" if default is None else _text(default, "any")),
                wrong.pop(name, []),
                shape.get("minimum", shape.get("exclusiveMinimum")),
                shape.get("maximum", shape.get("exclusiveMaximum")),
            )
        )
    if not properties or schema.get("additionalProperties"):
        result.append(_others(values, properties, typed, wrong))
    return result


def read(schema: Mapping[str, Any], typed: Mapping[str, str], partial: bool = False) -> Filled:
    """Return the values of a filled form. What is left empty is left out, or is null where the schema allows it."""
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    required = set(schema.get("required", ()))
    for name, declared in schema.get("properties", {}).items():
        shape, nullable = _resolve(declared, schema)
        kind = "choice" if _choices(shape, _kind(shape), partial) else _kind(shape)
        text = typed.get(PREFIX + name, "")
        if kind == "boolean":
            values[name] = text == "true"
        elif text == "" and kind in {"text", "lines"} and not (nullable or partial or name in required):
            values[name] = ""
        elif text == "":
            if nullable and not partial:
                values[name] = None
        else:
            _read_one(name, kind, text, values, errors)
    _read_others(typed, values, errors)
    return Filled(values, errors)


def _read_one(name: str, kind: str, text: str, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
    try:
        if kind == "integer":
            values[name] = int(text)
        elif kind == "number":
            values[name] = float(text)
        elif kind in {"json", "choice"}:
            values[name] = json.loads(text)
        elif kind == "any":
            values[name] = _json_or_text(text)
        else:
            values[name] = text
    except ValueError as error:
        if kind == "json":
            errors[name] = [f'This is not JSON: {error}. Lists are written [1, 2], objects {{"name": 1}}.']
        values[name] = text  # the schema's own check says what it has to be


def _read_others(typed: Mapping[str, str], values: dict[str, Any], errors: dict[str, list[str]]) -> None:
    text = typed.get(PREFIX + OTHERS, "").strip()
    if not text:
        return
    try:
        others = json.loads(text)
    except ValueError as error:
        errors[OTHERS] = [f"This is not JSON: {error}."]
        return
    if isinstance(others, dict):
        values.update(others)
    else:
        errors[OTHERS] = ["Write an object of names and values."]


def _others(
    values: Mapping[str, Any], known: Mapping[str, Any], typed: Mapping[str, str] | None, wrong: dict[str, list[str]]
) -> Field:
    """The field of whatever else the flow takes."""
    rest = {name: value for name, value in values.items() if name not in known}
    text = typed.get(PREFIX + OTHERS, "") if typed is not None else json.dumps(rest, indent=2) if rest else ""
    words = "Names and values as a JSON object, for a flow that takes more than its annotations say."
    return Field(
        OTHERS, "json", words, text=text, errors=[message for messages in wrong.values() for message in messages]
    )


def _resolve(declared: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Follow references and take null out of alternatives. Returns the shape, and whether null is allowed."""
    shape, nullable = declared, False
    for _ in range(10):
        if reference := shape.get("$ref", ""):
            shape = schema.get("$defs", {}).get(reference.rpartition("/")[2], {})
        elif len(shape.get("allOf", ())) == 1:
            shape = shape["allOf"][0]
        elif alternatives := shape.get("anyOf") or shape.get("oneOf"):
            others = [one for one in alternatives if one.get("type") != "null"]
            nullable = nullable or len(others) < len(alternatives)
            if len(others) != 1:
                return {**shape, "type": None}, nullable
            shape = others[0]
        else:
            break
    if isinstance(shape.get("type"), list):
        types = [type_ for type_ in shape["type"] if type_ != "null"]
        nullable = nullable or len(types) < len(shape["type"])
        shape = {**shape, "type": types[0] if len(types) == 1 else None}
    return shape, nullable


def _kind(shape: Mapping[str, Any]) -> str:
    type_ = shape.get("type")
    if type_ == "string":
        if shape.get("format") in _FORMATS:
            return _FORMATS[shape["format"]]
        return "lines" if shape.get("format") == "multiline" or shape.get("maxLength", 0) > 400 else "text"
    if type_ in {"integer", "number", "boolean"}:
        return str(type_)
    return "json" if type_ in {"array", "object"} else "any"


def _choices(shape: Mapping[str, Any], kind: str, partial: bool) -> list[Choice]:
    if "enum" in shape:
        values = shape["enum"]
    elif "const" in shape:
        values = [shape["const"]]
    elif kind == "boolean" and partial:
        values = [True, False]
    else:
        return []
    return [
        Choice(json.dumps(value), {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))
        for value in values
    ]


def _text(value: Any, kind: str) -> str:
    """A value as its input shows it."""
    if value is _MISSING or value is None:
        return ""
    if kind == "choice":
        return json.dumps(value)
    if kind == "datetime-local" and isinstance(value, str):
        return value[:19]
    if isinstance(value, str) and kind != "json":
        if kind == "any":
            return value if _json_or_text(value) == value else json.dumps(value)
        return value
    return json.dumps(value, indent=2 if kind == "json" else None, ensure_ascii=False)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _by_parameter(errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Gather errors under the parameter they belong to, saying where inside it."""
    result: dict[str, list[str]] = {}
    for path, messages in errors.items():
        name, _, inner = path.removeprefix("parameters.").partition(".")
        result.setdefault(name, []).extend(f"{inner}: {message}" if inner else message for message in messages)
    return result
