"""What the views of this app's REST API share: finding teams and people by what a client calls them."""

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from teams import reads, sharing
from teams.models import Role, Team, User
from teams.rights import Level, require

ROLE = "What the member may do: `viewer`, `operator`, `editor` or `admin`, each including those before it."


def valid(serializer: type[serializers.Serializer[Any]], data: Any, **options: Any) -> dict[str, Any]:
    """Return the values of a body. Raises ValidationError."""
    asked = serializer(data=data, **options)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


def role_field(**options: Any) -> serializers.ChoiceField:
    """A role, as it is written."""
    return serializers.ChoiceField(choices=Role.choices, help_text=ROLE, **options)


def team_of(request: Request, team_id: UUID, level: Level) -> Team:
    """Return a team that the caller may see and do so much in. Raises Http404, Refused."""
    team: Team = get_object_or_404(Team.objects.visible_to(request.user), pk=team_id)
    require(request.user, level, team)
    return team


def team_named(request: Request, text: str) -> Team:
    """Return a team that the caller may see, by name or id. Raises ValidationError (`team`)."""
    teams = Team.objects.visible_to(request.user)
    found = teams.filter(name=text).first() or (teams.filter(pk=id).first() if (id := _uuid(text)) else None)
    if found is None:
        raise ValidationError({"team": [f"There is no team {text!r} that you may see."]})
    return found


def person_named(request: Request, text: str) -> User:
    """Return somebody whom the caller may see, by user name or id. Raises ValidationError (`user`)."""
    people = reads.people_for(request.user)
    found = people.filter(username=text).first()
    if found is None and text.isdecimal() and len(text) < 10:
        found = people.filter(pk=int(text)).first()
    if found is None:
        raise ValidationError({"user": [f"There is no user {text!r} whom you may see."]})
    return found


def shared_row(request: Request, kind: str, text: str) -> Any:
    """Return a flow or deployment that the caller may see, by name or id. Raises ValidationError (the kind)."""
    found = list(sharing.model_of(kind).objects.visible_to(request.user).named(text).select_related("team")[:2])
    if len(found) == 1:
        return found[0]
    said = "may be several; write the whole name, or the id" if found else "is none that you may see"
    raise ValidationError({kind: [f"{text!r} {said}."]})


def deployment_names(ids: set[UUID]) -> dict[UUID, str]:
    """Return the full names of deployments by id (one query; none without ids)."""
    if not ids:
        return {}
    rows = sharing.model_of("deployment").objects.filter(pk__in=ids).select_related("flow")
    return {row.pk: row.full_name for row in rows}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
