"""Users, teams, memberships, API tokens and one-time sign-in links."""

import hashlib
import secrets
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser, Group
from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property

from orchestrator.sdk.ids import uuid7
from teams.rights import OF_ROLE, Confinement, Level
from teams.sharing import held_by, levels_of

DEFAULT_TEAM = "default"


def fingerprint(secret: str) -> str:
    """Return the form in which a secret of 256 random bits is stored: SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


class User(AbstractUser):
    """A person (or a service account) that signs in."""

    time_zone = models.CharField(
        max_length=64, blank=True, help_text="Times are shown in this zone; empty: the browser's."
    )
    service_of = models.ForeignKey(
        "Team",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="service_accounts",
        help_text="The team of a service account, which has tokens and cannot sign in; empty for people.",
    )

    #: What the token of this request takes away; its authentication sets it.
    confinement = Confinement()
    #: The team that the person looks at and acts for, of several; None: all, and the first. Set with the session.
    chosen_team: "UUID | None" = None

    @cached_property
    def _held(self) -> "dict[str, dict[UUID, list[str]]]":
        """What their rights are made of: roles in teams, and shares; read once for each request (one query)."""
        return held_by(self)

    @cached_property
    def roles(self) -> "dict[UUID, str]":
        """The role in each team that this user is a member of, in the order of the teams' ids."""
        return {team_id: role for team_id, (role,) in sorted(self._held.get("team", {}).items())}

    @cached_property
    def team_names(self) -> "dict[UUID, str]":
        """The names of this user's teams by id, alphabetical; with the one that they chose to look at (one query)."""
        ids = {*self.team_ids, *([self.chosen_team] if self.chosen_team else [])}
        return dict(Team.objects.filter(pk__in=ids).order_by("name").values_list("id", "name"))

    @property
    def team_ids(self) -> "list[UUID]":
        """The ids of the teams that this user is a member of."""
        return list(self.roles)

    @property
    def admin_team_ids(self) -> "list[UUID]":
        """The ids of the teams that this user administers."""
        return [team_id for team_id, role in self.roles.items() if role == Role.ADMIN]

    @cached_property
    def shares(self) -> "dict[str, dict[UUID, Level]]":
        """The levels at which single objects are shared with this user or their teams, by model and id."""
        return levels_of(self._held)

    def forget_rights(self) -> None:
        """Have what this user may do read anew: it was changed."""
        for name in ("_held", "roles", "shares", "team_names"):
            self.__dict__.pop(name, None)

    @property
    def sees_everything(self) -> bool:
        """Whether no row is kept from this user: a site administrator, not by a token for one deployment."""
        return self.is_superuser and self.confinement.deployment is None

    def sees_whole(self, model: str, id: "UUID", team_id: "UUID") -> bool:
        """Whether this user sees all that belongs to an object of a team, by its model's name and its id."""
        if self.confinement.deployment is not None:
            return False
        return self.is_superuser or team_id in self.roles or id in self.shares.get(model, {})

    def level_in(self, team_id: "UUID | None") -> Level:
        """What this user may do with whatever a team owns."""
        role = OF_ROLE.get(self.roles.get(team_id, ""), Level.NONE) if team_id and not self.is_superuser else Level.NONE
        return min(Level.ADMIN if self.is_superuser else role, self.confinement.most)

    def level_on(self, row: Any) -> Level:
        """What this user may do with one row: a team, or what a team owns (`team_id`; `shared_as` where it is shared).

        A row belongs to a token's one deployment where its `shared_as()` names that.
        """
        if isinstance(row, Team):
            return Level.NONE if self.confinement.deployment else self.level_in(row.pk)
        names: dict[str, UUID | None] = row.shared_as() if hasattr(row, "shared_as") else {}
        if self.confinement.deployment not in (None, names.get("deployment")):
            return Level.NONE
        level = self.level_in(row.service_of_id if isinstance(row, User) else row.team_id)
        if level < self.confinement.most:
            shared = (self.shares.get(model, {}).get(key, Level.NONE) for model, key in names.items() if key)
            level = max(level, *shared, Level.NONE)
        return min(level, self.confinement.most)

    @classmethod
    def first_admin(cls) -> "User":
        """Whom the one-time link signs in: the oldest active superuser, made where there is none.

        It is called `admin`; where a person without that right is called so, `admin-2` and so on.
        """
        admin = cls.objects.filter(is_superuser=True, is_active=True).order_by("id").first()
        if admin is None:
            taken = set(cls.objects.filter(username__startswith="admin").values_list("username", flat=True))
            names = chain(["admin"], (f"admin-{number}" for number in count(2)))
            admin, _ = cls.objects.get_or_create(
                username=next(name for name in names if name not in taken),
                defaults={"is_staff": True, "is_superuser": True, "password": make_password(None)},
            )
            Membership.objects.get_or_create(user=admin, team=Team.default(), defaults={"role": Role.ADMIN})
        return admin


