"""Which file of a project says what its code needs."""

from pathlib import Path
from typing import Final

from orchestrator.sdk.environments.needs import BadNeeds, read_needs
from orchestrator.snapshots.collecting import CannotCollect, Collected

_FILES: Final = ("requirements.txt", "pyproject.toml")


def find_environment(collected: Collected, file: Path | None, asked: str | bool = True) -> str:
    """Return the file, by its path in the snapshot; empty: what the worker has will do.

    In this order: the flow's own file with a header (PEP 723), the project's requirements.txt, the dependencies in its
    pyproject.toml.

    Args:
        collected: The snapshot.
        file: The flow's; None for a module.
        asked: A file that somebody names, True to look for one, False for none.

    Raises:
        CannotCollect: The named file is not in the snapshot, or one cannot be read.
    """
    if asked is False or asked == "":
        return ""
    taken = {entry.path for entry in collected.manifest.entries}
    if isinstance(asked, str):
        if asked not in taken:
            raise CannotCollect(f"{asked} is not in the snapshot of {collected.root}: it is missing, or left out.")
        looked_at = [asked]
    else:
        own = [file.resolve().relative_to(collected.root).as_posix()] if file is not None else []
        looked_at = [path for path in (*own, *_FILES) if path in taken]
    try:
        return next((path for path in looked_at if read_needs(collected.root / path) is not None), "")
    except BadNeeds as error:
        raise CannotCollect(str(error)) from None


def named_by(root: Path, file: Path | None) -> str:
    """Return the file of a folder, in the same order, of which no snapshot is taken. Raises CannotCollect."""
    own = [file.resolve().relative_to(root.resolve()).as_posix()] if file is not None else []
    looked_at = [path for path in (*own, *_FILES) if (root / path).is_file()]
    try:
        return next((path for path in looked_at if read_needs(root / path) is not None), "")
    except BadNeeds as error:
        raise CannotCollect(str(error)) from None
