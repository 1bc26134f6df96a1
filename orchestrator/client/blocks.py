"""Blocks: where runs execute, and what workers need to do that."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.client.calling import Calling, Id, read
from orchestrator.client.results import Block, BlockPreview, BlockType


class BlockCalls(Calling):
    """What can be done with blocks."""

    def list_block_types(self) -> list[BlockType]:
        """Return the types of blocks, infrastructure first."""
        return read(list[BlockType], self.calls.get("block-types/"))

    def list_blocks(self, *, name: str = "", type: str = "") -> Iterator[Block]:
        """Yield blocks by name."""
        return self._each(Block, "blocks/", name=name, type=type)

    def get_block(self, block: Id) -> Block:
        """Return a block by id."""
        return read(Block, self.calls.get(f"blocks/{block}/"))

    def create_block(self, type: str, name: str, values: Mapping[str, Any] | None = None, **fields: Any) -> Block:
        """Make a block: also `description`, `opened`."""
        said = {"type": type, "name": name, "values": dict(values or {}), **fields}
        return read(Block, self.calls.post("blocks/", said))

    def change_block(self, block: Id, **changes: Any) -> Block:
        """Change what is given: `name`, `description`, `opened`, and of `values` the fields that are in it."""
        return read(Block, self.calls.patch(f"blocks/{block}/", changes))

    def use_block(self, block: Id, deployments: Sequence[Id]) -> Block:
        """Have deployments execute there, from their next runs on."""
        said = {"deployments": [str(self._deployment(one)) for one in deployments]}
        return read(Block, self.calls.post(f"blocks/{block}/deployments/", said))

    def preview_block(self, block: Id, deployment: Id | None = None) -> BlockPreview:
        """Return what a worker asks of an engine there, with the overrides of a deployment that executes there."""
        query = {} if deployment is None else {"deployment": str(self._deployment(deployment))}
        return read(BlockPreview, self.calls.get(f"blocks/{block}/preview/", **query))

    def delete_block(self, block: Id) -> None:
        """Delete a block that nothing uses."""
        self.calls.delete(f"blocks/{block}/")
