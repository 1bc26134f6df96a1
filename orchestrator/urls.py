"""Every address of the site: pages, API, admin and WebSockets."""

from django.contrib import admin
from django.urls import include, path

from runs.routing import websocket_urlpatterns

__all__ = ["urlpatterns", "websocket_urlpatterns"]

urlpatterns = [
    path("", include("runs.urls")),
    path("", include("flows.urls")),
    path("", include("teams.urls")),
    path("api/", include("orchestrator.api_urls")),
    path("admin/", admin.site.urls),
]
