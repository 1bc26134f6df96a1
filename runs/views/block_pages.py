"""Blocks: the list, one with the deployments that execute there, and the forms that make, change and delete them."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from flows import block_actions
from flows.block_types import BlockType, block_types
from flows.models import Block, Deployment
from runs import actions
from runs.block_preview import Preview, block_preview
from runs.presentation import several
from runs.views.block_form import VALUE, form_fields, read_block
from runs.views.deployment_forms import messages_of
from runs.views.run_list import _uuid as uuid_of
from teams.acting import acting_team
from teams.lost_updates import saving

MAX_BLOCKS = 500
MAX_DEPLOYMENTS = 200


@login_required
def index(request: HttpRequest) -> HttpResponse:
    """All blocks of the reader's teams, by type, with how many deployments have each (one query)."""
    found = Block.objects.listed_for(request.user).select_related("team").annotate(users=Count("deployments"))
    blocks = list(found.order_by("name", "id")[:MAX_BLOCKS])
    types = block_types()
    order = {name: place for place, name in enumerate(types)}
    blocks.sort(key=lambda block: order.get(block.type, len(order)))
    groups = [(kind, [block for block in blocks if block.type == kind.name]) for kind in types.values()]
    context = {
        "groups": [(kind, members) for kind, members in groups if members],
        "has_teams": len({block.team_id for block in blocks}) > 1,
        "types": list(types.values()),
    }
    return render(request, "flows/blocks.html", context)


@login_required
def add(request: HttpRequest) -> HttpResponse:
    """Choose a type, then fill in its form."""
    kind = block_types().get(request.GET.get("type", ""))
    if kind is None:
        return render(request, "flows/block_types.html", {"types": list(block_types().values())})
    team = acting_team(request)
    if request.method != "POST":
        context = {"kind": kind, "fields": form_fields(kind, team.pk), "shown": {}}
        return render(request, "flows/block_form.html", context)
    try:
        made = block_actions.create_block(
            team, type=kind.name, **_about(request), **read_block(kind, request.POST), user=request.user
        )
    except ValidationError as error:
        return _again(request, kind, team.pk, None, error)
    messages.success(request, f"{made.name} is made.")
    return redirect("block", made.id)


@login_required
def show(request: HttpRequest, block_id: UUID) -> HttpResponse:
    """What it says, and which deployments execute there; others can be chosen (three queries)."""
    block = block_of(request.user, block_id)
    kind = block_types().get(block.type)
    users = _deployments(request).filter(infrastructure=block)
    others = _deployments(request).filter(team=block.team_id).exclude(infrastructure=block)
    context = {
        "row": block,
        "kind": kind,
        "values": _shown_values(block, kind),
        "preview": _preview(block, kind),
        "used_by": list(users[:MAX_DEPLOYMENTS]),
        "others": list(others[:MAX_DEPLOYMENTS]) if kind and kind.is_infrastructure else [],
        "named_by": [] if kind and kind.is_infrastructure else block_actions.blocks_naming(block),
    }
    return render(request, "flows/block.html", context)


def _preview(block: Block, kind: BlockType | None) -> Preview | None:
    """What a worker asks of an engine; None where it asks none, or nothing comes of the block."""
    if kind is None or not kind.is_infrastructure:
        return None
    try:
        return block_preview(block)
    except ValidationError:  # its type wants more by now than when it was saved; its runs say so
        return None


@login_required
def edit(request: HttpRequest, block_id: UUID) -> HttpResponse:
    """Change it: the next runs find it changed."""
    block = block_of(request.user, block_id)
    kind = block_actions.type_named(block.type)
    if request.method != "POST":
        shown = {"name": block.name, "description": block.description}
        context = {"row": block, "kind": kind, "shown": shown, "fields": form_fields(kind, block.team_id, block)}
        return render(request, "flows/block_form.html", context)
    try:
        with saving(request, block):
            changes = {**_about(request), **read_block(kind, request.POST)}
            block_actions.update_block(block, user=request.user, **changes)
    except ValidationError as error:
        return _again(request, kind, block.team_id, block, error)
    messages.success(request, "Saved. Runs that start from now on find it so.")
    return redirect("block", block.id)


@login_required
@require_POST
def use(request: HttpRequest, block_id: UUID) -> HttpResponse:
    """Have the chosen deployments execute there: all of them, or none where one may not be changed."""
    block = block_of(request.user, block_id)
    ids = [found for text in request.POST.getlist("deployment") if (found := uuid_of(text))]
    chosen = list(Deployment.objects.visible_to(request.user).filter(pk__in=ids).order_by("pk"))
    if not chosen:
        messages.error(request, "Choose at least one deployment.")
        return redirect("block", block.id)
    try:
        with transaction.atomic():
            for one in chosen:
                actions.update_deployment(one, infrastructure=block, user=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"The next runs of {several(len(chosen), 'deployment')} execute in {block.name}.")
    return redirect("block", block.id)


@login_required
def delete(request: HttpRequest, block_id: UUID) -> HttpResponse:
    """Ask, then delete a block that nothing uses."""
    block = block_of(request.user, block_id)
    if request.method == "POST":
        try:
            block_actions.delete_block(block, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect("block", block.id)
        messages.success(request, f"The block {block.name} is deleted.")
        return redirect("blocks")
    used_by = list(_deployments(request).filter(infrastructure=block)[:MAX_DEPLOYMENTS])
    named_by = block_actions.blocks_naming(block)
    return render(request, "flows/block_delete.html", {"row": block, "used_by": used_by, "named_by": named_by})


def block_of(user: Any, block_id: UUID) -> Block:
    """Return a block that this user may see, with its team. Raises Http404."""
    found: Block = get_object_or_404(Block.objects.visible_to(user).select_related("team", "created_by"), pk=block_id)
    return found


def _deployments(request: HttpRequest) -> QuerySet[Deployment]:
    return (
        Deployment.objects.visible_to(request.user)
        .select_related("flow", "infrastructure")
        .order_by("flow__slug", "slug", "id")
    )


def _about(request: HttpRequest) -> dict[str, str]:
    return {
        "name": request.POST.get("name", ""),
        "description": request.POST.get("description", "").replace("\r\n", "\n"),
    }


def _shown_values(block: Block, kind: BlockType | None) -> list[dict[str, Any]]:
    """Each field with its value, dots for a secret; of those that are as by default, the ones that are opened."""
    if kind is None:
        return []
    return [
        {
            "field": one,
            "text": "••••••" if one.secret else one.write(block.values.get(one.name)),
            "is_open": one.name in block.opened,
        }
        for one in kind.fields
        if (one.secret and block.secrets) or one.name in block.values or one.name in block.opened
    ]


def _again(request: HttpRequest, kind: BlockType, team_id: Any, block: Block | None, error: ValidationError) -> Any:
    """The form with what was typed, and what is wrong with it."""
    errors = messages_of(error)
    beside = {"name", "description", *(f"{VALUE}{one.name}" for one in kind.fields)}
    context = {
        "row": block,
        "kind": kind,
        "shown": _about(request),
        "wrong": {name: errors.get(name, []) for name in ("name", "description")},
        "fields": form_fields(kind, team_id, block, request.POST, errors),
        "errors": [said for name, found in errors.items() if name not in beside for said in found],
    }
    return render(request, "flows/block_form.html", context, status=422)
