"""The code is a snapshot that the server keeps."""

import posixpath
from contextlib import AbstractContextManager
from typing import ClassVar

import msgspec

from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.home import home
from orchestrator.sdk.snapshots.manifest import is_hash
from orchestrator.sdk.snapshots.pack import Read
from orchestrator.sdk.snapshots.store import SnapshotUnavailable, opened
from orchestrator.sdk.sources.base import Code, Reach


class SnapshotSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A project's folder as it was when it was deployed."""

    hash: str
    environment: str = ""  #: the file of it that says what it needs; empty: what the worker has

    kind: ClassVar[str] = "snapshot"
    is_rooted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_hash(self.hash):
            raise ValueError("`hash` is 64 hexadecimal digits")
        leads_out = posixpath.normpath(self.environment or ".").split("/")[0] == ".."
        if posixpath.isabs(self.environment) or leads_out or "\0" in self.environment:
            raise ValueError("`environment` is a file within the snapshot")

    def opened(self, reach: Reach) -> Code:
        """Fetch it once for all runs of this machine."""

        def fetch(hash: str) -> AbstractContextManager[Read]:
            from orchestrator.sdk.snapshots.fetching import fetching  # http.client costs 20 ms at import

            return fetching(reach.api_url, reach.token, hash)

        try:
            return Code(str(opened(home().snapshots, self.hash, fetch, reach.say)))
        except SnapshotUnavailable as error:
            raise FlowLoadError(str(error)) from None
