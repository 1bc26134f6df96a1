"""Values of blocks as they are typed: `--memory-mb 512`, `memory_mb=512`."""

import json
from collections.abc import Iterable
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


def read_values(kind: dict[str, Any], arguments: Iterable[str]) -> dict[str, Any]:
    """Return the values of `--field value`, `--field=value` and `field=value`, whichever of them is typed.

    An empty value takes a field back to its default.

    Raises:
        click.UsageError: There is no such field, or it is not written so.
    """
    fields = {field["name"]: field for field in kind["fields"]}
    texts: dict[str, list[str]] = {}
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, text = argument.partition("=")
        if not (equals or name.startswith("--")):
            raise click.UsageError(f"{argument!r}: write it as --field value, or field=value.")
        field = fields.get(name.removeprefix("--").strip().replace("-", "_"))
        if field is None:
            offered = ", ".join(map(option_of, fields.values())) or "none"
            raise click.UsageError(f"A {kind['name']} block has no option {name!r}. Its options: {offered}.")
        if not equals and field["shape"] == "boolean" and (not left or left[0].startswith("--")):
            text = "true"
        elif not equals and not left:
            raise click.UsageError(f"{name} wants a value.")
        elif not equals:
            text = left.pop(0)
        texts.setdefault(field["name"], []).append(text)
    return {name: None if found == [""] else _value(fields[name], found) for name, found in texts.items()}


def read_overrides(api: Api, infrastructure: str, pairs: Iterable[str]) -> dict[str, Any]:
    """Return the values of `--infra-override`, for a deployment's block by its name."""
    if infrastructure in ("", "process"):
        raise click.UsageError(
            "--infra-override: choose a block with --infrastructure; a plain process opens no field."
        )
    block = find_named(api, "blocks/", "block", infrastructure)
    return read_values(block_type(api, block["type"]), pairs)


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
