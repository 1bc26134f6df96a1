"""For which team a request acts."""

from django.http import HttpRequest
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from teams.models import ApiToken, Membership, Team


def acting_team(request: Request | HttpRequest) -> Team:
    """Return the team that owns what this request makes: the token's, else the first one its user joined.

    A superuser without a team acts for the default one. At most two queries.

    Raises:
        PermissionDenied: The user is in no team, or has left the token's.
    """
    token = getattr(request, "auth", None)
    memberships = Membership.objects.filter(user=request.user).select_related("team").order_by("id")
    if isinstance(token, ApiToken):
        if request.user.is_superuser or memberships.filter(team=token.team_id).exists():
            return token.team
        raise PermissionDenied("You are no longer a member of the team that this token was made for.")
    first = memberships.first()
    if first is not None:
        return first.team
    if request.user.is_superuser:
        return Team.default()
    raise PermissionDenied("You are in no team yet. An administrator can add you to one.")
