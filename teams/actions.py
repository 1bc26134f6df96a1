"""Verbs on users, service accounts and their API tokens: called alike by pages, command line, API and admin."""

import re
from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from teams import audit, members
from teams.live import announce_rights
from teams.models import ApiToken, Membership, Role, Scope, Team, User
from teams.rights import OF_SCOPE, Confinement, Level, Refused, administers_site, require, require_site
from teams.sign_in import people
from teams.sign_in.sessions import end_sessions

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_TAKEN = "A user with that username already exists."
_MORE_THAN_ITSELF = "A token cannot make one that may more than itself."


def create_user(
    username: str,
    *,
    password: str | None = None,
    email: str = "",
    team: Team | None = None,
    role: Role | str = Role.EDITOR,
    is_admin: bool = False,
    user: User | None = None,
) -> User:
    """Make a user and a member of a team.

    Args:
        password: Without one the user signs in by a one-time link, or by a password that is set later.
        team: The default team when none is named.
        is_admin: Whether the user administers the whole site, and so all teams.
        user: Who asks: an administrator of the named team; for anything else, of the site. None: the site itself.

    Raises:
        ValidationError: By `username`, `email`, `password` or `role`: a name that is taken or cannot be one, a weak
            password.
        Refused: The asker may not.
    """
    if team is None or is_admin:
        require_site(user, "Making users without naming a team, or administrators,")
    team = team or Team.default()
    require(user, Level.ADMIN, team)
    if role not in Role.values:
        raise ValidationError({"role": f"There is no role {role!r}; there are: {', '.join(Role.values)}."})
    if not administers_site(user):
        people.check_name(username)
    person = User(username=username, email=email, is_staff=is_admin, is_superuser=is_admin)
    if password is None:
        person.set_unusable_password()
    else:
        _use_password(person, password)
    person.full_clean(exclude=["password"])
    try:
        with transaction.atomic():
            person.save()
            people.keep_email(person, is_proven=administers_site(user))
            members.join(person, team, Role.ADMIN if is_admin else Role(role))
            changes = {"role": (None, str(Role.ADMIN if is_admin else role)), "site administrator": (None, is_admin)}
            audit.record(user, "user.create", person, changes, team=team)
    except IntegrityError:  # another request was first
        raise ValidationError({"username": _TAKEN}) from None
    return person


def create_service_account(
    team: Team, name: str, *, role: Role | str = Role.OPERATOR, user: User | None = None
) -> User:
    """Make an account of a team that no person signs in to: it has tokens alone. It is called `name@team`.

    Raises:
        ValidationError: `name` or `role`.
        Refused: The asker does not administer the team.
    """
    require(user, Level.ADMIN, team)
    if not _ACCOUNT.fullmatch(name):
        raise ValidationError({"name": "Write 1 to 50 letters, digits, dots, hyphens or underscores."})
    if role not in Role.values:
        raise ValidationError({"role": f"There is no role {role!r}; there are: {', '.join(Role.values)}."})
    account = User(username=f"{name}@{slugify(team.name) or team.pk}", service_of=team)
    account.set_unusable_password()
    try:
        account.full_clean(exclude=["password"])
        with transaction.atomic():
            account.save()
            members.join(account, team, Role(role))
            audit.record(user, "service_account.create", account, {"role": (None, str(role))}, team=team)
    except (ValidationError, IntegrityError):
        raise ValidationError({"name": f"There is an account {account.username} already."}) from None
    return account


def set_password(person: User, password: str, *, user: User | None = None) -> User:
    """Give a user a new password; sessions that were begun with the old one end.

    Raises:
        ValidationError: `password`: it is too short, too common or too like the user's name; it is a service account.
        Refused: The asker is neither that person nor a site administrator.
    """
    if user is None or user.pk != person.pk:
        require_site(user, "Setting somebody's password")
    if person.service_of_id is not None:
        raise ValidationError({"password": "A service account cannot sign in; make it a token."})
    _use_password(person, password)
    with transaction.atomic():
        person.save(update_fields=["password"])
        announce_rights([person])
        audit.record(user, "user.set_password", person, {"password": (audit.SECRET, audit.SECRET)})
    return person


