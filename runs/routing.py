"""Addresses of the WebSockets: live pages."""

from django.urls import URLPattern, path

from runs.consumers import LiveConsumer

websocket_urlpatterns: list[URLPattern] = [path("live/", LiveConsumer.as_asgi())]
