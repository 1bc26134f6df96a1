"""The web site over ASGI: HTTP by Django, WebSockets by Channels.

Every page and API view is synchronous, so HTTP goes to Django's WSGI side on a few threads that stay: Django's own ASGI
handler makes a thread, an event loop and a database connection for each request, a quarter of a small request's cost.
The answers that stay open or are large (the streams of granted slots and of what workers say, the packs of snapshots)
are ASGI applications beside it and hold no thread.
"""

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.wsgi import get_wsgi_application

from orchestrator import site
from orchestrator.origins import SameOriginOnly
from orchestrator.preparedness import PreparedGate
from orchestrator.slow_clients import OnThreads

HTTP_THREADS = 8

site.load_settings()
http = OnThreads(PreparedGate(get_wsgi_application()), HTTP_THREADS)

from orchestrator.urls import websocket_urlpatterns  # noqa: E402  the apps must be ready before their consumers load
from runs import pack_stream, slot_stream  # noqa: E402
from runs.calls import stream as call_stream  # noqa: E402

_STREAMS = {slot_stream.PATH: slot_stream.stream, call_stream.PATH: call_stream.stream}


async def route_http(scope: Any, receive: Any, send: Any) -> None:
    """Pass a request to one of the streams, or to Django."""
    streaming = _STREAMS.get(scope["path"]) if scope["method"] == "GET" else None
    if pack_stream.serves(scope):
        streaming = pack_stream.stream
    await (streaming or http)(scope, receive, send)


sockets = SameOriginOnly(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
application = ProtocolTypeRouter({"http": route_http, "websocket": sockets})