def change_user(person: User, *, user: User | None = None, **changes: Any) -> User:
    """Change what a user is called, `username` among it, where mail reaches them and their `time_zone`.

    Raises:
        ValidationError: By field: a name or an address that is taken or can be none.
        Refused: The asker is no site administrator.
    """
    require_site(user, "Changing people")
    before = {name: getattr(person, name) for name in changes}
    for name, value in changes.items():
        setattr(person, name, value)
    person.full_clean(exclude=["password"])
    with transaction.atomic():
        person.save(update_fields=list(changes))
        if "email" in changes:
            people.keep_email(person, is_proven=administers_site(user))
        audit.record(user, "user.change", person, audit.differences(before, changes))
    return person


def set_standing(
    person: User, *, is_staff: bool | None = None, is_superuser: bool | None = None, user: User | None = None
) -> User:
    """Say whether somebody uses the administration, and whether they administer the whole site. None: as it is.

    Raises:
        ValidationError: `is_superuser`: nobody would be left who administers the site.
        Refused: The asker is no site administrator.
    """
    require_site(user, "Naming administrators of the site")
    wanted = {"is_staff": is_staff, "is_superuser": is_superuser}
    changes = {name: value for name, value in wanted.items() if value not in (None, getattr(person, name))}
    if not changes:
        return person
    with transaction.atomic():
        if changes.get("is_superuser") is False:
            _keep_an_admin(person, "is_superuser")
        before = {name: getattr(person, name) for name in changes}
        for name, value in changes.items():
            setattr(person, name, value)
        person.save(update_fields=list(changes))
        announce_rights([person])
        audit.record(user, "user.set_standing", person, audit.differences(before, changes))
    return person


def remove_second_factor(person: User, *, user: User | None = None) -> User:
    """Let somebody who lost their second factor sign in by password alone; their recovery codes go with it.

    Raises:
        ValidationError: They have none.
        Refused: The asker is no site administrator.
    """
    require_site(user, "Removing somebody's second factor")
    with transaction.atomic():
        kinds = sorted(Authenticator.objects.filter(user=person).values_list("type", flat=True))
        if not kinds:
            raise ValidationError(f"{person} has no second factor.")
        Authenticator.objects.filter(user=person).delete()
        audit.record(user, "user.remove_second_factor", person, {"second factor": (", ".join(kinds), None)})
    return person


def deactivate_user(person: User, *, user: User | None = None) -> User:
    """Keep a user out: sessions and tokens stop at once, what the user made stays. Doing it twice is harmless.

    Raises:
        ValidationError: Nobody would be left who administers the site.
        Refused: The asker administers neither the site nor, for a service account, its team.
    """
    _require_over(user, person, "Deactivating people")
    with transaction.atomic():
        if person.is_superuser:
            _keep_an_admin(person)
        if User.objects.filter(pk=person.pk, is_active=True).update(is_active=False):
            audit.record(user, "user.deactivate", person, {"active": (True, False)}, team=person.service_of_id)
        end_sessions(person)
    person.is_active = False
    return person


def reactivate_user(person: User, *, user: User | None = None) -> User:
    """Let a user in again, with the tokens that have not expired. Raises Refused as `deactivate_user`."""
    _require_over(user, person, "Reactivating people")
    with transaction.atomic():
        if User.objects.filter(pk=person.pk, is_active=False).update(is_active=True):
            audit.record(user, "user.reactivate", person, {"active": (False, True)}, team=person.service_of_id)
            announce_rights([person])
    person.is_active = True
    return person


