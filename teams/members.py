"""Verbs on teams and who is in them: called alike by pages, the API, the admin, the command line and single sign-on."""

import secrets
from datetime import timedelta
from typing import Any, Final

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from teams import audit, sharing
from teams.live import announce_rights
from teams.models import DEFAULT_TEAM, GroupMapping, Invitation, Membership, Role, Team, User, fingerprint
from teams.rights import Confinement, Level, administers_site, require, require_site

INVITATION_LIFETIME: Final = timedelta(days=7)


def create_team(name: str, *, user: User | None = None) -> Team:
    """Make a team; whoever makes it administers it.

    Args:
        user: Who asks, a site administrator; None: the site itself.

    Raises:
        ValidationError: `name` is empty, too long or taken.
        Refused: The user is no site administrator.
    """
    require_site(user, "Making teams")
    team = Team(name=name.strip())
    team.full_clean()
    try:
        with transaction.atomic():
            team.save()
            group_of(team)
            audit.record(user, "team.create", team)
            if user is not None:
                join(user, team, Role.ADMIN)
    except IntegrityError:  # another request was first
        raise ValidationError({"name": "Team with this Name already exists."}) from None
    return team


def rename_team(team: Team, name: str, *, user: User | None = None) -> Team:
    """Call a team otherwise. Raises ValidationError (`name`), Refused."""
    require(user, Level.ADMIN, team)
    before, team.name = team.name, name.strip()
    if before != team.name == DEFAULT_TEAM and not administers_site(user):  # it gets what names no team
        team.name = before
        raise ValidationError({"name": f"A site administrator alone calls a team “{DEFAULT_TEAM}”."})
    team.full_clean()
    if before != team.name:
        with transaction.atomic():
            team.save(update_fields=["name"])
            audit.record(user, "team.rename", team, {"name": (before, team.name)})
    return team


def set_role(team: Team, member: User, role: Role | str, *, user: User | None = None) -> Membership:
    """Make somebody a member of a team in this role, or give a member another role.

    Raises:
        ValidationError: `role`: there is no such role, or the team would be left without an administrator.
        Refused: The user does not administer the team.
    """
    require(user, Level.ADMIN, team)
    if role not in Role.values:
        raise ValidationError({"role": f"There is no role {role!r}; there are: {', '.join(Role.values)}."})
    with transaction.atomic():
        before = Membership.objects.select_for_update().filter(team=team, user=member).first()
        if before is not None and before.role == role:
            return before
        if before is not None and before.role == Role.ADMIN:
            _keep_an_admin(team, member)
        membership = join(member, team, Role(role))
        changes = {"role": (before.role if before else None, str(Role(role)))}
        verb = "team.change_role" if before else "team.add_member"
        audit.record(user, verb, team, {"member": (None, member.username), **changes})
    return membership


def remove_member(team: Team, member: User, *, user: User | None = None) -> None:
    """Take somebody out of a team; they lose access at once, to what of the team's was shared with them too.

    Who leaves by themselves needs no role, unless a token takes something away.

    Raises:
        ValidationError: The team would be left without an administrator.
        Refused: The user neither administers the team nor is the one who leaves.
    """
    if user is None or user.pk != member.pk or user.confinement != Confinement():
        require(user, Level.ADMIN, team)
    with transaction.atomic():
        membership = Membership.objects.select_for_update().filter(team=team, user=member).first()
        if membership is None:
            return
        if membership.role == Role.ADMIN:
            _keep_an_admin(team, member)
        membership.delete()
        member.groups.remove(group_of(team))
        sharing.forget(member, team)
        announce_rights([member])
        audit.record(user, "team.remove_member", team, {"member": (member.username, None)})
    member.forget_rights()


def map_group(team: Team, group: str, role: Role | str, *, user: User | None = None) -> GroupMapping:
    """Give the members of a group of the single sign-on a role in a team, from their next sign-in on.

    Raises:
        ValidationError: `group` or `role`.
        Refused: The user does not administer the team.
    """
    require(user, Level.ADMIN, team)
    before = GroupMapping.objects.filter(team=team, group=group.strip()).first()
    mapping = before or GroupMapping(team=team, group=group.strip())
    old, mapping.role = before and before.role, role
    mapping.full_clean(validate_constraints=False)
    with transaction.atomic():
        mapping.save()
        audit.record(user, "team.map_group", team, {"group": (None, mapping.group), "role": (old, str(role))})
    return mapping


