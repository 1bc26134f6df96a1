"""Addresses of this app below /api/."""

from rest_framework.routers import SimpleRouter

from teams.api import ApiTokenViewSet
from teams.api_audit import AuditViewSet
from teams.api_people import ServiceAccountViewSet, UserViewSet
from teams.api_shares import ShareViewSet
from teams.api_teams import GroupMappingViewSet, InvitationViewSet, MemberViewSet, TeamViewSet

router = SimpleRouter(use_regex_path=False)
router.register("tokens", ApiTokenViewSet, basename="api-token")
router.register("teams", TeamViewSet, basename="api-team")
router.register("teams/<uuid:team_id>/members", MemberViewSet, basename="api-member")
router.register("teams/<uuid:team_id>/invitations", InvitationViewSet, basename="api-invitation")
router.register("teams/<uuid:team_id>/group-mappings", GroupMappingViewSet, basename="api-group-mapping")
router.register("users", UserViewSet, basename="api-user")
router.register("service-accounts", ServiceAccountViewSet, basename="api-service-account")
router.register("audit", AuditViewSet, basename="api-audit")
router.register("shares", ShareViewSet, basename="api-share")

urlpatterns = router.urls
