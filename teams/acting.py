"""For which team a request acts."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from orchestrator.rest import TEAM
from teams.models import ApiToken, Membership, Team, User
from teams.rights import Confinement, Refused

_CHOSEN = "team"
_NONE = Confinement()


def acting_team(request: Request | HttpRequest) -> Team:
    """Return the team that owns what this request makes.

    That is the one that it names (`Orchestrator-Team`) or that the person chose in this session; else the token's; else
    the first one that they joined. A superuser without a team acts for the default one. At most two queries.

    Raises:
        Refused: The user is in no team, or has left the token's; the token is for one deployment.
    """
    if getattr(request.user, "confinement", _NONE).deployment is not None:
        raise Refused("This token is for one deployment, its flow and their runs. This takes one without --deployment.")
    if (chosen := getattr(request.user, "chosen_team", None)) and (team := Team.objects.filter(pk=chosen).first()):
        return team
    token = getattr(request, "auth", None)
    memberships = Membership.objects.filter(user=request.user).select_related("team").order_by("id")
    if isinstance(token, ApiToken):
        if request.user.is_superuser or memberships.filter(team=token.team_id).exists():
            return token.team
        raise Refused("You are no longer a member of the team that this token was made for.")
    first = memberships.first()
    if first is not None:
        return first.team
    if request.user.is_superuser:
        return Team.default()
    raise Refused("You are in no team yet. An administrator can add you to one.")


def apply_header(request: Request) -> None:
    """Have a request that makes something act for the team that it names, by name or id (at most two queries).

    Raises:
        ValidationError: The caller is in no such team.
    """
    wanted = request.headers.get(TEAM, "").strip()
    if not wanted or request.method != "POST" or not isinstance(request.user, User):
        return
    teams = Team.objects.visible_to(request.user)
    team = teams.filter(name=wanted).first() or teams.filter(pk=_as_id(wanted)).first()
    if team is None:
        raise ValidationError({TEAM: [f"You are in no team {wanted!r}."]})
    request.user.chosen_team = team.pk


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
    team_id = _as_id(str(text))
    if team_id is not None and (user.is_superuser or team_id in user.team_ids):
        user.chosen_team = team_id


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
