"""The addresses that a command calls in its own process. Pages, admin and the API's description cost it 0.4 s more.

Each app's are named, not included, so that those of an app are imported once none before it has the address.
"""

from django.urls import path

urlpatterns = [path("api/", (f"{app}.api_urls", None, None)) for app in ("runs", "flows", "teams", "notifications")]
