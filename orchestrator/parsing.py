"""Request bodies with a limit: Django's own counts only what it reads itself, and DRF reads past it."""

import io
from typing import Any

from rest_framework.parsers import JSONParser

from orchestrator.problems import TooLarge

MAX_JSON_BYTES = 2 * 1024 * 1024  # parameters are at most 512 KB; their schema and text need room


def read_bounded(stream: Any, most: int) -> bytes:
    """Return the whole body. Raises TooLarge when it is longer than `most` bytes."""
    data: bytes = stream.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"The body is larger than {most // 1024} KB.")
    return data


class BoundedJSONParser(JSONParser):
    """JSON of at most `MAX_JSON_BYTES`."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict[str, Any] | None = None) -> Any:
        """Return the value. Raises ParseError on bad JSON, TooLarge on too much of it."""
        return super().parse(io.BytesIO(read_bounded(stream, MAX_JSON_BYTES)), media_type, parser_context)
