"""Whether the broker can be reached, asked by opening a connection to it: for explanations, never for decisions."""

import socket
import time
from typing import Final
from urllib.parse import unquote, urlsplit

from django.conf import settings

TIMEOUT_SECONDS: Final = 0.3
_KEPT_SECONDS: Final = 5.0  # pages that many people look at ask once

_last: tuple[float, bool] | None = None


def is_reachable() -> bool:
    """Whether something takes connections where the broker should be; the answer may be 5 seconds old."""
    global _last
    now = time.monotonic()
    if _last is None or now - _last[0] > _KEPT_SECONDS:
        _last = (now, _takes_connections(settings.CELERY_BROKER_URL))
    return _last[1]


def _takes_connections(url: str) -> bool:
    parts = urlsplit(url)
    try:
        if parts.scheme.endswith("+socket"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(unquote(parts.netloc + parts.path))
        else:
            address = (parts.hostname or "localhost", parts.port or 6379)
            socket.create_connection(address, TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True
