"""What a docstring in Google style says about the arguments."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"(Args|Arguments|Parameters):\s*$")
_ARGUMENT = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\([^)]*\))?\s*:\s*(.*)")


def argument_descriptions(docstring: str) -> dict[str, str]:
    """Return the descriptions of a docstring's section `Args:` by argument, each on one line."""
    lines = iter(inspect.cleandoc(docstring).splitlines())
    if not any(_SECTION.match(line) for line in lines):
        return {}
    found: dict[str, str] = {}
    names: list[str] = []
    depth: int | None = None
    for line in lines:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text and indent == 0:
            break
        depth = indent if depth is None and text else depth
        match = _ARGUMENT.match(text) if indent == depth else None
        if match:
            names = [name.strip().lstrip("*") for name in match[1].split(",")]
            found.update(dict.fromkeys(names, match[2]))
        elif text:
            for name in names:
                found[name] = f"{found[name]} {text}".strip()
    return found
