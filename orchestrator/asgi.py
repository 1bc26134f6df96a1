"""The web site over ASGI: HTTP by Django, WebSockets by Channels.

Every page and API view is synchronous, so HTTP goes to Django's WSGI side on a few threads that stay: Django's own ASGI
handler makes a thread, an event loop and a database connection for each request, a quarter of a small request's cost.
"""

from a2wsgi import WSGIMiddleware
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.wsgi import get_wsgi_application

from orchestrator import site
from orchestrator.preparedness import PreparedGate

HTTP_THREADS = 8

site.load_settings()
http = WSGIMiddleware(PreparedGate(get_wsgi_application()), workers=HTTP_THREADS)

from orchestrator.urls import websocket_urlpatterns  # noqa: E402  the apps must be ready before their consumers load

application = ProtocolTypeRouter(
    {"http": http, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))}
)
