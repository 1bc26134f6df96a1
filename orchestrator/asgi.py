"""The web site over ASGI: HTTP by Django, WebSockets by Channels."""

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

from orchestrator import site

site.activate()
http = get_asgi_application()

from orchestrator.urls import websocket_urlpatterns  # noqa: E402  the apps must be ready before their consumers load

application = ProtocolTypeRouter(
    {"http": http, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))}
)
