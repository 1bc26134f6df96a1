"""Memberships by the groups that single sign-on says a person is in (`teams.models.GroupMapping`)."""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from teams import audit, members
from teams.models import GroupMapping, Membership, Role, Team, User, Via

_log = logging.getLogger(__name__)


def groups_in(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the groups of a sign-in: the claim in what the userinfo address answered, else in the ID token.

    Args:
        claims: `{"userinfo": {…}, "id_token": {…}}`, as allauth keeps it.
        name: Of the claim. One that is not there means no groups: providers leave an empty list out.
    """
    for part in ("userinfo", "id_token"):
        found = (claims.get(part) or {}).get(name)
        if isinstance(found, str):
            return [found]
        if isinstance(found, list):
            return [str(group) for group in found]
    return []


def apply_groups(user: User, groups: list[str]) -> None:
    """Give a user the memberships that their groups stand for; of several in one team the highest role counts.

    Only teams that a mapping names are governed: there, a membership without a group goes. The last administrator of a
    team stays one, which is logged. Reads mappings and memberships once each.
    """
    order = list(Role.values)
    roles: dict[UUID, str | None] = {}
    teams: dict[UUID, Team] = {}
    for mapping in GroupMapping.objects.select_related("team"):
        teams[mapping.team_id] = mapping.team
        had = roles.setdefault(mapping.team_id, None)
        if mapping.group in groups and (had is None or order.index(mapping.role) > order.index(had)):
            roles[mapping.team_id] = mapping.role
    held = dict(Membership.objects.filter(user=user, team__in=teams).values_list("team_id", "role"))
    with audit.coming_from(audit.through(Via.SSO)):
        for team_id, role in roles.items():
            if held.get(team_id) != role:
                _set(teams[team_id], user, role)


def _set(team: Team, user: User, role: str | None) -> None:
    try:
        with transaction.atomic():
            if role is None:
                members.remove_member(team, user)
            else:
                members.set_role(team, user, role)
    except ValidationError as error:
        _log.warning("Single sign-on leaves %s as they are in team %s: %s", user, team, " ".join(error.messages))