def unmap_group(mapping: GroupMapping, *, user: User | None = None) -> None:
    """Let a group of the single sign-on mean nothing in a team. Raises Refused."""
    require(user, Level.ADMIN, mapping.team)
    with transaction.atomic():
        if GroupMapping.objects.filter(pk=mapping.pk).delete()[0]:
            audit.record(user, "team.unmap_group", mapping.team, {"group": (mapping.group, None)})


def invite(team: Team, role: Role | str, *, email: str = "", user: User | None = None) -> tuple[Invitation, str]:
    """Make an invitation into a team.

    Returns:
        The row, and the code of its link, which is not kept.

    Raises:
        ValidationError: `role` or `email`.
        Refused: The user does not administer the team.
    """
    require(user, Level.ADMIN, team)
    code = secrets.token_urlsafe(32)
    invitation = Invitation(
        team=team, role=role, email=email.strip(), digest=fingerprint(code), created_by=user,
        expires_at=min(filter(None, (timezone.now() + INVITATION_LIFETIME, user and user.confinement.until))),
    )  # fmt: skip
    invitation.full_clean(exclude=["created_by"])  # the site itself may invite
    with transaction.atomic():
        invitation.save()
        audit.record(user, "team.invite", team, {"invited": (None, email or "by link"), "role": (None, str(role))})
    return invitation, code


def revoke_invitation(invitation: Invitation, *, user: User | None = None) -> None:
    """Make an invitation's link useless. Raises Refused."""
    require(user, Level.ADMIN, invitation.team)
    with transaction.atomic():
        if Invitation.objects.filter(pk=invitation.pk, accepted_at=None).delete()[0]:
            changes = {"invited": (invitation.email or "by link", None)}
            audit.record(user, "team.revoke_invitation", invitation.team, changes)


def open_invitation(code: str) -> Invitation | None:
    """Return the invitation of a link with its team, as long as it can be redeemed.

    It holds only as long as whoever made it might still make it.
    """
    usable = Invitation.objects.filter(digest=fingerprint(code), accepted_at=None, expires_at__gt=timezone.now())
    invitation = usable.select_related("team", "created_by").first()
    inviter = invitation and invitation.created_by
    if inviter is not None and not (inviter.is_active and inviter.level_on(invitation.team) >= Level.ADMIN):
        return None
    return invitation


def accept(code: str, user: User) -> Membership:
    """Redeem an invitation for this user, once. A higher role that they have already is kept.

    Raises:
        ValidationError: The link is unknown, used, revoked or expired.
    """
    invitation = open_invitation(code)
    now = timezone.now()
    with transaction.atomic():
        still_open = Invitation.objects.filter(digest=fingerprint(code), accepted_at=None, expires_at__gt=now)
        if invitation is None or not still_open.update(accepted_at=now, accepted_by=user):
            raise ValidationError("This invitation was used, withdrawn or has expired. Ask for a new one.")
        order = list(Role.values)
        before = Membership.objects.select_for_update().filter(team=invitation.team, user=user).first()
        if before is not None and order.index(before.role) >= order.index(invitation.role):
            return before
        membership = join(user, invitation.team, Role(invitation.role))
        audit.record(
            user, "team.accept_invitation", invitation.team, {"role": (before and before.role, invitation.role)}
        )
    return membership


def group_of(team: Team) -> Group:
    """Return the group that stands for a team where objects are shared with it; made when it is missing."""
    if team.group is None:
        team.group = Group.objects.get_or_create(name=f"team:{team.pk}")[0]
        Team.objects.filter(pk=team.pk).update(group=team.group)
    return team.group


def join(user: User, team: Team, role: Role) -> Membership:
    """Make somebody a member in this role, and of the team's group. For verbs, which check and record."""
    membership, _ = Membership.objects.update_or_create(user=user, team=team, defaults={"role": role})
    user.groups.add(group_of(team))
    user.forget_rights()
    announce_rights([user])
    return membership


def _keep_an_admin(team: Team, member: User) -> None:
    others: Any = Membership.objects.select_for_update().filter(team=team, role=Role.ADMIN, user__is_active=True)
    if not others.exclude(user=member).exists() and not User.objects.filter(is_superuser=True, is_active=True).exists():
        raise ValidationError({"role": f"{member} is the last administrator of {team}. Name another one first."})
