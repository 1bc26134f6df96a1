"""A call's arguments: bound to the signature, fitted to the annotations, and made fit to be recorded."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from orchestrator.sdk.annotated_types import convert, describe
from orchestrator.sdk.events import MAX_PARAMETER_BYTES
from orchestrator.sdk.exceptions import ParameterError
from orchestrator.sdk.runs import FlowRun

_KINDS = inspect.Parameter
_MAX_REPR_CHARACTERS = 1000


def bound_arguments(
    function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> dict[str, Any]:
    """Return a call's arguments by parameter, defaults included; what does not fit the signature is left out."""
    if not arguments and not keywords and not _code_parameters(function):
        return {}
    try:
        bound = inspect.signature(function).bind_partial(*arguments, **keywords)
    except (TypeError, ValueError):
        return dict(keywords)
    bound.apply_defaults()
    return _flat(bound)


def coerce(run: FlowRun) -> None:
    """Bind a flow run's arguments and fit them to the annotations, in place.

    Raises:
        ParameterError: They do not fit; the message names each parameter that does not.
    """
    function = run.function
    if not run.arguments and not run.keywords and not _code_parameters(function):
        run.call_parameters = {}
        return
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*run.arguments, **run.keywords)
    except TypeError as error:
        raise ParameterError(_binding_message(run, signature, error)) from None
    bound.apply_defaults()
    if run.flow.validate_parameters:
        _fit(run, signature, bound)
    run.arguments, run.keywords = bound.args, bound.kwargs
    run.call_parameters = _flat(bound)


def _fit(run: FlowRun, signature: inspect.Signature, bound: inspect.BoundArguments) -> None:
    annotations = annotations_of(run.function)
    problems = []
    for name, value in bound.arguments.items():
        annotation = annotations.get(name, Any)
        parameter = signature.parameters[name]
        if annotation is Any or value is parameter.default:
            continue
        try:
            if parameter.kind is _KINDS.VAR_POSITIONAL:
                bound.arguments[name] = tuple(convert(item, annotation) for item in value)
            elif parameter.kind is _KINDS.VAR_KEYWORD:
                bound.arguments[name] = {key: convert(item, annotation) for key, item in value.items()}
            else:
                bound.arguments[name] = convert(value, annotation)
        except (ValueError, TypeError) as error:
            problems.append(f"'{name}' ({describe(annotation)}): {error}, got {_short(value)}")
    if problems:
        raise ParameterError(f"Flow '{run.flow.name}' got parameters that do not fit: {'; '.join(problems)}")


def _binding_message(run: FlowRun, signature: inspect.Signature, error: TypeError) -> str:
    text = str(error)
    takes = ", ".join(map(str, signature.parameters.values())) or "none"
    return f"Flow '{run.flow.name}' cannot be called so: {text}. Its parameters are: {takes}"


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's annotations by parameter, evaluated; one that cannot be is left out, as if it were Any."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a name that exists for type checkers only, or whatever evaluating user code raises
        pass
    function = inspect.unwrap(function)
    found = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, getattr(function, "__globals__", {}))  # what get_type_hints does
            except Exception:
                continue
        found[name] = annotation
    return found


def recorded(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as they are recorded: JSON values, at most MAX_PARAMETER_BYTES in all, and said where cut."""
    plain = {name: as_json(value) for name, value in parameters.items()}
    sizes = {name: _size(value) for name, value in plain.items()}
    total = sum(sizes.values())
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if total <= MAX_PARAMETER_BYTES:
            break
        total -= sizes[name]
        plain[name] = f"<left out: {sizes[name]:,} bytes, and parameters are recorded up to {MAX_PARAMETER_BYTES:,}>"
    return plain


def as_json(value: Any) -> Any:
    """Return the nearest thing to a value that JSON can hold; what it cannot hold becomes its `repr`."""
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_plain)
    except Exception:  # a cycle, a key that is no text, a `repr` of the user's that raises
        return _short(value, _MAX_REPR_CHARACTERS)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # a pydantic model
    if dump is not None and not isinstance(value, type):
        return dump(mode="json")
    return str(value) if hasattr(value, "__fspath__") else _short(value, _MAX_REPR_CHARACTERS)


def _size(value: Any) -> int:
    try:
        return len(msgspec.json.encode(value, enc_hook=str))
    except Exception:  # lone surrogates, a huge int
        return len(repr(value))


def _short(value: Any, limit: int = 80) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _flat(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return bound arguments by name, those of `**keywords` beside the others and without the object of a method."""
    flat: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is _KINDS.VAR_KEYWORD:
            flat.update(value)
        else:
            flat[name] = value
    return flat


def _code_parameters(function: Callable[..., Any]) -> bool:
    """Whether a function may have parameters, told without importing or asking inspect."""
    code = getattr(function, "__code__", None)
    return code is None or bool(code.co_argcount or code.co_kwonlyargcount or code.co_flags & 0x0C)
