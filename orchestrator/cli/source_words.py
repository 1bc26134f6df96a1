"""Where code is, in a few words."""

from typing import Any


def source_words(source: dict[str, Any]) -> str:
    """Return a source in a few words."""
    kind = source.get("kind", "path")
    needs = f", environment of {source['environment']}" if source.get("environment") else ""
    if kind == "git":
        ref, commit = source.get("ref", ""), source.get("commit", "")
        found = f", commit {commit[:12]}" if commit and not commit.startswith(ref or "-") else ""
        return f"git {source['url']}{f'@{ref}' if ref else ''}{found}{needs}"
    return f"snapshot {source['hash'][:12]}{needs}" if kind == "snapshot" else str(kind)
