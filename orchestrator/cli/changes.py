"""What a deploy changed, field by field: what was (-) and what is (+)."""

from typing import Any

import click

from orchestrator.cli.output import painted, value
from orchestrator.cli.source_words import source_words

QUIET = {"parameter_schema"}  # changes with the code; its size says nothing to a person


def report_changes(changes: dict[str, list[Any]]) -> None:
    """Print changes as the API answers them."""
    for field, (old, new) in changes.items():
        _change(field, old, new)


def _change(field: str, old: Any, new: Any) -> None:
    """Print what was (-) and what is (+); of parameters and tags only those that differ."""
    if field in QUIET:
        return
    if field == "parameters":
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name) or (name in old) != (name in new):
                _removed_added(f"parameters.{name}", old.get(name), new.get(name), name in old, name in new)
        return
    if field == "schedules":
        old, new = (
            [f"{spec['kind']} {spec['expression']} ({spec['timezone']})" for spec in specs] for specs in (old, new)
        )
        old, new = ", ".join(old), ", ".join(new)
    elif field == "source":
        old, new = source_words(old), source_words(new)
    elif field == "tags":
        old, new = ", ".join(old), ", ".join(new)
    _removed_added(field, old, new, old not in ("", None), new not in ("", None))


def _removed_added(field: str, old: Any, new: Any, had: bool, has: bool) -> None:
    if had:
        click.echo(painted(f"  - {field}: {value(old)}", "red"))
    if has:
        click.echo(painted(f"  + {field}: {value(new)}", "green"))
