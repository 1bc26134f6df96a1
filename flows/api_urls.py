"""Addresses of this app below /api/."""

from rest_framework.routers import SimpleRouter

from flows.api import FlowViewSet, WorkQueueViewSet

router = SimpleRouter(use_regex_path=False)
router.register("flows", FlowViewSet, basename="api-flow")
router.register("work-queues", WorkQueueViewSet, basename="api-work-queue")

urlpatterns = router.urls
