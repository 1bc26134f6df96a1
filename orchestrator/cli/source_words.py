"""Where code is, in a few words."""

from typing import Any


def source_words(source: dict[str, Any]) -> str:
    """Return a source in a few words."""
    kind = source.get("kind", "path")
    needs = f", environment of {source['environment']}" if source.get("environment") else ""
    return f"snapshot {source['hash'][:12]}{needs}" if kind == "snapshot" else str(kind)
