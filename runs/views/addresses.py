"""Where to go after a verb."""

from orchestrator.links import back

__all__ = ["back"]
