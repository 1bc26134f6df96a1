"""The kinds of sources, one line each, and reading what a deployment says of its own."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.sdk.sources.base import Source
from orchestrator.sdk.sources.git import GitSource
from orchestrator.sdk.sources.image import ImageSource
from orchestrator.sdk.sources.path import PathSource
from orchestrator.sdk.sources.snapshot import SnapshotSource

KINDS: Final[dict[str, type[Any]]] = {
    "path": PathSource,
    "snapshot": SnapshotSource,
    "git": GitSource,
    "image": ImageSource,
}
PATH: Final = {"kind": "path"}


class BadSource(OrchestratorError, ValueError):
    """What is said of a source is none. The message says why."""


def read_source(said: Mapping[str, Any]) -> Source:
    """Return the source that a deployment names: `{"kind": "snapshot", "hash": …}`; nothing at all is a path.

    Raises:
        BadSource: There is no such kind, or its values do not fit.
    """
    values = dict(said)
    kind = values.pop("kind", "path")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadSource(f"There is no source {kind!r}; there are {', '.join(KINDS)}.")
    try:
        source: Source = msgspec.convert(values, KINDS[kind])
    except msgspec.ValidationError as error:
        raise BadSource(f"The source {kind!r}: {error}") from None
    return source


def said_of(source: Source) -> dict[str, Any]:
    """Return a source as a deployment keeps it."""
    values: dict[str, Any] = msgspec.to_builtins(source)
    return {"kind": source.kind, **values}


def is_rooted(said: Mapping[str, Any]) -> bool:
    """Whether a deployment's directory and entrypoint are relative to a root that its source gives."""
    kind = KINDS.get(str(said.get("kind", "path")))
    return kind is not None and kind.is_rooted
