"""Values of blocks as they are typed: `--memory-mb 512`, `memory_mb=512`."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from orchestrator.cli.client import Api
from orchestrator.cli.names import find_named
from orchestrator.cli.options import text_or_file, typed

BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def block_type(api: Api, name: str) -> dict[str, Any]:
    """Return a type of blocks. Raises click.UsageError, which lists them."""
    types = {one["name"]: one for one in api.get("block-types/")}
    if name not in types:
        raise click.UsageError(f"There is no block type {name!r}. There are {', '.join(types)}.")
    return dict(types[name])


def read_options(kind: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values of `--field value` and `--field=value`. Raises click.UsageError."""
    options = {option_of(field): field for field in kind["fields"]}
    texts: dict[str, list[str]] = {}
    left = list(arguments)
    while left:
        option, equals, value = left.pop(0).partition("=")
        field = options.get(option)
        if field is None:
            offered = ", ".join(options) or "none"
            raise click.UsageError(f"A {kind['name']} block has no option {option!r}. Its options: {offered}.")
        if not equals and field["shape"] == "boolean" and (not left or left[0].startswith("--")):
            value = "true"
        elif not equals and not left:
            raise click.UsageError(f"{option} wants a value.")
        elif not equals:
            value = left.pop(0)
        texts.setdefault(field["name"], []).append(value)
    return {name: _value(options[option_of({"name": name})], found) for name, found in texts.items()}


def read_pairs(kind: dict[str, Any], pairs: Iterable[str]) -> dict[str, Any]:
    """Return the values of `field=value`; nothing behind the sign takes a field back to its default.

    Raises:
        click.UsageError: There is no such field, or it is not written so.
    """
    fields = {field["name"]: field for field in kind["fields"]}
    texts: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise click.UsageError(f"{pair!r}: write it as field=value.")
        if name not in fields:
            raise click.UsageError(f"A {kind['name']} block has no field {name!r}. It has {', '.join(fields)}.")
        texts.setdefault(name, []).append(value)
    return {name: None if found == [""] else _value(fields[name], found) for name, found in texts.items()}


def read_overrides(api: Api, infrastructure: str, pairs: Iterable[str]) -> dict[str, Any]:
    """Return the values of `--infra-override`, for a deployment's block by its name."""
    if infrastructure in ("", "process"):
        raise click.UsageError(
            "--infra-override: choose a block with --infrastructure; a plain process opens no field."
        )
    block = find_named(api, "blocks/", "block", infrastructure)
    return read_pairs(block_type(api, block["type"]), pairs)


def option_of(field: dict[str, Any]) -> str:
    """Return a field as an option: `--memory-mb`."""
    return "--" + str(field["name"]).replace("_", "-")


def _value(field: dict[str, Any], texts: list[str]) -> Any:
    """Return what was typed as a value of the field's shape; what cannot be that is left for the server to refuse."""
    shape = field["shape"]
    if shape == "list":
        return texts
    if shape == "mapping":
        for text in texts:
            if "=" not in text:
                raise click.UsageError(f"{option_of(field)} {text!r}: write NAME=value.")
        return dict(text.split("=", 1) for text in texts)
    text = texts[-1]
    if text == "-" and (field["secret"] or shape in ("lines", "json")):
        return typed(field["title"])
    if text.startswith("@") and (field["secret"] or shape in ("lines", "json")):
        text = text_or_file(text, option_of(field))
    if shape in ("integer", "number", "json"):
        return _number_or_json(text)
    return BOOLEANS.get(text.lower(), text) if shape == "boolean" else text


def _number_or_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
