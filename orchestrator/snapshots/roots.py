"""Which folder a file belongs to: the one that is deployed with it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.sdk.home import home as orchestrator_home

MARKERS: Final = ("orchestrator.toml", "pyproject.toml", ".git")


class NoRoot(OrchestratorError):
    """There is no folder that could be taken. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Root:
    """A project's folder.

    Attributes:
        folder: Absolute, without symbolic links.
        only: The one file of it that is taken, where the folder is nobody's project; None: all of it.
    """

    folder: Path
    only: Path | None = None


def find_root(start: Path, file: Path | None = None) -> Root:
    """Return the project's folder: the nearest parent with a marker, else the folder to start from.

    A home folder, what lies above it, Orchestrator's own home and the folder for temporary files are no projects,
    whatever is in them: they hold keys and what belongs to others. Of a file that lies in one just this file is taken.

    Args:
        start: The folder to start from.
        file: The flow's file, in that folder; None where a module is deployed.

    Raises:
        NoRoot: The folder is none to be taken as a whole, and there is no file to take alone.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if not _is_shared(folder) and any((folder / marker).exists() for marker in MARKERS):
            return Root(folder)
    if not _is_shared(start):
        return Root(start)
    if file is None:
        raise NoRoot(
            f"{start} is not taken as a whole: it holds more than a project. Move the project into a folder of its "
            "own, or deploy with --source path."
        )
    return Root(start, file.resolve())


def _is_shared(folder: Path) -> bool:
    shared = [Path(tempfile.gettempdir()).resolve(), orchestrator_home().root.resolve()]
    try:
        home = Path.home().resolve()
    except RuntimeError:  # this user has none
        pass
    else:
        shared += [home, *home.parents]
    return folder in shared or folder == folder.parent
