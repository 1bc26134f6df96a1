"""Checks the parameters of a run against the JSON schema that was made from the flow's annotations.

The engine coerces values by the annotations before user code runs; here they are only checked, early enough that who
asked for the run hears of it. What the engine would coerce passes: `"3"` for an integer, as forms and command lines
send it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError

from orchestrator.sdk.events import MAX_PARAMETER_BYTES
from orchestrator.sdk.events import encode as encode_json

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError as SchemaError

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FORMATS = {"date": "a date such as 2027-01-04", "date-time": "a time such as 2027-01-04T08:00:00"}
_SECONDS = {"date-time", "duration"}  # may be given as numbers: seconds since 1970, seconds
_INTEGER = re.compile(r"\s*[+-]?[0-9](_?[0-9])*(\.0*)?\s*", re.ASCII)
_TRUTHS = {"true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "1", "0"}


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay parameters over parameters, name by name; the last one that has a name wins."""
    return {name: value for layer in layers for name, value in layer.items()}


def check_parameters(schema: Mapping[str, Any], parameters: Any, *, partial: bool = False) -> None:
    """Check parameters against a flow's schema.

    Args:
        schema: JSON schema of the flow's parameters; an empty one takes anything.
        parameters: Names and values.
        partial: Whether required ones may be missing (a deployment's own parameters: a run adds to them).

    Raises:
        ValidationError: By `parameters.<name>`, each with what it has to be.
    """
    if not isinstance(parameters, dict):
        raise ValidationError({"parameters": "Write an object of names and values."})
    _check_size(parameters)
    if not schema:
        return
    errors: dict[str, list[str]] = {}
    for name, message in _complaints(schema, parameters, partial):
        errors.setdefault(f"parameters.{name}" if name else "parameters", []).append(message)
    if errors:
        raise ValidationError(errors)


def unknown_parameters(schema: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The names that the flow does not take; none for a flow that takes any (`**kwargs`) or has no schema."""
    if not schema or schema.get("additionalProperties"):
        return []
    return [name for name in names if name not in schema.get("properties", {})]


def missing_parameters(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """The names without which the flow cannot be called."""
    return [name for name in schema.get("required", []) if name not in parameters]


def check_schema(schema: Any) -> None:
    """Raise ValidationError (`parameter_schema`) for what is not a JSON schema of an object."""
    # 0.2 s, which a reader of the database does not pay
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValidationError({"parameter_schema": f"This is not a JSON schema: {error.message}."}) from None
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise ValidationError({"parameter_schema": "Write a JSON schema of type object."})


def _check_size(parameters: dict[str, Any]) -> None:
    try:
        size = len(encode_json(parameters))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError({"parameters": f"They cannot be written as JSON: {error}."}) from None
    if size > MAX_PARAMETER_BYTES:
        raise ValidationError(
            {
                "parameters": f"They have {size:,} bytes; at most {MAX_PARAMETER_BYTES:,} are taken."
                " Pass the address of large data instead."
            }
        )


def _complaints(schema: Mapping[str, Any], parameters: dict[str, Any], partial: bool) -> Iterable[tuple[str, str]]:
    """Yield what is wrong: the path of the parameter (`config.retries`), and words."""
    from jsonschema.exceptions import _WrappedReferencingError  # raised for a $ref that leads nowhere

    known = schema.get("properties", {})
    for name in unknown_parameters(schema, parameters):
        takes = f"It takes {', '.join(known)}." if known else "It takes none."
        yield name, f"The flow has no parameter “{name}”. {takes}"
    if not partial:
        for name in missing_parameters(schema, parameters):
            yield name, f"“{name}” is required and has no value."
    rest = {key: value for key, value in schema.items() if key not in {"required", "additionalProperties"}}
    try:
        for outer in _validator(rest).iter_errors({name: value for name, value in parameters.items() if name in known}):
            error = _inmost(outer)
            yield ".".join(map(str, error.absolute_path)), _words(error)
    except _WrappedReferencingError as error:
        yield "", f"The flow's schema refers to something that is not in it: {error}."
    except RecursionError:
        yield "", "The flow's schema refers to itself without end, or the values are nested too deeply."


def _validator(schema: dict[str, Any]) -> "Draft202012Validator":
    # An empty registry: a schema comes from a request, and must not make the server fetch an address.
    from referencing import Registry

    return _lenient()(schema, registry=Registry(), format_checker=_formats())


@cache
def _lenient() -> "type[Draft202012Validator]":
    """A validator for which text that reads as a number or a truth value is one, as it is for the engine."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    strict = Draft202012Validator.VALIDATORS["type"]

    def lenient(validator: Any, wanted: Any, value: Any, schema: Any) -> "Iterable[SchemaError]":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        if isinstance(value, str) and any(kind in _READ_AS and _READ_AS[kind](value) for kind in kinds):
            return []
        if schema.get("format") in _SECONDS and isinstance(value, int | float) and not isinstance(value, bool):
            return []
        return strict(validator, wanted, value, schema) or []

    validator: type[Draft202012Validator] = extend(Draft202012Validator, {"type": lenient})
    return validator


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_READ_AS: dict[str, Callable[[str], object]] = {
    "integer": _INTEGER.fullmatch,
    "number": _is_number,
    "boolean": lambda text: text.lower() in _TRUTHS,
}


@cache
def _formats() -> Any:
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    checker.checks("date", raises=ValueError)(lambda value: not isinstance(value, str) or bool(_read_date(value)))
    checker.checks("date-time", raises=ValueError)(lambda value: not isinstance(value, str) or bool(_read_time(value)))
    return checker


def _read_date(text: str) -> date:
    return datetime.fromisoformat(text).date()


def _read_time(text: str) -> datetime | float:
    return float(text) if _is_number(text) else datetime.fromisoformat(text)  # pydantic takes Unix times too


def _inmost(error: "SchemaError") -> "SchemaError":
    """The complaint inside a choice of types, where the value is of one of them and wrong further in."""
    if error.validator in {"anyOf", "oneOf"}:
        for inner in error.context or ():
            if inner.relative_path:
                return _inmost(inner)
    return error


def _words(error: "SchemaError") -> str:
    """A complaint of the validator in words that need no knowledge of JSON schema."""
    rule, wanted = error.validator, error.validator_value
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"This has to be {' or '.join(_WORDS.get(kind, kind) for kind in kinds)}, not {_shown(error.instance)}."
    if rule == "enum":
        return f"This has to be one of {', '.join(map(_shown, wanted))}, not {_shown(error.instance)}."
    if rule == "const":
        return f"This has to be {_shown(wanted)}, not {_shown(error.instance)}."
    if rule == "format":
        return f"This has to be {_FORMATS.get(wanted, wanted)}, not {_shown(error.instance)}."
    if rule == "required":
        return f"{error.message}."
    if rule in {"anyOf", "oneOf"}:
        choices = {
            _words(inner).removeprefix("This has to be ").partition(", not ")[0] for inner in error.context or ()
        }
        return f"This has to be {' or '.join(sorted(choices))}, not {_shown(error.instance)}."
    return f"{error.message[:1].upper()}{error.message[1:300]}."


def _shown(value: Any) -> str:
    text = encode_json(value).decode()
    return text if len(text) <= 60 else f"{text[:59]}…"
