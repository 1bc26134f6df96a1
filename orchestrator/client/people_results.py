"""What calls about people answer. Fields that a newer server adds are left out."""

from datetime import datetime
from typing import Any
from uuid import UUID

from orchestrator.client.results import Result


class Team(Result, frozen=True, kw_only=True):
    """A team, and your role there."""

    id: UUID
    name: str
    role: str | None
    created_at: datetime


class Member(Result, frozen=True, kw_only=True):
    """Somebody in a team."""

    id: int
    username: str
    email: str
    role: str
    is_active: bool
    is_service_account: bool


class Invitation(Result, frozen=True, kw_only=True):
    """An open invitation, without its link."""

    id: UUID
    role: str
    email: str
    created_by: str | None
    created_at: datetime
    expires_at: datetime


class MadeInvitation(Invitation, frozen=True, kw_only=True):
    """An invitation as it is answered once, when it is made."""

    link: str
    sent: bool


class GroupMapping(Result, frozen=True, kw_only=True):
    """A group of the single sign-on with a role in a team."""

    id: UUID
    group: str
    role: str


class Membership(Result, frozen=True, kw_only=True):
    """A team that somebody is in."""

    id: UUID
    name: str
    role: str


class User(Result, frozen=True, kw_only=True):
    """A person."""

    id: int
    username: str
    email: str
    is_active: bool
    is_admin: bool
    teams: list[Membership]
    date_joined: datetime
    last_login: datetime | None


class CreatedUser(User, frozen=True, kw_only=True):
    """A person as they are answered once, when they are made."""

    sign_in_link: str | None


class ServiceAccount(Result, frozen=True, kw_only=True):
    """An account for a machine."""

    id: int
    username: str
    team: str
    role: str | None
    is_active: bool
    date_joined: datetime


class Token(Result, frozen=True, kw_only=True):
    """An API token as it is listed: its prefix only."""

    id: UUID
    name: str
    user: str
    team: str
    prefix: str
    scope: str | None
    deployment: str | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class MadeToken(Token, frozen=True, kw_only=True):
    """A token as it is answered once, when it is made."""

    token: str


class Share(Result, frozen=True, kw_only=True):
    """A flow or deployment, shared with a person or a team; `id` is null where it is not yours to take back."""

    id: str | None
    object_type: str
    object_id: UUID
    object_name: str
    team: str
    with_user: str | None
    with_team: str | None
    level: str


class AuditEntry(Result, frozen=True, kw_only=True):
    """What somebody did; `changes` has before and after by field."""

    id: UUID
    at: datetime
    user: str
    user_id: int | None
    token: str
    via: str
    address: str | None
    verb: str
    object_type: str
    object_id: str
    object_name: str
    team: str | None
    changes: dict[str, list[Any]]
