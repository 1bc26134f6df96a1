"""A cache that all processes of the site share: the broker's server. Sign-in counts failed attempts in it."""

import json
import logging
import time
from dataclasses import dataclass
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache

AGAIN_AFTER_SECONDS: Final = 5

_log = logging.getLogger(__name__)


class JsonSerializer:
    """What is kept is JSON: whoever can write to the broker cannot have the site run code by it."""

    def dumps(self, value: Any) -> str:
        """Return a value as Redis keeps it."""
        return json.dumps(value)

    def loads(self, data: bytes | str) -> Any:
        """Return what `dumps` was given."""
        return json.loads(data)


@dataclass(slots=True)
class _Server:
    """A server as all threads of this process see it: its connections are pooled, its absence is noticed once."""

    redis: RedisCache
    away_until: float = 0.0


_servers: dict[str, _Server] = {}


class SharedCache(BaseCache):
    """Django's Redis cache; while its server cannot be reached, each process remembers by itself.

    Django makes one of these for each request; they share connections and memory by the server's address.
    A server that failed is asked again after `AGAIN_AFTER_SECONDS`: requests do not wait for it one after the other.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._server = _servers.setdefault(location, _Server(RedisCache(location, params)))
        self._own = LocMemCache(f"instead of {location}", params)  # one memory for all of its name

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Keep a value unless there is one. Returns whether it was kept."""
        return bool(self._do("add", key, value, timeout=timeout, version=version))

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return a value, or `default`."""
        return self._do("get", key, default=default, version=version)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Keep a value."""
        self._do("set", key, value, timeout=timeout, version=version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Keep a value for longer. Returns whether there was one."""
        return bool(self._do("touch", key, timeout=timeout, version=version))

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Forget a value. Returns whether there was one."""
        return bool(self._do("delete", key, version=version))

    def clear(self) -> None:
        """Forget what this process keeps by itself. The server is the broker too: it is not emptied."""
        self._own.clear()

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Count a value up, in one step on the server; return it. Raises ValueError where there is none."""
        return int(self._do("incr", key, delta, version=version))

    def _do(self, verb: str, *arguments: Any, **options: Any) -> Any:
        from redis.exceptions import ConnectionError, TimeoutError  # 40 ms, which the command line does not pay

        server = self._server
        if time.monotonic() >= server.away_until:
            try:
                answer = getattr(server.redis, verb)(*arguments, **options)
                server.away_until = 0.0
                return answer
            except (ConnectionError, TimeoutError) as error:
                if not server.away_until:
                    _log.warning("The broker cannot be reached; each process counts sign-ins by itself: %s", error)
                server.away_until = time.monotonic() + AGAIN_AFTER_SECONDS
        return getattr(self._own, verb)(*arguments, **options)
