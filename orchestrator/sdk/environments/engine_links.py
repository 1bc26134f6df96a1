"""Having this very engine in another environment: links to the package and to what it imports.

Nothing of it is installed anew: an environment has the engine of its worker, at the worker's version, without an index
having to know that version, and after an upgrade of the worker it has the new one. What the environment brings itself
(another pydantic, which its code wants) comes first.
"""

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orchestrator

#: What `orchestrator.sdk` imports; a test holds this against the package's dependencies.
NEEDED: Final = ("cloudpickle", "msgspec", "pydantic", "requests")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def link_engine(site_packages: Path) -> None:
    """Link the engine, and what it needs that is not there, into an environment's folder of packages."""
    package = Path(orchestrator.__file__ or "").parent
    (site_packages / "orchestrator").symlink_to(package, target_is_directory=True)
    for name in _closure(NEEDED):
        tops = list(_tops(name))
        if any((site_packages / top.name).exists() for top in tops if not top.name.endswith(".dist-info")):
            continue
        for top in tops:
            if not os.path.lexists(site_packages / top.name):
                (site_packages / top.name).symlink_to(top)


def signature() -> str:
    """Return what an environment's links hang on: where this engine is, and for which Python it has its packages."""
    return f"{Path(orchestrator.__file__ or '').parent} {sys.implementation.cache_tag} {os.uname().machine}"


def _closure(names: tuple[str, ...]) -> list[str]:
    """The distributions of these names and those that they need, as they are installed here."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # needed elsewhere: by another Python or system
            continue
        found[name] = None
        for one in needed:
            if "extra ==" not in one and (match := _NAME.match(one)):
                waiting.append(match[0])
    return list(found)


def _tops(name: str) -> Iterator[Path]:
    """Yield the folders and modules that a distribution has in its folder of packages."""
    distribution = importlib.metadata.distribution(name)
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__", os.sep)}
    for top in sorted(tops):
        path = Path(str(distribution.locate_file(top)))
        if path.exists():
            yield path
