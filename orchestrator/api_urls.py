"""Every address of the REST API, below /api/."""

from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from orchestrator import openapi  # noqa: F401  registers the ways to sign in
from orchestrator.problems import unknown_address

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="api-docs"), name="api-root"),
    path("", include("runs.api_urls")),
    path("", include("flows.api_urls")),
    path("", include("teams.api_urls")),
    path("", include("notifications.api_urls")),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
    re_path("", unknown_address, name="api-unknown"),
]
