"""From what a run host is told of an attempt to the folder and the file that its process loads."""

import os
import sys
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.loading import Entrypoint
from orchestrator.sdk.sources.base import Reach, within
from orchestrator.sdk.sources.kinds import BadSource, read_source

_IMPORTED_FROM: Final = ("", "src")  #: folders of a root that are looked in for modules, if they are there


@dataclass(frozen=True, slots=True)
class Opened:
    """Where an attempt works and what it loads.

    Attributes:
        directory: The working directory; empty: as it is.
        entrypoint: Absolute where it names a file.
        exact: What exactly was found, for the record; None where the source says it all.
        root: The folder of all of the code, of a source that has one.
    """

    directory: str
    entrypoint: str
    exact: dict[str, str] | None = None
    root: str = ""


def open_code(source: dict[str, Any], directory: str, entrypoint: str, reach: Reach) -> Opened:
    """Bring an attempt's code to this process and have its modules found.

    Args:
        source: As the deployment has it; empty: a path.
        directory: The working directory; of a source with a root, relative to that.
        entrypoint: What to load; of a source with a root, a file is relative to that.
        reach: What to bring it with.

    Raises:
        FlowLoadError: The message says what to do.
    """
    if not source:
        return Opened(directory, entrypoint)
    try:
        read = read_source(source)
    except BadSource as error:
        raise FlowLoadError(f"{error} Is this worker older than the server?") from None
    code = read.opened(reach)
    if not code.root:
        return Opened(directory, entrypoint, code.exact)
    import_from(code.root)
    wanted = Entrypoint.parse(entrypoint)
    if wanted.is_file:
        file = within(code.root, wanted.target)
        entrypoint = f"{file}:{wanted.function}" if wanted.function else file
    return Opened(within(code.root, directory), entrypoint, code.exact, code.root)


def import_from(root: str) -> None:
    """Have modules found in a root, and in its `src`, before what is installed."""
    folders = [folder for name in _IMPORTED_FROM if os.path.isdir(folder := os.path.join(root, name).rstrip(os.sep))]
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
