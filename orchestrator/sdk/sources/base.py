"""What a source of code is."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from orchestrator.sdk.exceptions import FlowLoadError


@dataclass(frozen=True, slots=True)
class Reach:
    """What a source has to bring code with.

    Attributes:
        api_url: Where the server is; empty where the worker knows no address.
        token: The run's own.
        say: Puts a line into the run's log.
        credentials: What a private source takes; user code, which runs afterwards, must not find it.
        is_again: Whether the same run had the code before: what was found then is wanted, without asking anybody.
    """

    api_url: str
    token: str
    say: Callable[[str], object]
    credentials: Mapping[str, str] = field(default_factory=dict)
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """A run's code as its process finds it.

    Attributes:
        root: The folder that all of it is in; empty where the source has none of its own.
        exact: What was found, for the record, where that is more than the source says: the commit of a branch.
    """

    root: str = ""
    exact: dict[str, str] | None = None


class Source(Protocol):
    """A kind of source. Its values are those of the deployment's `source`, without `kind`."""

    kind: ClassVar[str]
    #: Whether the deployment's directory and entrypoint are relative to a root that the source gives.
    is_rooted: ClassVar[bool]

    def opened(self, reach: Reach) -> Code:
        """Have the code in this process's reach. Raises FlowLoadError with what to do."""


def within(root: str, path: str) -> str:
    """Return a path below a root. Raises FlowLoadError for one that leads out of it."""
    joined = os.path.normpath(os.path.join(root, path))
    if joined != root and not joined.startswith(root.rstrip(os.sep) + os.sep):
        raise FlowLoadError(f"{path!r} leads out of the code's folder.")
    return joined


def unknown(kind: Any, known: str) -> FlowLoadError:
    """The error of a kind of source that this version does not know."""
    return FlowLoadError(f"This worker knows no source {kind!r}, only {known}. Is it older than the server?")
