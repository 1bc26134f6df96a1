"""With whom a flow or deployment is shared, and what is shared with the reader."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from teams import shares, sharing
from teams.pages.forms import wrong_of
from teams.rights import Level, require

LEVELS = {"read": "see it and its runs", "run": "also run, cancel and retry", "edit": "also change it"}


def shared(request: HttpRequest) -> HttpResponse:
    """What of other teams is shared with the reader or their teams."""
    return render(request, "teams/shared.html", {"shares": shares.shared_to(request.user)})


def of_flow(request: HttpRequest, flow_id: UUID) -> HttpResponse:
    """Share a flow, or take that back."""
    return _page(request, "flow", flow_id)


def of_deployment(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Share a deployment, or take that back."""
    return _page(request, "deployment", deployment_id)


def _page(request: HttpRequest, kind: str, row_id: UUID) -> HttpResponse:
    row = get_object_or_404(sharing.model_of(kind).objects.visible_to(request.user), pk=row_id)
    require(request.user, Level.ADMIN, row.team)
    typed = {"holder": request.POST.get("holder", ""), "level": request.POST.get("level", "read")}
    context: dict[str, Any] = {
        "row": row,
        "kind": kind,
        "called": getattr(row, "full_name", str(row)),
        "typed": typed,
        "levels": LEVELS.items(),
        "shares": shares.shares_on(row),
    }
    if request.method != "POST":
        return render(request, "teams/share.html", context)
    try:
        said = _take_back(request, row) if "take_back" in request.POST else _share(request, row, typed)
    except ValidationError as error:
        return render(request, "teams/share.html", context | wrong_of(error), status=422)
    messages.success(request, said)
    return redirect(request.path)


def _share(request: HttpRequest, row: Any, typed: dict[str, str]) -> str:
    name = typed["holder"]
    try:
        holder: Any = shares.person_named(name)
    except ValidationError:
        try:
            holder = shares.holder_named(team=name)
        except ValidationError:
            raise ValidationError({"holder": f"There is no person and no team “{name.strip()}”."}) from None
    shares.share_with(row, holder, typed["level"], user=request.user)
    return f"It is shared with {holder}, who may {typed['level']}."


def _take_back(request: HttpRequest, row: Any) -> str:
    found = next((one for one in shares.shares_on(row) if one["id"] == request.POST["take_back"]), None)
    if found is None:
        return "It is not shared with them."
    shares.take_back(row, found["holder"], user=request.user)
    return f"It is no longer shared with {found['holder']}."
