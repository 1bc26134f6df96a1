"""What somebody may do: a level, from a role in a team, from a share of a single object, or less by a token.

A level includes those below it. Whoever may not read a row does not learn that it is there (404); who may read it and
not do what was asked for is refused (403), with the level that it takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import PermissionDenied


class Level(IntEnum):
    """How much somebody may do with a row."""

    NONE = 0
    READ = 1
    RUN = 2
    EDIT = 3
    ADMIN = 4


#: By role in a team (`teams.models.Role`).
OF_ROLE: Final = {"viewer": Level.READ, "operator": Level.RUN, "editor": Level.EDIT, "admin": Level.ADMIN}
#: By a token's scope (`teams.models.Scope`); an empty scope takes nothing away.
OF_SCOPE: Final = {"": Level.ADMIN, "read": Level.READ, "run": Level.RUN, "edit": Level.EDIT, "admin": Level.ADMIN}
_MOST_GIVERS: Final = 3
ROLE_FOR: Final = {level: role for role, level in OF_ROLE.items()}
_DEEDS: Final = {
    Level.READ: "Seeing",
    Level.RUN: "Running, cancelling and answering",
    Level.EDIT: "Changing",
    Level.ADMIN: "Administering",
}


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a token takes away from its user's rights.

    Attributes:
        most: The highest level that is left.
        deployment: Only this deployment, its flow and its runs are there at all; None: everything of the user's.
        until: When the token expires; None: never. Tokens and invitations that are made with it do not outlive it.
    """

    most: Level = Level.ADMIN
    deployment: UUID | None = None
    until: datetime | None = None


class Refused(PermissionDenied):
    """The asker may see the row and not do this with it. The message says which role it takes."""


def require(user: Any, level: Level, row: Any) -> None:
    """Raise Refused unless this user may do so much with a row (one query where a member is refused: who can give it).

    Args:
        user: A `teams.models.User`, or whoever else has `level_on`; None stands for the site itself, which may.
        row: A team, or what a team owns.
    """
    if user is None or user.level_on(row) >= level:
        return
    raise Refused(refusal(level, row, getattr(user, "confinement", None), _givers(user, _team_of(row))))


def administers_site(user: Any) -> bool:
    """Whether this user administers the whole site, and no token takes anything of that away. None, the site, does."""
    return user is None or bool(user.sees_everything and user.level_in(None) >= Level.ADMIN)


def require_site(user: Any, deed: str = "This") -> None:
    """Raise Refused unless this user administers the whole site.

    Args:
        deed: What was asked for, as the beginning of a sentence: `Making teams`.
    """
    if not administers_site(user):
        raise Refused(f"{deed} takes a site administrator.")


def refusal(level: Level, row: Any, confinement: Confinement | None = None, givers: Sequence[str] | None = None) -> str:
    """Say what was refused, what it takes, and who can give it: `givers` by name, where the asker may know them."""
    if confinement is not None and confinement.most < level:
        return f"{_DEEDS[level]} is beyond the scope of this token. Make one with --scope {level.name.lower()}."
    who = f"Who can give it: {', '.join(givers)}." if givers else "An administrator of the team can give it."
    return f"{_DEEDS[level]} takes the role {ROLE_FOR[level]} in team {_team_of(row)}. {who}"


def _team_of(row: Any) -> Any:
    return getattr(row, "service_of", None) or getattr(row, "team", row)


def _givers(user: Any, team: Any) -> list[str]:
    """The names of a team's first administrators, for its members; other teams do not learn who is in it."""
    level_in = getattr(user, "level_in", None)
    if level_in is None or team._meta.model_name != "team" or level_in(team.pk) < Level.READ:
        return []
    people = team.memberships.filter(role=ROLE_FOR[Level.ADMIN], user__is_active=True, user__service_of=None)
    return list(people.order_by("id").values_list("user__username", flat=True)[:_MOST_GIVERS])