class TeamQuerySet(models.QuerySet["Team"]):
    """Reads of teams."""

    def visible_to(self, user: User) -> "TeamQuerySet":
        """Teams that a user is in; all of them for a site administrator."""
        if user.sees_everything:
            return self
        return self.none() if user.confinement.deployment else self.filter(pk__in=user.team_ids)


class Team(models.Model):
    """The owner of flows, deployments and runs. A laptop has one, called `default`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="teams")
    group = models.OneToOneField(
        Group, on_delete=models.PROTECT, null=True, editable=False, help_text="To it, objects are shared with the team."
    )

    objects = TeamQuerySet.as_manager()

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


class Scope(models.TextChoices):
    """What a token may do at most, each scope including those before it; none: what its user may."""

    READ = "read"
    RUN = "run"
    EDIT = "edit"
    ADMIN = "admin"


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
    scope = models.CharField(max_length=8, choices=Scope.choices, blank=True, db_default="")
    deployment = models.UUIDField(null=True, blank=True, help_text="It reaches this one alone; empty: no such limit.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    def issue(cls, *, name: str, user: User, team: Team, **fields: Any) -> tuple["ApiToken", str]:
        """Make a token, with other fields as they are said. Returns the row and the secret, which is not kept."""
        secret = f"orc_{secrets.token_urlsafe(32)}"
        token = cls.objects.create(
            name=name, user=user, team=team, prefix=secret[:10], digest=fingerprint(secret), **fields
        )
        return token, secret


class Invitation(models.Model):
    """An invitation into a team, redeemed once by its link, by whoever has it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    email = models.EmailField(blank=True, help_text="To whom it was sent; empty: the link is passed on by hand.")
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    def __str__(self) -> str:
        return f"{self.email or 'link'} to {self.team} ({self.role})"


class GroupMapping(models.Model):
    """A group of the single sign-on's claims, whose members have a role in a team."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    group = models.CharField(max_length=200)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="group_mappings")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["group", "team"], name="group_mapping_once")]

    def __str__(self) -> str:
        return f"{self.group}: {self.role} in {self.team}"


class Via(models.TextChoices):
    """The way a change came in."""

    PAGE = "page", "Page"
    API = "api", "API"
    ADMIN = "admin", "Admin"
    CLI = "cli", "Command line"
    SSO = "sso", "Single sign-on"
    SITE = "site", "Orchestrator itself"


class AuditEntry(models.Model):
    """Who did what to which object, from where, and what changed. Written by `teams.audit`, never changed or deleted.

    Names stand beside the ids, and no foreign key is enforced: an entry outlives what it is about.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(default=timezone.now)
    team = models.ForeignKey(
        Team, on_delete=models.DO_NOTHING, db_constraint=False, null=True, blank=True, related_name="+", db_index=False
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    actor_name = models.CharField(max_length=200)
    token = models.CharField(max_length=12, blank=True, help_text="The beginning of the token that was used.")
    via = models.CharField(max_length=8, choices=Via.choices)
    address = models.GenericIPAddressField(null=True, blank=True)
    verb = models.CharField(max_length=64, help_text="deployment.pause, team.add_member, …")
    subject_type = models.CharField(max_length=32)
    subject_id = models.CharField(max_length=36)
    subject_name = models.CharField(max_length=300)
    changes = models.JSONField(default=dict, help_text="By field: what was before, and after.")

    class Meta:
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["subject_type", "subject_id", "-id"], name="audit_subject"),  # an object's history
            models.Index(fields=["team", "-id"], name="audit_team"),  # a team's log
            models.Index(fields=["actor", "-id"], name="audit_actor"),  # what a person did
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.subject_name}"


class IdempotencyKey(models.Model):
    """An answer that was given to a request that made something, kept to be given again."""

    id = models.BigAutoField(primary_key=True)
    caller = models.CharField(max_length=64, help_text="Whose key it is.")
    key = models.CharField(max_length=200)
    request = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="Empty while the first request is answered.")
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return self.key


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
