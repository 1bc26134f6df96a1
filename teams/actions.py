"""Verbs on users and their API tokens: called alike by the command line, the API and the admin."""

from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from teams.models import ApiToken, Membership, Role, Team, User


def create_user(
    username: str,
    *,
    password: str | None = None,
    email: str = "",
    team: Team | None = None,
    role: Role = Role.EDITOR,
    is_admin: bool = False,
) -> User:
    """Make a user and a member of a team.

    Args:
        password: Without one the user signs in by a one-time link, or by a password that is set later.
        team: The default team when none is named.
        is_admin: Whether the user administers the whole site, and so all teams.

    Raises:
        ValidationError: By `username`, `email` or `password`: a name that is taken or cannot be one, a weak password.
    """
    user = User(username=username, email=email, is_staff=is_admin, is_superuser=is_admin)
    if password is None:
        user.set_unusable_password()
    else:
        _use_password(user, password)
    user.full_clean(exclude=["password"])
    try:
        with transaction.atomic():
            user.save()
            role = Role.ADMIN if is_admin else role
            Membership.objects.create(user=user, team=team or Team.default(), role=role)
    except IntegrityError:  # another request was first
        raise ValidationError({"username": "A user with that username already exists."}) from None
    return user


def set_password(user: User, password: str) -> User:
    """Give a user a new password; sessions that were begun with the old one end.

    Raises:
        ValidationError: `password`: it is too short, too common or too like the user's name.
    """
    _use_password(user, password)
    user.save(update_fields=["password"])
    return user


def deactivate_user(user: User) -> User:
    """Keep a user out: sessions and tokens stop at once, what the user made stays."""
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.is_active = False
    return user


def create_token(
    name: str, user: User, *, team: Team | None = None, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make an API token that acts as this user, for one team.

    Args:
        team: The first team that the user joined when none is named (for a site administrator, the default one).
        expires_at: Aware; None: never.

    Returns:
        The row, and the secret, which is not kept.

    Raises:
        ValidationError: `name`, `expires_at` or `team`.
    """
    if not name.strip() or len(name) > 100:
        raise ValidationError({"name": "Write what the token is for, in 1 to 100 characters."})
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "Write a time to come."})
    return ApiToken.issue(name=name.strip(), user=user, team=_team_for(user, team), expires_at=expires_at)


def revoke_token(token: ApiToken) -> None:
    """Make a token useless at once. Revoking twice is harmless."""
    ApiToken.objects.filter(pk=token.pk).delete()


def _use_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from None
    user.set_password(password)


def _team_for(user: User, team: Team | None) -> Team:
    memberships = Membership.objects.filter(user=user).select_related("team").order_by("id")
    if team is not None:
        if user.is_superuser or memberships.filter(team=team).exists():
            return team
        raise ValidationError({"team": f"{user} is not a member of {team}."})
    first = memberships.first()
    if first is not None:
        return first.team
    if user.is_superuser:
        return Team.default()
    raise ValidationError({"team": f"{user} is in no team yet. An administrator can add them to one."})
