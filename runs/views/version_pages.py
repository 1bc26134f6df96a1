"""A deployment's versions: which there are, what differs between two, going back to one."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from flows.models import Deployment
from flows.version_diff import FileDiff, difference
from flows.versions import DeploymentVersion
from runs import actions
from runs.code_access import why_unread
from runs.views.deployment_page import deployment_of

_HIDDEN = frozenset({"parameter_schema"})  # its changes are those of the code
_KINDS = {"+": "added", "-": "removed", "@": "place"}
MAX_LINES = 4_000  #: of all files together; the command line and the API show more


@login_required
def versions(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """All that are kept, the newest first (two queries)."""
    deployment = deployment_of(request.user, deployment_id)
    rows = list(deployment.versions.select_related("created_by").order_by("-number"))
    context = {"deployment": deployment, "versions": rows, "now": timezone.now()}
    return render(request, "flows/versions.html", context)


@login_required
def version(request: HttpRequest, deployment_id: UUID, number: int) -> HttpResponse:
    """One, and what differs from the one before, or from `?before=`."""
    deployment = deployment_of(request.user, deployment_id)
    rows = {row.number: row for row in deployment.versions.select_related("created_by")}
    if (shown := rows.get(number)) is None:
        raise Http404
    asked = request.GET.get("before", "")
    before = rows.get(int(asked[:9]) if asked.isascii() and asked.isdecimal() else number - 1)
    context: dict[str, Any] = {
        "deployment": deployment,
        "version": shown,
        "before": before,
        "others": sorted(other for other in rows if other != number),
        "now": timezone.now(),
    }
    return render(request, "flows/version.html", context | _compared(request.user, deployment, before, shown))


@login_required
@require_POST
def roll_back(request: HttpRequest, deployment_id: UUID, number: int) -> HttpResponse:
    """Go back to it."""
    deployment = deployment_of(request.user, deployment_id)
    try:
        deployment = actions.roll_back_deployment(deployment, to=number, user=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("deployment-version", deployment_id, number)
    messages.success(
        request, f"Its next runs have the code of version {number}. That is version {deployment.code_version} now."
    )
    return redirect("deployment-versions", deployment_id)


def _compared(
    user: Any, deployment: Deployment, before: DeploymentVersion | None, after: DeploymentVersion
) -> dict[str, Any]:
    if before is None:
        return {}
    found = difference(deployment, before, after, unread=why_unread(user, deployment.team_id))
    room, files = MAX_LINES, []
    for file in found.files:
        lines = _lines(file)[:room]
        room -= len(lines)
        files.append((file, lines))
    return {
        "settings": [(name, *pair) for name, pair in found.settings.items() if name not in _HIDDEN],
        "files": files,
        "difference": found,
        "cut": room <= 0,
    }


def _lines(file: FileDiff) -> list[tuple[str, str]]:
    """The lines of a diff, each with its kind; the two names above them are said by the heading."""
    return [(_KINDS.get(line[:1], ""), line) for line in file.text.split("\n")[2:]]
