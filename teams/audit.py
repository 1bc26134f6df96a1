"""The audit log's only writer. Each verb says what it did, in the transaction that does it.

Where a request came from is set once, around it (`coming_from`); verbs know only who.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from django.db.models import Model, Q

from teams.models import AuditEntry, Team, User, Via

#: Shown instead of the value of a field that holds secrets.
SECRET: Final = "•••"
_MAX_TEXT: Final = 2_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    via: Via
    address: str | None = None
    token: str = ""


_SITE: Final = Origin(Via.SITE)
_origin: ContextVar[Origin] = ContextVar("origin", default=_SITE)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """What is done within is recorded with this origin."""
    before = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(before)


def through(via: Via) -> Origin:
    """Return the origin of the request that is answered now, come in another way."""
    return replace(_origin.get(), via=via)


def by_token(prefix: str) -> None:
    """The request that is answered now was sent with this token."""
    _origin.set(replace(_origin.get(), token=prefix))


def record(
    user: Any,
    verb: str,
    subject: Model,
    changes: Mapping[str, tuple[Any, Any]] | None = None,
    *,
    team: Team | UUID | None = None,
    name: str = "",
) -> AuditEntry:
    """Write down what was done. To be called in the transaction that does it (one INSERT).

    Args:
        user: Who; None: the site itself. A run that acts by its own token is named as that run.
        verb: `deployment.pause`: the subject's model, a point, what was done.
        subject: To what; it may be deleted just after.
        changes: By field, what was before and after; secrets as `SECRET`, long texts are cut.
        team: Whose log it belongs to; the subject's own without it.
        name: What the subject is called; `str(subject)` without it.
    """
    origin = _origin.get()
    team_id = team.pk if isinstance(team, Team) else team
    if team_id is None:
        team_id = subject.pk if isinstance(subject, Team) else getattr(subject, "team_id", None)
    person = user if isinstance(user, User) else None
    return AuditEntry.objects.create(
        team_id=team_id,
        actor=person,
        actor_name=_called(user),
        via=origin.via,
        token=origin.token,
        address=origin.address,
        verb=verb,
        subject_type=str(subject._meta.model_name),
        subject_id=str(subject.pk),
        subject_name=(name or str(subject))[:300],
        changes={field: [_plain(value) for value in pair] for field, pair in (changes or {}).items()},
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return, for each field that differs, what was before and after."""
    fields = dict.fromkeys([*before, *after])
    return {field: (before.get(field), after.get(field)) for field in fields if before.get(field) != after.get(field)}


def history(subject: Model, most: int = 20, *, with_parts: bool = False) -> list[AuditEntry]:
    """Return what was done to an object, newest first (one query, index `audit_subject`).

    Args:
        subject: The object.
        most: How many entries at most.
        with_parts: Also what was done to the rows within it that are there (`parts` of the model; a query for each).
    """
    wanted = Q(subject_type=str(subject._meta.model_name), subject_id=str(subject.pk))
    for name in getattr(type(subject), "parts", ()) if with_parts else ():
        related = subject._meta.get_field(name)
        if related.one_to_many:
            ids = [str(part.pk) for part in getattr(subject, name).all()]
            wanted |= Q(subject_type=str(related.related_model._meta.model_name), subject_id__in=ids)
    return list(AuditEntry.objects.filter(wanted).select_related("actor").order_by("-id")[:most])


def _called(user: Any) -> str:
    if user is None:
        return "Orchestrator"
    if isinstance(user, User):
        return user.get_username()[:200]
    attempt = getattr(user, "attempt", None)
    return f"run {attempt.flow_run.name}"[:200] if attempt is not None else str(user)[:200]


def _plain(value: Any) -> Any:
    """A value as JSON holds it, long texts cut."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else f"{value[:_MAX_TEXT]}… ({len(value):,} characters)"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return str(value)[:_MAX_TEXT]