def create_token(
    name: str,
    owner: User,
    *,
    user: User | None = None,
    team: Team | None = None,
    scope: Scope | str | None = None,
    deployment: Any = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make an API token that acts as its owner, for one team.

    Whoever asks with a token gets none that may more, reaches further or lives longer than that one.

    Args:
        owner: Whose rights it has: the asker's own; those of a service account of a team that the asker administers;
            a site administrator may make one for anybody.
        team: For which team it makes things: without one the deployment's, if the owner is in it, else the first
            team that they joined (for a site administrator, the default one).
        scope: What it may do at most. Empty: what its owner may. None: as much as the asker may pass on.
        deployment: The one (a row) that it reaches, with its flow and runs; None: all that the owner reaches.
        expires_at: Aware; None: never, or with the token that it was asked for with.

    Returns:
        The row, and the secret, which is not kept.

    Raises:
        ValidationError: `name`, `scope`, `deployment`, `expires_at`, `user` or `team`.
        Refused: The asker may not make tokens for the owner, or passes on more than they have.
    """
    _require_tokens_of(user, owner)
    has = user.confinement if user is not None else Confinement()
    if not name.strip() or len(name) > 100:
        raise ValidationError({"name": "Write what the token is for, in 1 to 100 characters."})
    if expires_at is not None and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "Write a time to come."})
    if not owner.is_active:
        raise ValidationError({"user": f"{owner} is deactivated."})
    if deployment is not None and owner.level_on(deployment) < Level.READ:
        raise ValidationError({"deployment": f"{owner} may not see {deployment}."})
    scope = _scope_within(has, scope)
    reach = has.deployment if deployment is None else deployment.pk
    expires_at = has.until if expires_at is None else expires_at
    if has.deployment not in (None, reach):
        raise Refused(_MORE_THAN_ITSELF)
    if has.until is not None and (expires_at is None or expires_at > has.until):
        raise Refused("A token cannot make one that outlives it.")
    if team is None and deployment is not None and deployment.team_id in owner.roles:
        team = deployment.team
    team = _team_for(owner, team)
    with transaction.atomic():
        token, secret = ApiToken.issue(
            name=name.strip(), user=owner, team=team, scope=scope, deployment=reach, created_by=user,
            expires_at=expires_at,
        )  # fmt: skip
        said = {"user": owner.username, "scope": str(scope) or "all",
                "deployment": getattr(deployment, "full_name", reach), "expires": expires_at}  # fmt: skip
        audit.record(user, "token.create", token, {field: (None, value) for field, value in said.items() if value})
    return token, secret


def _scope_within(has: Confinement, scope: Scope | str | None) -> Scope | str:
    """Return the scope that was asked for; None: as much as whoever `has` this may pass on.

    Raises:
        ValidationError: `scope`: there is none of that name.
        Refused: It is more than they have.
    """
    if scope is None:
        return "" if has.most >= Level.ADMIN else Scope(has.most.name.lower())
    if scope not in OF_SCOPE:
        raise ValidationError({"scope": f"There is no scope {scope!r}; there are: {', '.join(Scope.values)}."})
    if OF_SCOPE[scope] > has.most:
        raise Refused(_MORE_THAN_ITSELF)
    return scope


def revoke_token(token: ApiToken, *, user: User | None = None) -> None:
    """Make a token useless at once. Revoking twice is harmless. Raises Refused, as `create_token` does."""
    _require_tokens_of(user, token.user)
    with transaction.atomic():
        if ApiToken.objects.filter(pk=token.pk).delete()[0]:
            audit.record(user, "token.revoke", token, {"user": (token.user.username, None)})


def _keep_an_admin(person: User, field: str = "") -> None:
    """Raise ValidationError where this is the last administrator of the site. Locks all of them."""
    admins = User.objects.select_for_update().filter(is_superuser=True, is_active=True).order_by("pk")
    if [admin.pk for admin in admins] == [person.pk]:
        said = f"{person} is the last administrator of the site. Name another one first."
        raise ValidationError({field: said} if field else said)


def _require_over(user: User | None, person: User, deed: str) -> None:
    """Raise Refused unless the asker decides on this account."""
    if person.service_of is None:
        require_site(user, deed)
    else:
        require(user, Level.ADMIN, person.service_of)


def _require_tokens_of(user: User | None, owner: User) -> None:
    """Raise Refused unless the asker may make and revoke tokens of this owner."""
    if user is None:
        return
    if user.confinement.most < Level.RUN:
        raise Refused("Making and revoking tokens is beyond the scope of this token. Make one with --scope run.")
    if user.pk == owner.pk or administers_site(user):
        return
    if owner.service_of is not None:
        require(user, Level.ADMIN, owner.service_of)
        return
    raise Refused("Making and revoking tokens of other people takes a site administrator.")


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
