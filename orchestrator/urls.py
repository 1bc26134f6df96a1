"""Every address of the site: pages, API, admin and WebSockets."""

from django.contrib import admin
from django.urls import include, path, re_path

from runs import routing
from runs.consumers import Nowhere

websocket_urlpatterns = [*routing.websocket_urlpatterns, re_path("", Nowhere.as_asgi())]
handler429 = "teams.sign_in.throttle.too_many"  # asked by allauth
admin.autodiscover()
urlpatterns = [
    path("", include("runs.urls")),
    path("", include("flows.urls")),
    path("", include("notifications.urls")),
    path("", include("teams.urls")),
    path("api/", include("orchestrator.api_urls")),
    path("admin/", admin.site.urls),
]
