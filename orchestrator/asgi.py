"""The web site over ASGI: HTTP by Django, WebSockets by Channels.

Every page and API view is synchronous, so HTTP goes to Django's WSGI side on a few threads that stay: Django's own ASGI
handler makes a thread, an event loop and a database connection for each request, a quarter of a small request's cost.
The one answer that stays open, the stream of granted slots, is an ASGI application beside it and holds no thread.
"""

from typing import Any

from a2wsgi import WSGIMiddleware
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.wsgi import get_wsgi_application

from orchestrator import site
from orchestrator.origins import SameOriginOnly
from orchestrator.preparedness import PreparedGate

HTTP_THREADS = 8

site.load_settings()
http = WSGIMiddleware(PreparedGate(get_wsgi_application()), workers=HTTP_THREADS)

from orchestrator.urls import websocket_urlpatterns  # noqa: E402  the apps must be ready before their consumers load
from runs import slot_stream  # noqa: E402


async def route_http(scope: Any, receive: Any, send: Any) -> None:
    """Pass a request to the stream of granted slots, or to Django."""
    is_stream = scope["path"] == slot_stream.PATH and scope["method"] == "GET"
    await (slot_stream.stream if is_stream else http)(scope, receive, send)


sockets = SameOriginOnly(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
application = ProtocolTypeRouter({"http": route_http, "websocket": sockets})
