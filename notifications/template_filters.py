"""What templates do with values: filters that cut what they make, whatever they are given."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined
from jinja2.exceptions import TemplateRuntimeError

MAX_TEXT: Final = 5_000  # of a text that a filter makes
MAX_ITEMS: Final = 50  # that a loop sees


def shown(value: Any) -> Any:
    """Return a value as it stands in a text: lists with commas, objects as JSON, nothing for none; texts are cut."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return _join(value, ", ")
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)[:MAX_TEXT]
    if isinstance(value, str):
        return str(value)[:MAX_TEXT]
    return value


def _text(value: Any) -> str:
    return str(shown(value))


def items(value: Any) -> list[Any]:
    """What a loop goes over: `MAX_ITEMS` items, of an object its names; never the characters of a text."""
    if isinstance(value, list | tuple):
        return list(value[:MAX_ITEMS])
    if isinstance(value, Mapping):
        return list(value)[:MAX_ITEMS]
    raise TemplateRuntimeError("only a list can be gone through with “for”")


def _join(value: Any, separator: str = ", ") -> str:
    return _text(separator)[:100].join(_text(item)[: MAX_TEXT // MAX_ITEMS] for item in items(value))


def _replace(value: Any, old: str, new: str) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if len(text) + text.count(old) * len(new) > 10 * MAX_TEXT:
        raise TemplateRuntimeError("“replace” would make a text that is too long")
    return text.replace(old, new)[:MAX_TEXT]


def _truncate(value: Any, length: int = 255, end: str = "…") -> str:
    text, end = _text(value), _text(end)[:100]
    return text if len(text) <= int(length) else text[: max(int(length) - len(end), 0)] + end


def _default(value: Any, other: Any = "", boolean: bool = False) -> Any:
    return other if isinstance(value, StrictUndefined) or (boolean and not value) else value


def _length(value: Any) -> int:
    if isinstance(value, str | list | tuple | Mapping):
        return len(value)
    raise TemplateRuntimeError("“length” takes a text or a list")


def _at(index: int) -> Callable[[Any], Any]:
    def one(value: Any) -> Any:
        found = value if isinstance(value, str) else items(value)
        return found[index] if found else ""

    return one


def _number(convert: Callable[..., Any]) -> Callable[..., Any]:
    def converted(value: Any, default: Any = 0) -> Any:
        try:
            return convert(value[:100] if isinstance(value, str) else value)
        except (TypeError, ValueError, OverflowError):
            return default

    return converted


def _round(value: Any, digits: int = 0) -> Any:
    if not isinstance(value, int | float):
        raise TemplateRuntimeError("“round” takes a number")
    rounded = round(float(value), max(0, min(int(digits), 15)))
    return rounded if digits else int(rounded)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "upper": lambda value: _text(value).upper(),
    "lower": lambda value: _text(value).lower(),
    "title": lambda value: _text(value).title(),
    "capitalize": lambda value: _text(value).capitalize(),
    "trim": lambda value: _text(value).strip(),
    "string": _text,
    "replace": _replace,
    "truncate": _truncate,
    "default": _default,
    "d": _default,
    "length": _length,
    "count": _length,
    "join": _join,
    "first": _at(0),
    "last": _at(-1),
    "int": _number(int),
    "float": _number(float),
    "round": _round,
    "tojson": lambda value: json.dumps(value, ensure_ascii=False, default=str)[:MAX_TEXT],
}
TESTS: Final = ("defined", "undefined", "none", "string", "number", "mapping", "true", "false", "even", "odd")
