"""What code says that it needs: requirements.txt, [project.dependencies], or a script's header (PEP 723)."""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from orchestrator.sdk.exceptions import OrchestratorError

_SCRIPT: Final = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
#: A line of requirements that is about a file beside it, or an option: the whole folder counts then.
_LOCAL: Final = re.compile(r"(?m)^\s*(-|\.{0,2}/|[^#\n]*(@\s*file:|\.(whl|tar\.gz|zip)\s*$))")


class BadNeeds(OrchestratorError):
    """A file cannot be read as one that says what code needs."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What an environment is made of.

    Attributes:
        requirements: A requirements file's text.
        python: The versions that will do, as in `>=3.12`; empty: the worker's own.
        file: Where the text stands, to whose folder what it names is relative; empty: it was put together.
        is_local: Whether it may name files of the snapshot, which are then part of what it needs.
    """

    requirements: str
    python: str = ""
    is_local: bool = False
    file: str = ""

    def digest(self, *more: str) -> str:
        """Return the hash by which the environment is known, of this and of what else it is made of."""
        return hashlib.sha256(msgspec.json.encode([self.requirements, self.python, *more])).hexdigest()[:32]


def read_needs(path: Path) -> Needs | None:
    """Read what a file says that its code needs; None where it says nothing of that.

    Args:
        path: A requirements file, pyproject.toml, or a script with a header.

    Raises:
        BadNeeds: It cannot be read, or is not written as such a file is.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadNeeds(f"{path.name} cannot be read: {error}.") from None
    if path.suffix == ".py":
        return _script(path, text)
    if path.name == "pyproject.toml":
        project = _toml(path, text).get("project", {})
        return _listed(path, project, "dependencies", "requires-python") if project.get("dependencies") else None
    lines = [line.strip() for line in text.splitlines()]
    if not any(line and not line.startswith("#") for line in lines):
        return None
    return Needs(text, is_local=_LOCAL.search(text) is not None, file=str(path))


def _script(path: Path, text: str) -> Needs | None:
    headers = list(_SCRIPT.finditer(text))
    if not headers:
        return None
    if len(headers) > 1:
        raise BadNeeds(f"{path.name} has {len(headers)} headers `# /// script`; one is allowed.")
    lines = headers[0]["content"].splitlines(keepends=True)
    content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    return _listed(path, _toml(path, content), "dependencies", "requires-python")


def _listed(path: Path, table: Any, name: str, python: str) -> Needs:
    listed, version = table.get(name, []), table.get(python, "")
    if not isinstance(listed, list) or not all(isinstance(one, str) and "\n" not in one for one in listed):
        raise BadNeeds(f"{path.name}: {name} is no list of requirements.")
    if not isinstance(version, str):
        raise BadNeeds(f"{path.name}: {python} is no text.")
    if any(one.lstrip().startswith("-") for one in listed):
        raise BadNeeds(f"{path.name}: {name} lists requirements, no options.")
    text = "".join(f"{one}\n" for one in listed)
    return Needs(text, version, is_local=_LOCAL.search(text) is not None)


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadNeeds(f"{path.name} cannot be read: {error}.") from None
