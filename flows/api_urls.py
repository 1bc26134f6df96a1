"""Addresses of this app below /api/."""

from rest_framework.routers import SimpleRouter

from flows.api import FlowViewSet

router = SimpleRouter(use_regex_path=False)
router.register("flows", FlowViewSet, basename="api-flow")

urlpatterns = router.urls
