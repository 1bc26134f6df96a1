"""Verbs on sharing single objects, flows and deployments, beyond their team.

Sharing takes an administrator of the owning team, not an editor: a share lets in somebody from outside, which is what
an invitation does too, and whoever has something by a share must not pass it on.
"""

from typing import Any, Final

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.db import transaction

from teams import audit, members, sharing
from teams.live import announce_rights
from teams.models import Team, User
from teams.rights import Level, require

LEVELS: Final = {"read": Level.READ, "run": Level.RUN, "edit": Level.EDIT}
_WORD: Final = {level: word for word, level in LEVELS.items()}


def share_with(row: Any, holder: User | Team, level: str, *, user: User | None = None) -> None:
    """Share a flow or deployment with a person or another team, at a level in place of the one before.

    Args:
        level: `read`, `run` or `edit`, each including those before it.

    Raises:
        ValidationError: `level`, or `team`: it is the owner's own.
        Refused: The asker does not administer the owning team.
    """
    require(user, Level.ADMIN, row.team)
    if level not in LEVELS:
        raise ValidationError({"level": f"There is no level {level!r}; there are: {', '.join(LEVELS)}."})
    if isinstance(holder, Team) and holder.pk == row.team_id:
        raise ValidationError({"team": f"{_name(row)} is of team {holder} already."})
    _set(row, holder, LEVELS[level], user)


def take_back(row: Any, holder: User | Team, *, user: User | None = None) -> None:
    """Share a flow or deployment with somebody no longer; doing it twice is harmless. Raises Refused."""
    require(user, Level.ADMIN, row.team)
    _set(row, holder, Level.NONE, user)


def holder_named(person: str = "", team: str = "") -> User | Team:
    """Return the active person of this user name or e-mail address, or the team of this name.

    Raises:
        ValidationError: `user` or `team`: none or both are given, or there is none.
    """
    if bool(person.strip()) == bool(team.strip()):
        raise ValidationError({"user": "Name a person or a team."})
    if team.strip():
        found = Team.objects.filter(name=team.strip()).first()
        if found is None:
            raise ValidationError({"team": f"There is no team {team.strip()!r}."})
        return found
    return person_named(person)


def person_named(text: str) -> User:
    """Return the active person or service account of this user name, or else of this e-mail address.

    Only an address that is known to be somebody's counts: anybody may write any address into their own profile.

    Raises:
        ValidationError: `user`: there is none.
    """
    text = text.strip()
    active = User.objects.filter(is_active=True)
    person = active.filter(username=text).first()
    if person is None and "@" in text:
        proven = EmailAddress.objects.filter(email=text.lower(), verified=True)
        person = active.filter(pk__in=proven.values("user")).first()
    if person is None:
        hint = " with an address that is known to be theirs. Write the user name" if "@" in text else ""
        raise ValidationError({"user": f"There is no user {text!r}{hint}."})
    return person


def shares_on(row: Any) -> list[dict[str, Any]]:
    """Return with whom a row is shared, by name: `id`, `kind` (user, team), `holder` and `level` (two queries)."""
    found = []
    for holder, level in sharing.shared_with(row):
        kind, who = ("user", holder) if isinstance(holder, User) else ("team", getattr(holder, "team", None))
        if who is not None:
            id = f"{row._meta.model_name}.{row.pk}.{kind}.{who.pk}"
            found.append({"id": id, "kind": kind, "holder": who, "level": _WORD[level]})
    return sorted(found, key=lambda one: (one["kind"], str(one["holder"])))


def shared_to(user: User) -> list[dict[str, Any]]:
    """Return what of other teams is shared with a user or their teams (a query for each kind).

    Each has `kind` (flow, deployment), `row` and `level`.
    """
    found = []
    for name, levels in user.shares.items():
        related = ("team", "flow") if name == "deployment" else ("team",)
        rows = sharing.model_of(name).objects.filter(pk__in=list(levels)).select_related(*related)
        found += [
            {"kind": name, "row": row, "level": _WORD[levels[row.pk]]}
            for row in rows.exclude(team__in=user.team_ids)
            if user.confinement.deployment in (None, row.pk)
        ]
    return sorted(found, key=lambda one: (one["kind"], _name(one["row"])))


def _set(row: Any, holder: User | Team, level: Level, user: User | None) -> None:
    group_or_user = members.group_of(holder) if isinstance(holder, Team) else holder
    kind = "team" if isinstance(holder, Team) else "person"
    with transaction.atomic():
        before = next((had for who, had in sharing.shared_with(row) if who == group_or_user), Level.NONE)
        if before == level:
            return
        sharing.share(row, level, group_or_user)
        announce_rights([holder])
        changes = {f"{kind} {holder}": (_WORD.get(before), _WORD.get(level))}
        audit.record(user, f"{row._meta.model_name}.share", row, changes)


def _name(row: Any) -> str:
    return str(getattr(row, "full_name", row))
