"""The addresses that a command calls in its own process. Pages, admin and the API's description cost it 0.4 s more."""

from django.urls import include, path

urlpatterns = [path("api/", include(f"{app}.api_urls")) for app in ("notifications", "runs", "flows", "teams")]
