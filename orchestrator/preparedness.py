"""Whether the database is ready for this version; parts started before `orchestrator server prepare` say so."""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

NOT_PREPARED: Final = "The database is not prepared for this version. Run this once: orchestrator server prepare"

_log = logging.getLogger(__name__)


def is_prepared() -> bool:
    """Whether every migration of this version has been applied (one query, and 40 ms for the list of migrations)."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


class PreparedGate:
    """A WSGI application that answers 503, in words, until the database is prepared; then it asks no more."""

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        """Keep the site's own application; the first request asks the database, as its server may still prepare it."""
        self._inner = inner
        self._is_open = False
        self._has_told = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass the request on, or refuse it."""
        if self._is_open or self._opens():
            return self._inner(environ, start_response)
        is_api = environ.get("PATH_INFO", "").startswith("/api/")
        body = json.dumps({"code": "not_prepared", "message": NOT_PREPARED}) if is_api else NOT_PREPARED
        kind = "application/json" if is_api else "text/plain; charset=utf-8"
        start_response("503 Service Unavailable", [("Content-Type", kind), ("Retry-After", "5")])
        return [body.encode()]

    def _opens(self) -> bool:
        from django.db import Error, close_old_connections

        close_old_connections()
        try:
            self._is_open = is_prepared()
        except Error:  # the site says in its own words that the database cannot be used
            return True
        if not self._is_open and not self._has_told:
            self._has_told = True
            _log.error(NOT_PREPARED)
        return self._is_open
