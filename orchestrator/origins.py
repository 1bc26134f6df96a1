"""Which pages may open a socket: those of the very address that they call, port included.

That is what Django asks of a form (CSRF): its Origin is the Host, or the address that the site is known by outside.
Cookies know no ports, so that another program's page on the same host could else follow runs as whoever is signed in.
"""

from typing import Any

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host


class SameOriginOnly:
    """Refuses a socket (403) that a page of another origin opens."""

    def __init__(self, application: Any) -> None:
        """Keep what answers sockets."""
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Pass the socket on, or refuse it."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in {b"origin", b"host"}}
        if _is_own(headers.get(b"origin", "").lower(), headers.get(b"host", "").lower()):
            return await self.application(scope, receive, send)
        return await WebsocketDenier()(scope, receive, send)


def _is_own(origin: str, host: str) -> bool:
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return False
    return origin in {f"http://{host}", f"https://{host}", *settings.CSRF_TRUSTED_ORIGINS}
