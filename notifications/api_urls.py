"""Addresses of this app below /api/."""

from rest_framework.routers import SimpleRouter

from notifications.api.deliveries import DeliveryViewSet
from notifications.api.destinations import DestinationViewSet
from notifications.api.mutes import MuteViewSet
from notifications.api.policies import PolicyViewSet

router = SimpleRouter(use_regex_path=False)
router.register("notification-policies", PolicyViewSet, basename="api-notification-policy")
router.register("destinations", DestinationViewSet, basename="api-destination")
router.register("deliveries", DeliveryViewSet, basename="api-delivery")
router.register("mutes", MuteViewSet, basename="api-mute")

urlpatterns = router.urls
