"""Calling the API in this process, when no server runs: the same addresses, over WSGI, on the embedded database."""

import atexit
import gc
import io
import json
import logging
import sys
from typing import Any, Final
from urllib.parse import unquote

import click

from orchestrator import site
from orchestrator.cli.transports import Answer, decode

# Where a server of this machine answers by default: links that a command prints lead there.
_PORT: Final = 4200

site.activate()

from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.db import DatabaseError, connections  # noqa: E402


class InProcessTransport:
    """Sets the site up, migrates its database where that is needed, and brings in the journals of this home."""

    def __init__(self) -> None:
        gc.set_threshold(100_000)  # next to nothing of what is imported is garbage; looking through it costs 0.1 s
        try:
            _need_less()
            site.setup()
            atexit.register(_leave)
            self._open()
        except ImproperlyConfigured as error:
            raise click.ClickException(str(error)) from None
        except DatabaseError as error:
            raise click.ClickException(f"The database cannot be used: {str(error).strip().splitlines()[0]}") from None

    def call(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Answer:
        """Call the WSGI application as the first administrator."""
        from django.conf import settings

        from teams.authentication import IN_PROCESS

        path, _, query = target.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        host = next((name for name in settings.ALLOWED_HOSTS if name[0] not in "*.["), "localhost")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path),
            "QUERY_STRING": query,
            "SERVER_NAME": host,
            "SERVER_PORT": str(_PORT),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": f"{host}:{_PORT}",
            "CONTENT_TYPE": headers.get("Content-Type", "application/json"),
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if settings.SECURE else "http",
            "wsgi.input": io.BytesIO(data),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": True,
            IN_PROCESS: True,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        }
        statuses: list[int] = []
        chunks = self._application(environ, lambda status, _headers, _error=None: statuses.append(int(status[:3])))
        try:
            return Answer(statuses[0], decode(b"".join(chunks)))
        finally:
            chunks.close()

    def _open(self) -> None:
        from django.conf import settings

        from orchestrator.sdk.home import home
        from orchestrator.server.preparation import migrate

        # Nobody asks this process for static files, which it would look through first, or signs in to it.
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.startswith(("whitenoise.", "allauth."))]
        settings.ROOT_URLCONF = "orchestrator.cli.in_process_urls"
        from orchestrator.wsgi import application
        from runs.tailer import bring_in_once

        # Django logs refusals; here they are answered to the person who caused them.
        logging.getLogger("django.request").setLevel(logging.ERROR)
        logging.getLogger("runs").setLevel(logging.WARNING)  # which process died is told by its run's state
        self._application: Any = application
        migrate(lambda _: None)
        bring_in_once(home())


def _need_less() -> None:
    """Leave out of the settings the admin's looks and the API's description, which nobody asks this process for."""
    from django.conf import settings

    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "unfold"]
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_SCHEMA_CLASS": "rest_framework.schemas.AutoSchema"}


def _leave() -> None:
    """Close the database, and end without a look for garbage in all that was imported, which costs 0.2 s."""
    connections.close_all()
    gc.freeze()
