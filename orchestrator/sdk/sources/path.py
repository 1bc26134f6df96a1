"""The code lies in a folder of the worker's machine."""

from typing import ClassVar

import msgspec

from orchestrator.sdk.sources.base import Code, Reach


class PathSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files where they lie: what is edited there is what the next run executes."""

    kind: ClassVar[str] = "path"
    is_rooted: ClassVar[bool] = False

    def opened(self, reach: Reach) -> Code:
        """Nothing has to be brought."""
        return Code()
