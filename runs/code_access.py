"""Who may read code: members of its team, and a run its own. A share or a token for one deployment lets run it only."""

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.db.models import QuerySet
from rest_framework import exceptions

from flows.snapshots import Snapshot
from orchestrator.sdk.snapshots.manifest import is_hash
from runs.models import Attempt

if TYPE_CHECKING:
    from rest_framework.request import Request

NOT_READ: Final = "code is for members of the team, with a token that is not for one deployment"


def why_unread(user: Any, team_id: UUID) -> str:
    """Return why somebody may not read the files of a team's deployments; nothing where they may."""
    may = user.sees_everything or (user.confinement.deployment is None and team_id in user.team_ids)
    return "" if may else NOT_READ


def found_snapshot(request: "Request", hash: str) -> Snapshot:
    """Return the snapshot of this hash that a request may read, without its list of files (one query).

    Raises:
        NotFound: There is none that it may read.
    """
    rows = _visible(request).filter(hash=hash) if is_hash(hash) else Snapshot.objects.none()
    snapshot = rows.select_related("team").defer("manifest").first()
    if snapshot is None:
        raise exceptions.NotFound("There is no such snapshot in your teams.")
    return snapshot


def _visible(request: "Request") -> QuerySet[Snapshot]:
    if isinstance(request.auth, Attempt):
        attempt = request.auth
        return Snapshot.objects.filter(team=attempt.flow_run.team_id, hash=attempt.source.get("hash", ""))
    user: Any = request.user
    if user.sees_everything:
        return Snapshot.objects.all()
    teams = [] if user.confinement.deployment is not None else user.team_ids
    return Snapshot.objects.filter(team__in=teams)
