"""Who may see which team, person, token and entry of the audit log."""

from typing import Any

from django.db.models import Q, QuerySet

from teams.models import ApiToken, AuditEntry, Team, User
from teams.rights import Level, administers_site


def administered_by(user: User) -> "QuerySet[Team]":
    """Teams whose members, invitations and service accounts this user may change."""
    teams = Team.objects.visible_to(user)
    if user.confinement.most < Level.ADMIN:
        return teams.none()
    return teams if user.sees_everything else teams.filter(pk__in=user.admin_team_ids)


def people_for(user: User) -> "QuerySet[User]":
    """People and service accounts of the teams that a user is in, the user, and all for a site administrator."""
    if user.sees_everything:
        return User.objects.all()
    if user.confinement.deployment:
        return User.objects.filter(pk=user.pk)
    mine = Q(pk=user.pk) | Q(memberships__team__in=user.team_ids) | Q(service_of__in=user.team_ids)
    return User.objects.filter(pk__in=User.objects.filter(mine).values("pk"))


def tokens_for(user: User) -> "QuerySet[ApiToken]":
    """A user's own tokens, those of service accounts of teams that they administer; all for a site administrator."""
    if administers_site(user):
        return ApiToken.objects.all()
    if user.confinement.deployment is not None:
        return ApiToken.objects.filter(user=user, deployment=user.confinement.deployment)
    allowed = Q(user=user)
    if user.confinement.most >= Level.ADMIN:
        allowed |= Q(user__service_of__in=user.admin_team_ids)
    return ApiToken.objects.filter(allowed)


def reads_audit(user: User) -> bool:
    """Whether this user may read the audit log of any team: an administrator, also with a token that only reads."""
    return user.sees_everything or bool(user.confinement.deployment is None and user.admin_team_ids)


def entries_for(user: User) -> "QuerySet[AuditEntry]":
    """Entries of the audit log of the teams that a user administers; all for a site administrator."""
    if user.sees_everything:
        return AuditEntry.objects.all()
    ids: list[Any] = user.admin_team_ids if reads_audit(user) else []
    return AuditEntry.objects.filter(team=ids[0]) if len(ids) == 1 else AuditEntry.objects.filter(team__in=ids)
