"""What a person does to the limit of a tag: make it, change it, reset it, delete it. What was typed is never lost."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from runs import tag_limits
from runs.models import ConcurrencyLimit
from runs.presentation import several
from runs.views.deployment_forms import messages_of
from runs.views.limit_pages import limit_of
from runs.views.typed import read_whole
from teams.acting import acting_team
from teams.lost_updates import saving

FIELDS = ("tag", "limit")


@login_required
def add(request: HttpRequest) -> HttpResponse:
    """Limit a tag, in the team that the person acts for."""
    if request.method != "POST":
        return render(request, "runs/limit_form.html", {"shown": {"tag": request.GET.get("tag", ""), "limit": 1}})
    try:
        number = read_whole(request.POST.get("limit", ""), "limit")
        tag = request.POST.get("tag", "")
        made = tag_limits.create_limit(acting_team(request), tag=tag, limit=number, user=request.user)
    except ValidationError as error:
        return _again(request, None, error)
    messages.success(request, f"{made.tag} is limited.")
    return redirect("concurrency-limit", made.id)


@login_required
def edit(request: HttpRequest, limit_id: UUID) -> HttpResponse:
    """Allow another number at once."""
    limit = limit_of(request.user, limit_id)
    if request.method != "POST":
        return render(request, "runs/limit_form.html", {"limit": limit, "shown": {"limit": limit.limit}})
    try:
        number = read_whole(request.POST.get("limit", ""), "limit")
        with saving(request, limit):
            tag_limits.change_limit(limit, value=number, user=request.user)
    except ValidationError as error:
        return _again(request, limit, error)
    messages.success(request, "Saved.")
    return redirect("concurrency-limit", limit.id)


@login_required
def reset(request: HttpRequest, limit_id: UUID) -> HttpResponse:
    """Ask, then free every slot that is held."""
    limit = limit_of(request.user, limit_id)
    if request.method != "POST":
        return render(request, "runs/limit_reset.html", {"limit": limit})
    freed = tag_limits.reset_limit(limit, user=request.user)
    messages.success(request, f"{several(freed, 'slot')} of {limit.tag} {'is' if freed == 1 else 'are'} freed.")
    return redirect("concurrency-limit", limit.id)


@login_required
def delete(request: HttpRequest, limit_id: UUID) -> HttpResponse:
    """Ask, then limit the tag no longer."""
    limit = limit_of(request.user, limit_id)
    if request.method != "POST":
        return render(request, "runs/limit_delete.html", {"limit": limit})
    tag_limits.delete_limit(limit, user=request.user)
    messages.success(request, f"{limit.tag} is no longer limited.")
    return redirect("concurrency-limits")


def _again(request: HttpRequest, limit: ConcurrencyLimit | None, error: ValidationError) -> HttpResponse:
    """The form with what was typed, and what is wrong with it."""
    errors = messages_of(error)
    context: dict[str, Any] = {
        "limit": limit,
        "shown": {name: request.POST.get(name, "") for name in FIELDS},
        "wrong": {name: errors.get(name, []) for name in FIELDS},
        "errors": [said for name, found in errors.items() if name not in FIELDS for said in found],
    }
    return render(request, "runs/limit_form.html", context, status=422)
