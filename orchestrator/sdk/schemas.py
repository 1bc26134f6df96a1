"""The JSON schema of a flow's parameters: it draws the run form and checks API calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec

from orchestrator.sdk.annotated_types import is_pydantic
from orchestrator.sdk.decorated import Decorated
from orchestrator.sdk.docstrings import argument_descriptions
from orchestrator.sdk.parameters import annotations_of, as_json

_REF_TEMPLATE = "#/$defs/{name}"
_POSITIONAL_ONLY, _VAR_POSITIONAL, _VAR_KEYWORD = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
)


def parameter_schema(flow: Decorated | Callable[..., Any]) -> dict[str, Any]:
    """Describe the parameters of a flow, or of a function.

    Returns:
        A JSON schema of type object. Each property has a `title`, an `x-order` (its place, from 0, since databases
        reorder keys), and where they are known a `default` and a `description` (from the docstring, Google style).
        What an annotation means that JSON cannot say is left open, for the engine to judge when the run starts.
    """
    function = flow.fn if isinstance(flow, Decorated) else flow
    validated = getattr(flow, "validate_parameters", True)
    annotations = annotations_of(function) if validated else {}
    descriptions = argument_descriptions(function.__doc__ or "")
    properties: dict[str, Any] = {}
    required: list[str] = []
    definitions: dict[str, Any] = {}
    open_ended = False
    for order, parameter in enumerate(_parameters(function)):
        if parameter.kind is _VAR_KEYWORD:
            open_ended = True
        if parameter.kind in (_VAR_KEYWORD, _VAR_POSITIONAL, _POSITIONAL_ONLY):
            continue  # a run is started with names
        name = parameter.name
        one = _schema_of(annotations.get(name, Any), definitions)
        if parameter.default is parameter.empty:
            required.append(name)
        else:
            one = _with_default(one, parameter.default)
        if name in descriptions:
            one["description"] = descriptions[name]
        properties[name] = {**one, "title": one.get("title", name), "x-order": order}
    schema: dict[str, Any] = {"title": "Parameters", "type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if definitions:
        schema["$defs"] = definitions
    schema["additionalProperties"] = open_ended
    return schema


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def _schema_of(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    try:
        if is_pydantic(annotation):
            return _schema_by_pydantic(annotation, definitions)
        (schema,), found = msgspec.json.schema_components([annotation], schema_hook=_custom, ref_template=_REF_TEMPLATE)
    except Exception:  # a TypeVar, a Callable, a class of the user's with hooks that raise
        return {}
    definitions.update(found)
    return dict(schema)


def _schema_by_pydantic(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    from pydantic import TypeAdapter  # loaded already: the annotation is its

    schema = TypeAdapter(annotation).json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema


def _custom(annotation: Any) -> dict[str, Any]:
    if isinstance(annotation, type) and issubclass(annotation, PurePath):
        return {"type": "string", "format": "path"}
    return {}


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    if default is None and not _takes_null(schema):  # `x: int = None`: its author means Optional
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "default": as_json(default)}


def _takes_null(schema: dict[str, Any]) -> bool:
    if not schema:  # anything goes
        return True
    alternatives = schema.get("anyOf", ())
    return schema.get("type") == "null" or None in schema.get("enum", ()) or any(map(_takes_null, alternatives))
