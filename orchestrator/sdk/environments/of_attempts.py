"""The environment of an attempt whose source names one: built, where that is needed, before its process becomes it."""

from pathlib import Path
from typing import Any

from orchestrator.sdk.environments.building import BuildFailed, Say, built
from orchestrator.sdk.environments.needs import BadNeeds, read_needs
from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.home import home
from orchestrator.sdk.sources.base import within


def python_of(source: dict[str, Any], root: str, say: Say) -> str:
    """Return the Python of the environment that a source names; empty where its file needs nothing.

    Args:
        source: With `environment`, the file that says what the code needs.
        root: Where the code is.
        say: Puts a line into the run's log.

    Raises:
        FlowLoadError: It cannot be built; the message has uv's own words.
    """
    called = str(source["environment"])
    try:
        needs = read_needs(Path(within(root, called)))
        if needs is None:
            return ""
        return str(built(home().environments, needs, Path(root), called, str(source.get("hash", "")), say))
    except (BadNeeds, BuildFailed) as error:
        raise FlowLoadError(str(error)) from None
