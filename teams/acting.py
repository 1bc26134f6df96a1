"""For which team a request acts."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from rest_framework.request import Request

from teams.models import ApiToken, Membership, Team, User
from teams.rights import Refused

_CHOSEN = "team"


def acting_team(request: Request | HttpRequest) -> Team:
    """Return the team that owns what this request makes.

    That is the token's; else the one that the person chose in this session; else the first one that they joined. A
    superuser without a team acts for the default one. At most two queries.

    Raises:
        Refused: The user is in no team, or has left the token's.
    """
    token = getattr(request, "auth", None)
    memberships = Membership.objects.filter(user=request.user).select_related("team").order_by("id")
    if isinstance(token, ApiToken):
        if request.user.is_superuser or memberships.filter(team=token.team_id).exists():
            return token.team
        raise Refused("You are no longer a member of the team that this token was made for.")
    if (chosen := getattr(request.user, "chosen_team", None)) and (team := Team.objects.filter(pk=chosen).first()):
        return team
    first = memberships.first()
    if first is not None:
        return first.team
    if request.user.is_superuser:
        return Team.default()
    raise Refused("You are in no team yet. An administrator can add you to one.")


def choose_team(session: Any, team: Team | None) -> None:
    """Have this session look at a team and act for it; None: look at all, and act for the first."""
    if team is None:
        session.pop(_CHOSEN, None)
    else:
        session[_CHOSEN] = str(team.pk)


def apply_choice(user: Any, session: Any) -> None:
    """Tell a signed-in user which team their session chose, as long as they are in it (at most one query)."""
    if not isinstance(user, User) or not (text := session.get(_CHOSEN)):
        return
    try:
        team_id = UUID(str(text))
    except ValueError:
        return
    if user.is_superuser or team_id in user.team_ids:
        user.chosen_team = team_id
