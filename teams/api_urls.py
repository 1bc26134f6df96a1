"""Addresses of this app below /api/."""

from rest_framework.routers import SimpleRouter

from teams.api import ApiTokenViewSet

router = SimpleRouter(use_regex_path=False)
router.register("tokens", ApiTokenViewSet, basename="api-token")

urlpatterns = router.urls
