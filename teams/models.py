"""Users, teams, memberships, API tokens and one-time sign-in links."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property

from orchestrator.sdk.ids import uuid7

DEFAULT_TEAM = "default"


def fingerprint(secret: str) -> str:
    """Return the form in which a secret of 256 random bits is stored: SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


class User(AbstractUser):
    """A person (or a service account) that signs in."""

    time_zone = models.CharField(
        max_length=64, blank=True, help_text="Times are shown in this zone; empty: the browser's."
    )

    @cached_property
    def roles(self) -> "dict[UUID, str]":
        """The role in each team that this user is a member of; read once for each request (one query)."""
        return dict(Membership.objects.filter(user=self).order_by("team_id").values_list("team_id", "role"))

    @property
    def team_ids(self) -> "list[UUID]":
        """The ids of the teams that this user is a member of."""
        return list(self.roles)

    @property
    def admin_team_ids(self) -> "list[UUID]":
        """The ids of the teams that this user administers."""
        return [team_id for team_id, role in self.roles.items() if role == Role.ADMIN]

    @classmethod
    def first_admin(cls) -> "User":
        """Whom the one-time link signs in: the oldest active superuser, made (`admin`) where there is none."""
        admin = cls.objects.filter(is_superuser=True, is_active=True).order_by("id").first()
        if admin is None:
            admin, _ = cls.objects.get_or_create(
                username="admin", defaults={"is_staff": True, "is_superuser": True, "password": make_password(None)}
            )
            Membership.objects.get_or_create(user=admin, team=Team.default(), defaults={"role": Role.ADMIN})
        return admin


class Team(models.Model):
    """The owner of flows, deployments and runs. A laptop has one, called `default`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="teams")

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls) -> "Team":
        """The team that owns whatever names no other; made when it is missing."""
        return cls.objects.get_or_create(name=DEFAULT_TEAM)[0]


class Role(models.TextChoices):
    """What a member may do, each role including those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"


class Membership(models.Model):
    """A user's role in a team."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.EDITOR)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "team"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} ({self.role})"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Reads of tokens."""

    def usable(self, now: datetime | None = None) -> "ApiTokenQuerySet":
        """Tokens that have not expired."""
        return self.filter(models.Q(expires_at=None) | models.Q(expires_at__gt=now or timezone.now()))


class ApiToken(models.Model):
    """A bearer token, stored as its SHA-256 with a visible prefix; shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="api_tokens")
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    def issue(cls, *, name: str, user: User, team: Team, expires_at: datetime | None = None) -> tuple["ApiToken", str]:
        """Make a token. Returns the row and the secret, which is not kept."""
        secret = f"orc_{secrets.token_urlsafe(32)}"
        token = cls.objects.create(
            name=name, user=user, team=team, prefix=secret[:10], digest=fingerprint(secret), expires_at=expires_at
        )
        return token, secret


class SignInLink(models.Model):
    """A one-time link that signs a person in; printed by `orchestrator server start` and `server url`."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    LIFETIME = timedelta(hours=24)

    @classmethod
    def issue(cls, user: User) -> str:
        """Make a link for this user and return its code (256 random bits, valid once, for `LIFETIME`)."""
        code = secrets.token_urlsafe(32)
        cls.objects.create(digest=fingerprint(code), user=user, expires_at=timezone.now() + cls.LIFETIME)
        return code

    @classmethod
    def redeem(cls, code: str) -> "User | None":
        """Use a code up by compare-and-set and return its user; None when it is unknown, used or expired."""
        now = timezone.now()
        link = cls.objects.filter(digest=fingerprint(code), used_at=None, expires_at__gt=now)
        if not link.update(used_at=now):
            return None
        return cls.objects.select_related("user").get(digest=fingerprint(code)).user
